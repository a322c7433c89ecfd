"""PostgreSQL's words for the day's statement; see `sql_dialect.SqlDialect`."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Connection,
    DateTime,
    Integer,
    Select,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    select,
)
from sqlalchemy import text as statement

_INSTANT = DateTime(timezone=True)


def one_snapshot(connection: Connection) -> None:
    # READ COMMITTED would let the slowest tasks disagree with the totals.
    connection.execute(statement("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))


def instant(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return column


def elapsed_us(earlier: ColumnElement[Any], later: ColumnElement[Any]) -> ColumnElement[Any]:
    # Subtracting 'infinity' is an error before PostgreSQL 17.
    finite = and_(func.isfinite(earlier), func.isfinite(later))
    return case((finite, cast(func.round(func.date_part("epoch", later - earlier) * 1_000_000), BigInteger)))


def slot(instant: ColumnElement[Any], start: ColumnElement[Any], length: timedelta) -> ColumnElement[Any]:
    return cast(func.floor(func.date_part("epoch", instant - start) / length.total_seconds()), Integer)


def microseconds(seconds: ColumnElement[Any]) -> ColumnElement[Any]:
    return cast(func.trunc(seconds * 1_000_000 + 0.5), BigInteger)


def total(us: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.coalesce(func.sum(us), 0)


def moment(name: str) -> ColumnElement[Any]:
    # With its type: what the driver writes there is but text, and text less an instant is an error.
    return cast(bindparam(f"{name}_moment", type_=_INSTANT), _INSTANT)


def read_once(rows: Select[Any]) -> Select[Any]:
    # Its columns are the application's own: a fence would only copy every row.
    return rows


def spread(
    rows: CTE, aggregates: Sequence[ColumnElement[Any]], columns: Mapping[str, str], fractions: Mapping[str, float]
) -> Select[Any]:
    # All in one scan. Percentiles of one column share its sorting.
    return select(
        *aggregates,
        *(
            func.percentile_cont(part).within_group(rows.c[column]).label(f"{key}_{name}")
            for key, column in columns.items()
            for name, part in fractions.items()
        ),
    )


def json_rows(ordered: Select[Any]) -> ColumnElement[Any]:
    rows = ordered.subquery()
    return select(cast(func.json_agg(func.json_build_array(*rows.c)), Text)).scalar_subquery()


def readable(text: ColumnElement[Any]) -> ColumnElement[Any]:
    # The application's column may be an enum, a uuid or JSON.
    return cast(text, Text)
