"""What stayed in the tables, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, LargeBinary, String, Text, case, func, not_, or_, select, type_coerce
from sqlalchemy import cast as sql_cast

from app.core.database import Database
from app.core.source_tables import SourceTables
from app.core.utc_datetime import from_sqlite_text
from app.retention.expiry import absurd, expired, expired_in, held, passes, without_time
from app.retention.rules import RowRule

_SCAN_S = 600.0
_EXPIRED = "expired"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What one rule left in its table."""

    rows: Mapping[str, int] = field(default_factory=dict)
    """Reason -> rows: no_finish_time, absurd_time, hold."""
    expired: int = 0
    """Rows that have expired and are still there."""
    lag_hours: float = 0.0
    """How long ago the oldest of them should have gone."""


def kept_by(database: Database, rule: RowRule, cutoff: datetime) -> Kept:
    """Return what a rule left, in one scan of its table."""
    dialect = database.dialect
    counted: dict[str, ColumnElement[bool]] = {
        "no_finish_time": without_time(rule),
        "absurd_time": absurd(rule, cutoff, dialect),
        _EXPIRED: expired(rule, cutoff, dialect),
    }
    if rule.holds:
        counted["hold"] = held(rule, cutoff, dialect)
    with database.read(deadline_s=_SCAN_S) as connection:
        figures = _counted(connection, rule, counted, (_oldest(rule, cutoff, dialect),))
    oldest = _instant(figures.pop("oldest"))
    still_there = figures.pop(_EXPIRED)
    lag = (cutoff - oldest).total_seconds() / 3600 if oldest else 0.0
    return Kept(
        rows={reason: count for reason, count in figures.items() if count},
        expired=still_there,
        lag_hours=round(lag, 1),
    )


def unknown_statuses(database: Database, source: SourceTables, rules: Sequence[RowRule]) -> int:
    """Return the rows of the application's task table whose status is none of the words we know; they all stay.

    0 where no rule works on that table.
    """
    statuses = [rule.status for rule in rules if rule.table_name == source.tasks.name and rule.status is not None]
    if not statuses:
        return 0
    words = source.statuses
    known = [*words.pending, *words.processing, *words.completed, *words.failed, *words.cancelled]
    # As text: an enumeration need not have each of them.
    unknown = or_(statuses[0].is_(None), not_(sql_cast(statuses[0], Text).in_(known)))
    with database.read(deadline_s=_SCAN_S) as connection:
        statement = select(func.count()).select_from(statuses[0].table).where(unknown)
        return int(connection.execute(statement).scalar_one())


def _counted(
    connection: Connection,
    rule: RowRule,
    counted: Mapping[str, ColumnElement[bool]],
    further: Sequence[ColumnElement[Any]],
) -> dict[str, Any]:
    counts = (func.count().filter(condition).label(reason) for reason, condition in counted.items())
    # Rows of other statuses need not be looked at, and mostly there is an index that passes them over.
    words = rule.status.in_(rule.words) if rule.status is not None else None
    statement = select(*counts, *further).select_from(rule.table)
    return dict(connection.execute(statement if words is None else statement.where(words)).one()._asdict())


def _oldest(rule: RowRule, cutoff: datetime, dialect: str) -> ColumnElement[Any]:
    times = [(expired_in(expiry, dialect), expiry.time) for expiry in passes(rule, cutoff)]
    if dialect == "sqlite":
        # As bytes, for text that is no UTF-8 stands in rows that don't count.
        raw = [(condition, sql_cast(type_coerce(time, String), LargeBinary)) for condition, time in times]
        return func.min(case(*raw)).label("oldest") if raw else func.min(None).label("oldest")
    return func.min(case(*times)).label("oldest") if times else func.min(None).label("oldest")


def _instant(value: Any) -> datetime | None:
    if isinstance(value, bytes):
        value = from_sqlite_text(value.decode())
    if not isinstance(value, datetime):
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value
