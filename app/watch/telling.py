"""Having people told: of what a run found, of what others hand over, and of nothing but a test."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import structlog

from app.alerts.alert import SEVERITIES, Alert, parse_alerts
from app.alerts.delivery import target_state
from app.alerts.life.instance import Instance
from app.alerts.notices.outbox import counted
from app.alerts.notices.recipients import recipients
from app.context import Context
from app.core.errors import BadArgument, GengfuError
from app.core.settings_file import nearest
from app.execution.runner import Outcome
from app.watch.desk import AlertDesk, Taken

log = structlog.get_logger("gengfu.alerts")

APPLICATION = "application"
"""Source of the alerts that others hand over."""
_MOST_REFUSALS_LOGGED = 20


def hand_over(context: Context, job: str, outcome: Outcome) -> dict[str, Any]:
    """Have judged and told what a run found, and return what the run's result says of it; see `HandOver` of the runner.

    The files and the console are told at once. The rest the monitor sends; where none watches, as with a command run by
    cron alone, it is sent here.
    """
    if not outcome.observed and outcome.alerts is None:
        return {}
    desk = _desk(context)
    taken = [desk.observe(outcome.observed)] if outcome.observed else []
    if outcome.alerts is not None:
        taken.append(desk.assert_outside(outcome.alerts, source=job, complete=True))
    _send_what_nobody_else_would(desk)
    return {"alerts": sum(one.open for one in taken)}


def notify(context: Context, items: object) -> dict[str, Any]:
    """Take in alerts that somebody else found; a malformed one is refused by its index and the others are taken.

    Returns `success` (nothing was refused, and all was written down or told), `sent` (alerts that were taken) and
    `by_severity` of them, `events` (what was told: what fires already is not told again before its time), `refused`
    [{index, why}], `undelivered` (alerts that reached nobody while the database was away), `channels` {name: "ok",
    "later", or what is wrong with it}.
    """
    if not context.settings.alerts.enabled:
        return _result([], skipped="alerts are switched off; set [alerts] enabled = true")
    alerts, refused = parse_alerts(items)
    if refused:
        log.warning("alerts_refused", refused=[asdict(one) for one in refused][:_MOST_REFUSALS_LOGGED])
    desk = _desk(context)
    taken = desk.take(alerts, source=APPLICATION, complete=False) if alerts else Taken()
    _send_what_nobody_else_would(desk)
    undelivered = list(taken.without.undelivered) if taken.without else []
    return _result(
        alerts,
        success=not refused and not undelivered,
        events=dict(taken.events),
        refused=[asdict(one) for one in refused],
        undelivered=[one.to_dict() for one in undelivered],
        channels=_fares(context, taken),
    )


def acknowledge(context: Context, fingerprint: str, *, by: str, comment: str, lasts: timedelta) -> Instance:
    """Acknowledge an open alert; see `Acknowledgements.ack`. The files are told at once, others at the next look."""
    desk = AlertDesk(context)
    acked = desk.acknowledge(fingerprint, by=by, comment=comment, lasts=lasts)
    _send_what_nobody_else_would(desk)
    return acked


def try_target(context: Context, name: str) -> str:
    """Send a test to a target and return what was done. Raises BadArgument where there is none, and DeliveryError."""
    settings = context.settings.alerts
    known = list(dict.fromkeys([*settings.channels, *settings.targets]))
    if name not in known:
        raise BadArgument(f"there is no target {name!r}{nearest(name, known)}; known: {', '.join(known)}")
    return AlertDesk(context).open_target(name).test()


def _desk(context: Context) -> AlertDesk:
    desk = AlertDesk(context)
    return desk if desk.monitor_watches() else AlertDesk(context, at_once=True)


def _send_what_nobody_else_would(desk: AlertDesk) -> None:
    if not desk.monitor_watches():
        desk.watch_pass()


def _fares(context: Context, taken: Taken) -> dict[str, str]:
    """Return how each target fares: ok, later where something still waits for it, or what it met last."""
    if taken.without is not None:
        return dict(taken.without.channels)
    try:
        with context.database.read() as connection:
            states, counts = target_state.load_all(connection), counted(connection)
    except GengfuError:
        states, counts = {}, {}
    names = [one.name for one in recipients(context.settings.alerts)]
    waits = {name for name in names if counts.get(name, {}).get("pending")}
    return {name: states[name].why if name in states else "later" if name in waits else "ok" for name in names}


def _result(alerts: Iterable[Alert], *, success: bool = True, **more: Any) -> dict[str, Any]:
    counts = Counter(one.severity for one in alerts)
    none: dict[str, Any] = {"events": {}, "refused": [], "undelivered": [], "channels": {}}
    by_severity = {name: counts[name] for name in SEVERITIES}
    return {"success": success, "sent": counts.total(), "by_severity": by_severity, **none, **more}
