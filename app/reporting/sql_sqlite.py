"""SQLite's words for the day's statement; see `sql_dialect.SqlDialect`.

Instants are UTC text there. Each is read once into whole microseconds: `julianday` takes half the time of
`strftime('%s')`, and the digits of the fraction are an integer as they stand.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    Dialect,
    Float,
    FromClause,
    Integer,
    LargeBinary,
    Select,
    String,
    Subquery,
    TypeDecorator,
    bindparam,
    case,
    cast,
    func,
    literal,
    literal_column,
    select,
    true,
    type_coerce,
)

_SECONDS = len("YYYY-MM-DD HH:MM:SS")
_MICROSECONDS = _SECONDS + len(".ffffff")
_SECOND = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_JULIAN_EPOCH_S = 210_866_760_000
"""Seconds from the beginning of the Julian days to 1970."""


class _Microseconds(TypeDecorator[int]):
    """An instant as `instant` gives it."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: Any, _dialect: Dialect) -> int:
        at: datetime = value
        return (at - _EPOCH) // _MICROSECOND


def one_snapshot(_connection: Connection) -> None:
    """Nothing to do: a read transaction in WAL mode sees one snapshot by itself."""


def instant(column: ColumnElement[Any]) -> ColumnElement[Any]:
    written = type_coerce(column, String)
    # The fraction is cut off first: julianday knows milliseconds only, and rounds them differently by version.
    days = func.julianday(func.substr(written, 1, _SECONDS), type_=Float)
    seconds = cast(days * _number(86_400.0) + _number(0.5), Integer) - _number(_JULIAN_EPOCH_S)
    return seconds * _number(_SECOND) + _fraction_us(written)


def elapsed_us(earlier: ColumnElement[Any], later: ColumnElement[Any]) -> ColumnElement[Any]:
    return later - earlier


def slot(instant: ColumnElement[Any], start: ColumnElement[Any], length: timedelta) -> ColumnElement[Any]:
    return (instant - start) // _number(length // _MICROSECOND)


def microseconds(seconds: ColumnElement[Any]) -> ColumnElement[Any]:
    return cast(seconds * _number(1_000_000.0) + _number(0.5), Integer)  # CAST cuts towards zero


def total(us: ColumnElement[Any]) -> ColumnElement[Any]:
    # As digits, from seconds and the rest: a sum ends at 2^63, which 300,000 tasks of a year each would pass.
    whole = func.coalesce(func.sum(us // _number(_SECOND)), 0, type_=Integer)
    rest = func.coalesce(func.sum(us % _number(_SECOND)), 0, type_=Integer)
    return func.printf("%d%06d", whole + rest // _number(_SECOND), rest % _number(_SECOND))


def moment(name: str) -> ColumnElement[Any]:
    return bindparam(f"{name}_moment", type_=_Microseconds())


def read_once(rows: Select[Any]) -> Select[Any]:
    # Else each mention of an instant reads its text again.
    return rows.offset(0)


def spread(
    rows: CTE, aggregates: Sequence[ColumnElement[Any]], columns: Mapping[str, str], fractions: Mapping[str, float]
) -> Select[Any]:
    parts = [select(*aggregates).cte("sums")]
    for key, column in columns.items():
        parts.append(_quantiles(rows, column, {f"{key}_{name}": part for name, part in fractions.items()}))
    joined: FromClause = parts[0]
    for part in parts[1:]:
        joined = joined.join(part, true())
    return select(*(column for part in parts for column in part.c)).select_from(joined)


def _quantiles(rows: CTE, column: str, fractions: Mapping[str, float]) -> CTE:
    """Number the sorted values and interpolate between two neighbours, digit for digit as PostgreSQL does."""
    # Every mention of a CTE is planned anew: each stands here once, or preparing takes longer than running.
    last = select((func.count(rows.c[column]) - 1).label("last")).subquery(f"{column}_last")
    exact = {name: _number(part) * last.c.last for name, part in fractions.items()}
    positions = (
        select(
            *(place.label(name) for name, place in exact.items()),
            *(cast(place, Integer).label(f"{name}_low") for name, place in exact.items()),
        )
        .cte(f"{column}_positions")
        .prefix_with("MATERIALIZED")
    )
    ranked = (
        select(
            rows.c[column].label("value"), (func.row_number().over(order_by=rows.c[column]) - _number(1)).label("rank")
        )
        .where(rows.c[column].is_not(None))
        .subquery(f"{column}_ranked")
    )
    wanted = [positions.c[f"{name}_low"] + _number(step) for name in fractions for step in (0, 1)]
    return (
        select(*(_interpolated(ranked, positions, name).label(name) for name in fractions))
        .select_from(positions.join(ranked, true()))
        .where(ranked.c.rank.in_(wanted))
        .cte(f"{column}_quantiles")
    )


def json_rows(ordered: Select[Any]) -> ColumnElement[Any]:
    rows = ordered.subquery()
    return select(func.json_group_array(func.json_array(*rows.c), type_=String)).scalar_subquery()


def readable(text: ColumnElement[Any]) -> ColumnElement[Any]:
    # Text that is no UTF-8 would make the driver fail the whole statement.
    return cast(text, LargeBinary)


def _number(value: float) -> ColumnElement[Any]:
    # A parameter would be looked up for each row.
    return literal_column(repr(value), Float if isinstance(value, float) else Integer)


def _fraction_us(written: ColumnElement[Any]) -> ColumnElement[Any]:
    digits = cast(func.substr(written, _SECONDS + 2), Integer)
    odd = literal("0", String) + func.substr(written, _SECONDS + 1, _MICROSECONDS - _SECONDS, type_=String)
    lengths = {_MICROSECONDS: digits, _SECONDS: _number(0)}
    return case(
        *((func.length(written) == _number(length), value) for length, value in lengths.items()),
        else_=microseconds(cast(odd, Float)),
    )


def _interpolated(ranked: Subquery, positions: CTE, name: str) -> ColumnElement[Any]:
    low = positions.c[f"{name}_low"]
    below = func.max(case((ranked.c.rank == low, ranked.c.value)), type_=Float)
    above = func.max(case((ranked.c.rank == low + _number(1), ranked.c.value)), type_=Float)
    share = func.max(positions.c[name] - low, type_=Float)
    return below + share * (func.coalesce(above, below, type_=Float) - below)
