"""Which rows have expired: the one condition that selects, locks, deletes, counts and previews."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    String,
    Text,
    and_,
    cast,
    false,
    func,
    or_,
    select,
    true,
    type_coerce,
)
from sqlalchemy import text as sql

from app.core.utc_datetime import from_sqlite_text
from app.retention.rules import Hold, RowRule

EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
"""Finish times before this are mistakes (0, 1970, 1900), not ages."""
_CLOCK_TOLERANCE = timedelta(seconds=60)
_SQLITE_TIME = "%Y-%m-%d %H:%M:%S"
_SECONDS_WIDTH = 19
_FALSE = ("", "false", "0", "-0", "0.0", "0.00", "0.000")
"""What `hold when = "true"` takes for false, as both databases write it; a spelling that is not here holds."""


@dataclass(frozen=True, kw_only=True)
class Expiry:
    """One pass over a rule's table: rows of one status word that were finished before the cutoff."""

    rule: RowRule
    word: Any
    """None where the rule looks at no status."""
    cutoff: datetime
    by_fallback: bool = False
    """Rows without a finish time, whose age counts from the fallback. A pass of its own, for it has its own order."""

    @property
    def time(self) -> Column[Any]:
        """The column from which the age counts."""
        fallback = self.rule.fallback
        return fallback if self.by_fallback and fallback is not None else self.rule.finished

    @property
    def now(self) -> datetime:
        return self.cutoff + self.rule.keep

    @property
    def cursor_name(self) -> str:
        """What tells a stored cursor of this pass from those of others, also of a rule that was changed since."""
        rule = self.rule
        return " ".join((rule.name, rule.table_name, self.time.name, rule.key.name, repr(self.word)))


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


def passes(rule: RowRule, cutoff: datetime) -> tuple[Expiry, ...]:
    """Return the passes of a rule: one for each status word, then the same for rows that need the fallback."""
    words: Sequence[Any] = rule.words if rule.status is not None else (None,)
    kinds = (False,) if rule.fallback is None else (False, True)
    return tuple(Expiry(rule=rule, word=word, cutoff=cutoff, by_fallback=kind) for kind in kinds for word in words)


def expired_in(expiry: Expiry, dialect: str) -> ColumnElement[bool]:
    """Return the condition of a row that goes in this pass. NULL never satisfies it, nor an impossible time (R8)."""
    return and_(_old(expiry, dialect), *(_spared(hold, expiry.now, dialect) for hold in expiry.rule.holds))


def expired(rule: RowRule, cutoff: datetime, dialect: str) -> ColumnElement[bool]:
    """Return the condition of a row that goes by the rule, in whichever pass."""
    return or_(false(), *(expired_in(expiry, dialect) for expiry in passes(rule, cutoff)))


def held(rule: RowRule, cutoff: datetime, dialect: str) -> ColumnElement[bool]:
    """Return the condition of a row that has its age and is pinned by one of the rule's holds."""
    now = cutoff + rule.keep
    old = or_(false(), *(_old(expiry, dialect) for expiry in passes(rule, cutoff)))
    return and_(old, ~and_(true(), *(_spared(hold, now, dialect) for hold in rule.holds)))


def without_time(rule: RowRule) -> ColumnElement[bool]:
    """Return the condition of a row that has no time to count from."""
    return and_(_of_status(rule), *(column.is_(None) for column in rule.time_columns))


def absurd(rule: RowRule, cutoff: datetime, dialect: str) -> ColumnElement[bool]:
    """Return the condition of a row kept because the time from which it counts can't be right."""
    latest = (cutoff + rule.keep + _CLOCK_TOLERANCE).replace(microsecond=0)
    found = [_absurd_time(rule, rule.finished, latest, dialect)]
    if rule.fallback is not None:
        found.append(and_(rule.finished.is_(None), _absurd_time(rule, rule.fallback, latest, dialect)))
    return and_(_of_status(rule), or_(*found))


def cursor_of(expiry: Expiry, dialect: str) -> ColumnElement[object]:
    """Return the time as the database sorts it: on SQLite its very text, for two spellings may mean one time."""
    return type_coerce(expiry.time, String) if dialect == "sqlite" else expiry.time


def _old(expiry: Expiry, dialect: str) -> ColumnElement[bool]:
    rule, time = expiry.rule, expiry.time
    conditions: list[ColumnElement[bool]] = []
    if rule.status is not None:
        conditions.append(rule.status == expiry.word)
    if expiry.by_fallback:
        conditions.append(rule.finished.is_(None))
    conditions += [time.is_not(None), time >= EARLIEST, time < expiry.cutoff]
    if rule.created is not None:
        conditions.append(time >= rule.created)
    return and_(*conditions, _comparable(time, dialect))


def _of_status(rule: RowRule) -> ColumnElement[bool]:
    return rule.status.in_(rule.words) if rule.status is not None else true()


def _absurd_time(rule: RowRule, time: Column[Any], latest: datetime, dialect: str) -> ColumnElement[bool]:
    created = () if rule.created is None else (rule.created.is_(None), time < rule.created)
    return and_(time.is_not(None), or_(time < EARLIEST, time > latest, *created, ~_comparable(time, dialect)))


def _spared(hold: Hold, now: datetime, dialect: str) -> ColumnElement[bool]:
    """Return the condition of a row that the hold lets go; never NULL."""
    column = hold.column
    if hold.when == "future":
        return or_(column.is_(None), and_(column <= now, _comparable(column, dialect)))
    if hold.when == "set":
        return column.is_(None)
    # As text: the column's type is the application's affair, and false is `f`, 0 or an empty word.
    written = cast(column, Text)
    if hold.when == "true":
        return or_(column.is_(None), func.lower(written).in_(_FALSE))
    words = [str(value) for value in hold.values]
    # 1 also where the column writes it as 1.0 or 1.00.
    whole = func.rtrim(written, "0")
    return or_(column.is_(None), and_(written.not_in(words), whole.not_in([f"{word}." for word in words])))


def _comparable(time: ColumnElement[datetime], dialect: str) -> ColumnElement[bool]:
    """SQLite compares times as text, which is right for one spelling only: no offset, no T, nothing behind."""
    if dialect != "sqlite":
        return true()
    written = type_coerce(time, String)
    whole = func.substr(written, 1, _SECONDS_WIDTH)
    return and_(
        # Read and written again it must be the same: the 30th of February would come back as the 1st of March.
        func.coalesce(func.strftime(_SQLITE_TIME, whole, "+0 days"), "") == whole,
        ~func.substr(written, _SECONDS_WIDTH + 1).op("GLOB")("*[^.0-9]*"),
    )
