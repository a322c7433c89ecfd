"""Which rows have expired: the one condition that selects, locks, deletes, counts and previews."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, Connection, String, and_, func, or_, select, true, type_coerce
from sqlalchemy import text as sql

from app.core.source_tables import SourceTable, TaskStatuses
from app.core.utc_datetime import from_sqlite_text
from app.retention.settings import RetentionSettings

EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
"""Finish times before this are mistakes (0, 1970, 1900), not ages."""
_CLOCK_TOLERANCE = timedelta(seconds=60)
_SQLITE_TIME = "%Y-%m-%d %H:%M:%S"
_SECONDS_WIDTH = 19


@dataclass(frozen=True, kw_only=True)
class Expiry:
    """Rows with one status word that were finished before the cutoff."""

    state: str  # completed | failed
    word: str
    cutoff: datetime


def frozen_now(connection: Connection) -> datetime:
    """Return the database's clock in whole seconds (see `UtcDateTime` for why)."""
    if connection.dialect.name == "sqlite":
        read = from_sqlite_text(
            str(connection.execute(sql("SELECT strftime('%Y-%m-%d %H:%M:%S', 'now')")).scalar_one())
        )
        assert read is not None  # noqa: S101 - strftime's own format
        return read.replace(tzinfo=UTC)
    now: datetime = connection.execute(select(func.now())).scalar_one()
    return now.astimezone(UTC).replace(microsecond=0)


def expiries(settings: RetentionSettings, statuses: TaskStatuses, now: datetime) -> tuple[Expiry, ...]:
    """Return one expiry for each word of the two states that expire; rows in any other state are kept."""
    days = {"completed": settings.completed_tasks_days, "failed": settings.failed_tasks_days}
    return tuple(
        Expiry(state=state, word=word, cutoff=now - timedelta(days=days[state]))
        for state in days
        for word in getattr(statuses, state)
        if statuses.state_of(word) == state  # a word of two states is never older than the first
    )


def expired(tasks: SourceTable, expiry: Expiry, dialect: str) -> ColumnElement[bool]:
    """Return the condition of a row that may go. NULL never satisfies it, an impossible time neither (rule R8)."""
    finished = tasks.table.c.completed_at
    return and_(
        tasks.table.c.status == expiry.word,
        finished.is_not(None),
        finished >= EARLIEST,
        finished < expiry.cutoff,
        finished >= tasks.table.c.created_at,
        _comparable(finished, dialect),
    )


def any_expired(tasks: SourceTable, rules: tuple[Expiry, ...], dialect: str) -> ColumnElement[bool]:
    """Return the condition of a row that may go by any of the rules."""
    return or_(*(expired(tasks, rule, dialect) for rule in rules))


def absurd(tasks: SourceTable, rules: tuple[Expiry, ...], now: datetime, dialect: str) -> ColumnElement[bool]:
    """Return the condition of a row kept because its finish time can't be right."""
    finished, created = tasks.table.c.completed_at, tasks.table.c.created_at
    return and_(
        tasks.table.c.status.in_([rule.word for rule in rules]),
        finished.is_not(None),
        or_(
            finished < EARLIEST,
            finished > (now + _CLOCK_TOLERANCE).replace(microsecond=0),
            created.is_(None),
            finished < created,
            ~_comparable(finished, dialect),
        ),
    )


def cursor_of(tasks: SourceTable, dialect: str) -> ColumnElement[object]:
    """Return the finish time as the database sorts it: on SQLite its very text, for two spellings may mean one time."""
    finished = tasks.table.c.completed_at
    return type_coerce(finished, String) if dialect == "sqlite" else finished


def _comparable(finished: ColumnElement[datetime], dialect: str) -> ColumnElement[bool]:
    """SQLite compares times as text, which is right for one spelling only: no offset, no T, nothing behind."""
    if dialect != "sqlite":
        return true()
    written = type_coerce(finished, String)
    whole = func.substr(written, 1, _SECONDS_WIDTH)
    return and_(
        # Read and written again it must be the same: the 30th of February would come back as the 1st of March.
        func.coalesce(func.strftime(_SQLITE_TIME, whole, "+0 days"), "") == whole,
        ~func.substr(written, _SECONDS_WIDTH + 1).op("GLOB")("*[^.0-9]*"),
    )
