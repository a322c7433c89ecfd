"""One step in one alert's life: a figure of it was bad, was good, or it is over. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.alerts.alert import RANK, Severity
from app.alerts.life.flapping import calmed_by, level_changed
from app.alerts.life.instance import Event, Instance
from app.alerts.rules.readings import Reading

OUTAGE = timedelta(hours=1)
"""Unseen for longer, a pending condition may have come and gone: its clock starts again."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a condition must hold, or be over, before it counts."""

    wait: timedelta = timedelta(0)
    n_of_m: tuple[int, int] | None = None
    keep: timedelta = timedelta(0)
    clear_for: int = 1


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What an alert is called, whoever found it."""

    rule: str
    rule_hash: str
    alertname: str
    type: str
    patience: Patience


Told = tuple[Event, Severity | None, str | None]
"""Event, level before, reason."""
Change = tuple[Instance, Sequence[Told]]


def bad(seen: Instance | None, subject: Subject, reading: Reading, at: datetime) -> Change:
    if seen is None or seen.state == "resolved":
        return _ripened(_begun(seen, subject, reading, at), subject.patience, at)
    if seen.state == "pending":
        since = seen.pending_since
        unseen = at - seen.last_seen_at > OUTAGE or at < since
        recent = _remembered("" if unseen else seen.recent, "1", subject.patience)
        waiting: dict[str, Any] = {"pending_since": at if unseen else since, "level": reading.level, "recent": recent}
        return _ripened(seen.but(**_figures(reading, at), **waiting), subject.patience, at)
    return _burning(seen, subject, reading, at)


def _begun(seen: Instance | None, subject: Subject, reading: Reading, at: datetime) -> Instance:
    """A condition that was not there before, or was over."""
    return Instance(
        fingerprint=reading.fingerprint,
        rule=subject.rule,
        rule_hash=subject.rule_hash,
        alertname=subject.alertname,
        type=subject.type,
        labels=reading.labels,
        annotations=reading.annotations,
        state="pending",
        level=_level(reading),
        value=reading.value,
        threshold=reading.threshold,
        samples=reading.samples,
        message=reading.message,
        pending_since=at,
        fired_at=None,
        resolved_at=None,
        resolve_reason=None,
        last_bad_at=at,
        last_seen_at=at,
        good=0,
        recent=_remembered("", "1", subject.patience),
        episode=seen.episode if seen else 0,
        changes=seen.changes if seen else (),
        flapping_since=seen.flapping_since if seen else None,
        hold_s=seen.hold_s if seen else 0.0,
        version=seen.version if seen else 0,
    )


def _ripened(pending: Instance, patience: Patience, at: datetime) -> Change:
    """Fire what has waited long enough."""
    if patience.n_of_m is not None:
        ripe = pending.recent.count("1") >= patience.n_of_m[0]
    else:
        ripe = at - pending.pending_since >= patience.wait
    if not ripe:
        return pending, ()
    flaps = level_changed(pending, at)
    firing = pending.but(state="firing", fired_at=at, good=0, episode=pending.episode + 1, **flaps)
    return firing, _with_flapping(pending, firing, ("firing", None, None))


def _burning(seen: Instance, subject: Subject, reading: Reading, at: datetime) -> Change:
    """A firing alert that is still bad: higher at once, lower only after `clear_for` evaluations."""
    level = _level(reading)
    now = _figures(reading, at) | {"state": "firing", "good": 0, "rule_hash": subject.rule_hash}
    if RANK[level] > RANK[seen.level]:
        acked = _NOT_ACKED if seen.ack_level is None or RANK[level] > RANK[seen.ack_level] else {}
        higher = seen.but(**now, level=level, **acked, **level_changed(seen, at))
        return higher, _with_flapping(seen, higher, ("escalated", seen.level, None))
    if level == seen.level:
        return seen.but(**now, **calmed_by(seen, at)), ()
    better = seen.good + 1
    if better < subject.patience.clear_for:
        return seen.but(**(now | {"good": better}), **calmed_by(seen, at)), ()
    lower = seen.but(**now, level=level, **level_changed(seen, at))
    return lower, _with_flapping(seen, lower, ("eased", seen.level, None))


def good_now(seen: Instance, patience: Patience, reading: Reading | None, at: datetime) -> Change:
    """An open condition that is not met now; `reading` is None where it is simply no longer listed."""
    # Later than now only where the clock was set back: waiting then begins anew.
    last_bad_at = min(seen.last_bad_at, at)
    figures = _good_figures(reading) | {"last_seen_at": at, "last_bad_at": last_bad_at}
    if seen.state == "pending":
        recent = _remembered(seen.recent, "0", patience)
        if "1" in recent:
            return seen.but(**figures, recent=recent), ()
        return seen.but(**figures, recent="", state="resolved", resolved_at=at), ()
    good = seen.good + 1 if seen.state == "recovering" else 1
    if good >= patience.clear_for and at - last_bad_at >= patience.keep:
        now = reading.message if reading is not None else ""
        return over(seen.but(**figures, good=good), at, now or None)
    return seen.but(**figures, state="recovering", good=good, **calmed_by(seen, at)), ()


def over(seen: Instance, at: datetime, why: str | None) -> Change:
    """End it. What never fired ends in silence."""
    ended: dict[str, Any] = {"state": "resolved", "resolved_at": at, "resolve_reason": why}
    if seen.state == "pending":
        return seen.but(**ended), ()
    resolved = seen.but(**ended, **_NOT_ACKED, **level_changed(seen, at))
    return resolved, _with_flapping(seen, resolved, ("resolved", seen.level, why))


_NOT_ACKED: dict[str, Any] = {"acked_at": None, "acked_by": None, "ack_until": None, "ack_level": None}


def _with_flapping(before: Instance, after: Instance, told: Told) -> list[Told]:
    began = after.flapping_since is not None and after.flapping_since != before.flapping_since
    return [told, ("flapping", told[1], None)] if began else [told]


def _figures(reading: Reading, at: datetime) -> dict[str, Any]:
    seen: dict[str, Any] = {"last_bad_at": at, "last_seen_at": at}
    figures = {"value": reading.value, "threshold": reading.threshold, "samples": reading.samples}
    return seen | figures | {"message": reading.message, "annotations": reading.annotations}


def _good_figures(reading: Reading | None) -> dict[str, Any]:
    """A good figure without the words, which stay those of the last bad one: they tell what is over."""
    if reading is None or reading.value is None:
        return {}
    return {"value": reading.value, "threshold": reading.threshold, "samples": reading.samples}


def _level(reading: Reading) -> Severity:
    if reading.level is None:
        raise ValueError("a good reading has no level")
    return reading.level


def _remembered(recent: str, bit: str, patience: Patience) -> str:
    return (recent + bit)[-patience.n_of_m[1] :] if patience.n_of_m is not None else ""
