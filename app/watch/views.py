"""What is known of alerts, silences and messages, as plain values for commands and pages; reads only."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, select

from app.alerts.alert import RANK
from app.alerts.facts import family_of
from app.alerts.life.instance import Instance
from app.alerts.life.instance_rows import load
from app.alerts.notices.outbox import OutboxRow, about, counted, newest
from app.alerts.notices.recipients import recipients
from app.alerts.notices.silences import Silence, Silences, in_force
from app.alerts.notices.suppression import Flags, Inhibitors, flags
from app.alerts.rules.latest_readings import latest
from app.alerts.rules.rule import Rule
from app.context import Context
from app.core.errors import BadArgument
from app.core.own_tables import alert_event, alert_instance
from app.schedule.signs import MONITOR, WATCHED_WITHIN_S, Signs

_OPEN = ("firing", "recovering")
_LATELY = timedelta(days=1)
_OF_ONE = 50
"""Events and messages shown of one alert."""


def who_watches(context: Context) -> dict[str, Any]:
    """Tell whether what goes wrong would be noticed: `watched`, that is `enabled` and a monitor looked lately.

    `monitor_silent_s` is how long ago (seconds); None where there is no sign of one, as after it has ended. Jobs have
    their findings judged all the same. Raises the errors of `Database`.
    """
    enabled, sign = context.settings.alerts.enabled, Signs(context.database).find(MONITOR)
    silent_s = None if sign is None else round(sign.age_s(context.clock.now()), 1)
    watched = enabled and silent_s is not None and silent_s <= WATCHED_WITHIN_S
    return {"watched": watched, "enabled": enabled, "monitor_silent_s": silent_s}


def alerts_now(context: Context, *, lately: bool = False) -> list[dict[str, Any]]:
    """Return every alert that fires, the most urgent first; with `lately` also those pending or over since yesterday.

    Raises the errors of `Database`.
    """
    now = context.clock.now()
    wanted: ColumnElement[bool] = alert_instance.c.state.in_(_OPEN)
    if lately:
        wanted |= alert_instance.c.state == "pending"
        wanted |= alert_instance.c.fired_at.is_not(None) & (alert_instance.c.resolved_at > now - _LATELY)
    with context.database.read() as connection:
        found = load(connection, wanted)
        told = _with_flags(context, connection, found, now)
    return sorted(told, key=_urgency)


def find_alert(connection: Connection, fingerprint: str) -> Instance:
    """Return the alert whose fingerprint begins so. Raises BadArgument where none or several do."""
    found = load(connection, alert_instance.c.fingerprint.startswith(fingerprint.lower(), autoescape=True))
    if not fingerprint or not found:
        raise BadArgument(f"there is no alert {fingerprint!r}; `gengfu alerts list --all` shows their ids")
    if len(found) > 1:
        names = ", ".join(sorted(one.fingerprint for one in found)[:5])
        raise BadArgument(f"{fingerprint!r} begins {len(found)} alerts: {names}; give more of it")
    return found[0]


def alert_in_detail(context: Context, fingerprint: str) -> dict[str, Any]:
    """Return one alert with what became of it (`events`) and what was sent of it (`messages`), newest first."""
    with context.database.read() as connection:
        instance = find_alert(connection, fingerprint)
        (told,) = _with_flags(context, connection, [instance], context.clock.now())
        events = _events(connection, alert_event.c.fingerprint == instance.fingerprint, _OF_ONE)
        singly = {one.name for one in recipients(context.settings.alerts) if not one.grouped}
        messages = [_message(row) for row in about(connection, instance.fingerprint, singly, _OF_ONE)]
    return {**told, "events": events, "messages": messages}


def events_since(
    context: Context, since: datetime, *, fingerprint: str | None = None, limit: int = 100
) -> list[dict[str, Any]]:
    """Return what became of all alerts, or of one, since then; newest first."""
    wanted = alert_event.c.at >= since
    with context.database.read() as connection:
        if fingerprint is not None:
            wanted &= alert_event.c.fingerprint == find_alert(connection, fingerprint).fingerprint
        events = _events(connection, wanted, limit)
        names = {one.fingerprint: one.alertname for one in _named(connection, events)}
    return [{**event, "alertname": names.get(event["fingerprint"], "")} for event in events]


def silences_now(context: Context, *, over: bool = False) -> list[dict[str, Any]]:
    """Return the silences that are or will be in force, with `over` also those of the past."""
    now = context.clock.now()
    return [told_silence(one, now) for one in Silences(context.database, context.clock).list(over=over)]


def told_silence(silence: Silence, now: datetime) -> dict[str, Any]:
    """Return a silence as plain values; `state` is waiting, in force, between (its hours) or over."""
    return {
        "id": silence.id,
        "state": _silence_state(silence, now),
        "matchers": [str(matcher) for matcher in silence.matchers],
        "starts_at": silence.starts_at.isoformat(),
        "ends_at": silence.ends_at.isoformat(),
        "recurrence": silence.recurrence.to_json() if silence.recurrence else None,
        "author": silence.author,
        "comment": silence.comment,
        "created_at": silence.created_at.isoformat(),
        "ended_at": _text(silence.ended_at),
    }


def messages_now(context: Context, *, state: str | None = None, limit: int = 50) -> dict[str, Any]:
    """Return `messages` of the outbox, newest first, of one state or of all, and `counts` {target: {state: number}}."""
    with context.database.read() as connection:
        messages = [_message(row) for row in newest(connection, state=state, limit=limit)]
        return {"counts": counted(connection), "messages": messages}


def rules_now(context: Context) -> list[dict[str, Any]]:
    """Return every rule with the figures it read last, each with its `distance` to the next threshold."""
    with context.database.read() as connection:
        families = latest(connection)
    return [_told_rule(rule_id, rule, families) for rule_id, rule in context.settings.alerts.rules.items()]


def _told_rule(rule_id: str, rule: Rule, families: Mapping[str, Any]) -> dict[str, Any]:
    family = families.get(family_of(rule.source), {})
    seen = family.get("rules", {}).get(rule_id, {})
    return {
        "rule": rule_id,
        "alertname": rule.alertname,
        "source": rule.source,
        "tells": rule.about.tells,
        "unit": rule.about.unit,
        "enabled": rule.enabled,
        "op": rule.op,
        "levels": {threshold.level: threshold.raise_at for threshold in reversed(rule.thresholds)},
        "seen_at": family.get("at"),
        "lists_only_what_is_broken": rule.about.absent == "ok",
        "figures": [{**figure, "distance": _distance(rule, figure)} for figure in seen.get("figures", ())],
        "left_out": seen.get("left_out", 0),
    }


def _distance(rule: Rule, figure: Mapping[str, Any]) -> float | None:
    """How far a figure is from the next threshold; None where there is none above it, or it rests on too few rows."""
    level, value = figure["level"], figure["value"]
    above: list[float] = [one.raise_at for one in rule.thresholds if RANK[one.level] > RANK.get(level or "", 0)]
    if value is None or not above or rule.op == "==":
        return None
    missing: float = value - above[-1] if rule.op.startswith("<") else above[-1] - value
    return round(missing, 9) if missing >= 0 else None


def _with_flags(
    context: Context, connection: Connection, instances: Sequence[Instance], now: datetime
) -> list[dict[str, Any]]:
    rules = context.settings.alerts.rules
    silences = in_force(connection, now)
    inhibitors = Inhibitors(load(connection, alert_instance.c.state.in_(_OPEN)))
    return [_told(one, flags(one, silences, inhibitors, rules.get(one.rule), now), now) for one in instances]


def _told(instance: Instance, held: Flags, now: datetime) -> dict[str, Any]:
    end = instance.resolved_at or now
    plain = {name: _text(value) if isinstance(value, datetime) else value for name, value in _shown(instance)}
    return {
        **plain,
        "duration_s": None if instance.fired_at is None else round((end - instance.fired_at).total_seconds(), 1),
        "silenced_by": list(held.silenced_by),
        "acked_by": instance.acked_by if held.acked else None,
        "acked_until": _text(instance.ack_until) if held.acked else None,
        "inhibited_by": held.inhibited_by,
        "muted": held.muted,
        "held_until": _text(held.held_until),
    }


_SHOWN = (
    *("fingerprint", "alertname", "level", "state", "message", "value", "threshold", "samples", "labels"),
    *("annotations", "rule", "type", "pending_since", "fired_at", "resolved_at", "resolve_reason", "last_bad_at"),
    *("last_seen_at", "episode"),
)


def _shown(instance: Instance) -> Iterable[tuple[str, Any]]:
    document: Mapping[str, Any] = asdict(instance)
    return ((name, document[name]) for name in _SHOWN)


def _urgency(alert: Mapping[str, Any]) -> tuple[bool, int, str]:
    """What fires before what is over, the more severe first, then the newer."""
    return alert["state"] not in _OPEN, -RANK[alert["level"]], _backwards(alert["fired_at"] or alert["pending_since"])


def _backwards(instant: str) -> str:
    """Text that sorts the other way round: later instants first."""
    return "".join(chr(0x7F - ord(letter)) for letter in instant)


def _events(connection: Connection, wanted: ColumnElement[bool], limit: int) -> list[dict[str, Any]]:
    query = select(alert_event).where(wanted).order_by(alert_event.c.at.desc(), alert_event.c.id.desc()).limit(limit)
    return [{**_plain(row, alert_event), "at": row.at.isoformat()} for row in connection.execute(query)]


def _named(connection: Connection, events: Sequence[Mapping[str, Any]]) -> list[Instance]:
    return load(connection, alert_instance.c.fingerprint.in_({event["fingerprint"] for event in events}))


def _message(row: OutboxRow) -> dict[str, Any]:
    told = [one["alert"] for one in row.payload.get("alerts", ())]
    return {
        "id": row.id,
        "target": row.target,
        "kind": row.kind,
        "level": row.level,
        "state": row.state,
        "event": row.payload.get("event"),
        "about": [f"{one['alertname']} ({one['severity']})" for one in told],
        "alerts": [one["fingerprint"] for one in told],
        "left_out": row.payload.get("left_out", 0),
        "attempts": row.attempts,
        "created_at": row.created_at.isoformat(),
        "next_at": row.next_at.isoformat(),
        "sent_at": _text(row.sent_at),
        "expires_at": row.expires_at.isoformat(),
        "last_error": row.last_error,
    }


def _silence_state(silence: Silence, now: datetime) -> str:
    if (silence.ended_at is not None and silence.ended_at <= now) or silence.ends_at <= now:
        return "over"
    if now < silence.starts_at:
        return "waiting"
    return "in force" if silence.in_force(now) else "between"


def _plain(row: Row[Any], table: Table) -> dict[str, Any]:
    return {column.name: getattr(row, column.name) for column in table.columns}


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()
