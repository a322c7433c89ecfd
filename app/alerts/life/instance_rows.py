"""Alerts in the database: loaded by what they are about, written only where nobody was faster."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from itertools import islice
from types import MappingProxyType
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Select, Text, and_, bindparam, cast, false, insert, or_, select

from app.alerts.life import instance_writes
from app.alerts.life.instance import OUTSIDE, Instance, Transition, outside_rule
from app.alerts.life.instance_writes import DOCUMENTS, NAMES, TIMES
from app.alerts.life.lifecycle import TOLD_ONCE
from app.alerts.rules.rule import Rule
from app.core.own_tables import alert_event, alert_instance
from app.core.utc_datetime import from_sqlite_text

_AT_ONCE = 500
"""Fingerprints asked for in one statement: some builds of SQLite take no more than 999 values."""
_LIVING = alert_instance.c.state != "resolved"
_ADD_EVENT = insert(alert_event)


def living(connection: Connection, *, except_rules: Collection[str] = ()) -> dict[str, Instance]:
    """Return what is pending or open by fingerprint, save outside alerts and those of some rules."""
    ours = ~alert_instance.c.rule.startswith(OUTSIDE, autoescape=True)
    return _found(connection, _LIVING, ours, alert_instance.c.rule.not_in(list(except_rules)))


def living_outside(connection: Connection, source: str) -> dict[str, Instance]:
    """Return the living alerts of an outside source."""
    return _found(connection, _LIVING, alert_instance.c.rule.startswith(outside_rule(source), autoescape=True))


def timed(
    connection: Connection, rules: Mapping[str, Rule], at: datetime, told_once_for: timedelta
) -> dict[str, Instance]:
    """Return those of whom time or changed settings may ask something, see `lifecycle.expire`."""
    c = alert_instance.c
    kept = [and_(c.rule == name, c.rule_hash == rule.hash) for name, rule in rules.items() if rule.enabled]
    orphaned = and_(_LIVING, ~c.rule.startswith(OUTSIDE, autoescape=True), ~or_(false(), *kept))
    silent = and_(_LIVING, c.rule_hash == TOLD_ONCE, c.last_seen_at <= at - told_once_for)
    return _found(connection, or_(orphaned, silent, c.flapping_since.is_not(None)))


def by_fingerprint(connection: Connection, fingerprints: Iterable[str]) -> dict[str, Instance]:
    """Return the alerts with these fingerprints, resolved ones too; what was never stored is left out."""
    found: dict[str, Instance] = {}
    for wanted in _batches(sorted(set(fingerprints)), _AT_ONCE):
        found |= _instances(connection, _by_fingerprint(connection.dialect.name), {"wanted": wanted})
    return found


def load(connection: Connection, *wanted: ColumnElement[bool]) -> list[Instance]:
    """Return the alerts of whom all of `wanted` holds, conditions on the columns of `alert_instance`."""
    return list(_found(connection, *wanted).values())


def open_instances(connection: Connection, *, rule: str | None = None) -> list[Instance]:
    """Return every alert that has fired and is not over, or those of one rule, the oldest first."""
    wanted: list[ColumnElement[bool]] = [alert_instance.c.state.in_(("firing", "recovering"))]
    if rule is not None:
        wanted.append(alert_instance.c.rule == rule)
    found = _found(connection, *wanted).values()
    return sorted(found, key=lambda each: (each.fired_at or each.pending_since, each.fingerprint))


def write(
    connection: Connection, changed: Sequence[Instance], before: Mapping[str, Instance] = MappingProxyType({})
) -> bool:
    """Store instances, see `instance_writes.write`; without `before` each is written as a whole."""
    return instance_writes.write(connection, changed, before)


def append_events(
    connection: Connection, transitions: Iterable[Transition], *, by_whom: str | None = None, comment: str | None = None
) -> None:
    """Add transitions to the history; the comment is that of the person, else the reason of each."""
    rows = [
        {
            "fingerprint": each.instance.fingerprint,
            "episode": each.instance.episode,
            "at": each.at,
            "event": each.event,
            "level": each.instance.level,
            "value": each.instance.value,
            "message": each.instance.message,
            "by_whom": by_whom,
            "comment": comment if comment is not None else each.reason,
        }
        for each in transitions
    ]
    if rows:
        connection.execute(_ADD_EVENT, rows)


def _found(connection: Connection, *wanted: ColumnElement[bool]) -> dict[str, Instance]:
    return _instances(connection, _select(connection.dialect.name).where(*wanted), {})


def _instances(connection: Connection, statement: Any, values: Mapping[str, Any]) -> dict[str, Instance]:
    instant = lru_cache(256)(_from_sqlite) if connection.dialect.name == "sqlite" else _same
    return {row[0]: _instance(row, instant) for row in connection.execute(statement, values)}


def _instance(row: Sequence[Any], instant: Callable[[Any], Any]) -> Instance:
    values = dict(zip(NAMES, row, strict=True))
    for name in TIMES:
        values[name] = instant(values[name])
    for name in DOCUMENTS:
        values[name] = orjson.loads(values[name])
    values["changes"] = tuple(map(datetime.fromisoformat, values["changes"]))
    return Instance.of(values)


@cache
def _select(dialect: str) -> Select[Any]:
    """Documents and, of SQLite, times are read as the text they are: SQLAlchemy takes three times as long over them."""
    as_text = {*DOCUMENTS, *(TIMES if dialect == "sqlite" else ())}
    own = alert_instance.c
    return select(*(cast(own[name], Text) if name in as_text else own[name] for name in NAMES))


@cache
def _by_fingerprint(dialect: str) -> Select[Any]:
    return _select(dialect).where(alert_instance.c.fingerprint.in_(bindparam("wanted", expanding=True)))


def _from_sqlite(text: str | None) -> datetime | None:
    found = None if text is None else from_sqlite_text(text)
    return None if found is None else found.replace(tzinfo=UTC)


def _same(at: datetime | None) -> datetime | None:
    return at


def _batches(items: Sequence[str], size: int) -> Iterator[list[str]]:
    pending = iter(items)
    while batch := list(islice(pending, size)):
        yield batch
