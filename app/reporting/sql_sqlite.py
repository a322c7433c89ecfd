"""SQLite's words for the day's statement; see `sql_dialect.SqlDialect`."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    Float,
    Integer,
    LargeBinary,
    Select,
    String,
    case,
    cast,
    func,
    literal,
    select,
    type_coerce,
)

_SECONDS = 19
"""Characters of `YYYY-MM-DD HH:MM:SS`; the fraction follows."""


def one_snapshot(_connection: Connection) -> None:
    """Nothing to do: a read transaction in WAL mode sees one snapshot by itself."""


def elapsed(earlier: ColumnElement[Any], later: ColumnElement[Any]) -> ColumnElement[Any]:
    return (_whole_seconds(later) - _whole_seconds(earlier)) + (_fraction(later) - _fraction(earlier))


def quarter_hour(instant: ColumnElement[Any], start: datetime) -> ColumnElement[Any]:
    return (_whole_seconds(instant) - literal(int(start.timestamp()), Integer)) // 900


def microseconds(seconds: ColumnElement[Any]) -> ColumnElement[Any]:
    return cast(seconds * 1_000_000.0 + 0.5, Integer)  # CAST cuts towards zero


def quantiles(values: CTE, fractions: dict[str, float]) -> Select[Any]:
    """Number the sorted values and interpolate between two neighbours, digit for digit as PostgreSQL does."""
    ranked = (
        select(
            values.c.us,
            (func.row_number().over(order_by=values.c.us) - 1).label("rank"),
            (func.count().over() - 1).label("last"),
        )
        .where(values.c.us.is_not(None))
        .cte("ranked")
    )
    return select(*(_interpolated(ranked, fraction).label(name) for name, fraction in fractions.items()))


def readable(text: ColumnElement[Any]) -> ColumnElement[Any]:
    # Text that is no UTF-8 would make the driver fail the whole statement.
    return cast(text, LargeBinary)


def _whole_seconds(instant: ColumnElement[Any]) -> ColumnElement[int]:
    # strftime itself rounds a fraction up into the next second.
    seconds = func.substr(type_coerce(instant, String), 1, _SECONDS)
    return cast(func.strftime("%s", seconds), Integer)


def _fraction(instant: ColumnElement[Any]) -> ColumnElement[float]:
    digits = func.substr(type_coerce(instant, String), _SECONDS + 1, len(".ffffff"), type_=String)
    return cast(literal("0", String) + digits, Float)


def _interpolated(ranked: CTE, fraction: float) -> ColumnElement[Any]:
    position = literal(fraction, Float) * ranked.c.last
    low = cast(position, Integer)
    below = func.max(case((ranked.c.rank == low, ranked.c.us)), type_=Float)
    above = func.coalesce(func.max(case((ranked.c.rank == low + 1, ranked.c.us)), type_=Float), below, type_=Float)
    return below + func.max(position - low, type_=Float) * (above - below)
