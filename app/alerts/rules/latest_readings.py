"""The latest figures of each family, kept for `alerts rules`: a row of service_state, written with each evaluation."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, select

from app.alerts.alert import RANK
from app.alerts.rules.readings import Reading
from app.core.own_tables import service_state
from app.core.upsert import insert_into

_PREFIX = "facts:"
SHOWN = 20
"""Figures kept of each rule: the bad ones first."""


def keep(connection: Connection, family: str, readings: Iterable[Reading], at: datetime) -> None:
    """Keep what the rules of a family read at `at`."""
    by_rule: dict[str, list[Reading]] = {}
    for reading in readings:
        by_rule.setdefault(reading.rule_id, []).append(reading)
    value = {"at": at.isoformat(), "rules": {rule_id: _shown(found) for rule_id, found in by_rule.items()}}
    row = {"key": _PREFIX + family, "value": value, "updated_at": at}
    connection.execute(_keep(connection.dialect.name), row)


def latest(connection: Connection) -> dict[str, dict[str, Any]]:
    """Return what was read last: family -> {at, rules: {id: {figures, left_out}}}.

    A figure is {labels, value, samples, level}; its level is null where it is good.
    """
    wanted = select(service_state.c.key, service_state.c.value)
    rows = connection.execute(wanted.where(service_state.c.key.startswith(_PREFIX, autoescape=True)))
    return {row.key.removeprefix(_PREFIX): row.value for row in rows}


def _shown(readings: Sequence[Reading]) -> Mapping[str, Any]:
    measured = [each for each in readings if each.value is not None or each.level is not None]
    worst = sorted(measured, key=lambda each: -RANK.get(each.level or "", 0))
    figures = [
        {"labels": dict(each.labels), "value": each.value, "samples": each.samples, "level": each.level}
        for each in worst[:SHOWN]
    ]
    return {"figures": figures, "left_out": len(measured) - len(figures)}


@cache
def _keep(dialect: str) -> Any:
    inserted = insert_into(service_state, dialect)
    changed = {name: inserted.excluded[name] for name in ("value", "updated_at")}
    return inserted.on_conflict_do_update(index_elements=["key"], set_=changed)
