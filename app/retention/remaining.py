"""What stayed in the tables, and why."""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, func, not_, or_, select
from sqlalchemy import text as sql

from app.core.database import Database
from app.core.source_tables import SourceTables
from app.retention.expiry import Expiry, absurd, any_expired

_SCAN_S = 600.0


def rows_kept(
    database: Database, source: SourceTables, rules: tuple[Expiry, ...], now: datetime, *, expired_as: str | None
) -> dict[str, int]:
    """Return reason -> rows, in one scan of the task table.

    Reasons: no_finish_time, absurd_time, unknown_status, and for rows that have expired and are still there the
    word `expired_as` (locked, not_reached, ...); None leaves those out.
    """
    with database.read(deadline_s=_SCAN_S) as connection:
        counted = dict(_reasons(connection, source, rules, now, expired_as))
        row = connection.execute(
            select(
                *(func.count().filter(condition).label(reason) for reason, condition in counted.items())
            ).select_from(source.tasks.table)
        ).one()
    return {reason: count for reason, count in row._asdict().items() if count}


def reusable_bytes(database: Database) -> int | None:
    """Return the bytes inside the SQLite file that new rows will use again; None on PostgreSQL, which does not tell."""
    if database.dialect != "sqlite":
        return None
    with database.read() as connection:
        pages: int = connection.execute(sql("PRAGMA freelist_count")).scalar_one()
        page_size: int = connection.execute(sql("PRAGMA page_size")).scalar_one()
    return pages * page_size


def _reasons(
    connection: Connection, source: SourceTables, rules: tuple[Expiry, ...], now: datetime, expired_as: str | None
) -> Iterator[tuple[str, ColumnElement[bool]]]:
    tasks, dialect = source.tasks, connection.dialect.name
    status, finished = tasks.table.c.status, tasks.table.c.completed_at
    yield "no_finish_time", and_(status.in_([rule.word for rule in rules]), finished.is_(None))
    yield "absurd_time", absurd(tasks, rules, now, dialect)
    yield "unknown_status", or_(status.is_(None), not_(status.in_(_all_words(source))))
    if expired_as:
        yield expired_as, any_expired(tasks, rules, dialect)


def _all_words(source: SourceTables) -> list[str]:
    words = source.statuses
    return [*words.pending, *words.processing, *words.completed, *words.failed, *words.cancelled]
