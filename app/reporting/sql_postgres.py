"""PostgreSQL's words for the day's statement; see `sql_dialect.SqlDialect`."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import CTE, BigInteger, ColumnElement, Connection, Integer, Select, Text, and_, case, cast, func, select
from sqlalchemy import text as statement


def one_snapshot(connection: Connection) -> None:
    # READ COMMITTED would let the slowest tasks disagree with the totals.
    connection.execute(statement("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))


def instant(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return column


def elapsed_us(earlier: ColumnElement[Any], later: ColumnElement[Any]) -> ColumnElement[Any]:
    # Subtracting 'infinity' is an error before PostgreSQL 17.
    finite = and_(func.isfinite(earlier), func.isfinite(later))
    return case((finite, cast(func.round(func.date_part("epoch", later - earlier) * 1_000_000), BigInteger)))


def slot(instant: ColumnElement[Any], start: datetime, length: timedelta) -> ColumnElement[Any]:
    return cast(func.floor(func.date_part("epoch", instant - start) / length.total_seconds()), Integer)


def microseconds(seconds: ColumnElement[Any]) -> ColumnElement[Any]:
    return cast(func.trunc(seconds * 1_000_000 + 0.5), BigInteger)


def quantiles(rows: CTE, column: str, fractions: dict[str, float]) -> Select[Any]:
    return select(
        *(func.percentile_cont(part).within_group(rows.c[column]).label(name) for name, part in fractions.items())
    )


def json_rows(ordered: Select[Any]) -> ColumnElement[Any]:
    rows = ordered.subquery()
    return select(cast(func.json_agg(func.json_build_array(*rows.c)), Text)).scalar_subquery()


def readable(text: ColumnElement[Any]) -> ColumnElement[Any]:
    # The application's column may be an enum, a uuid or JSON.
    return cast(text, Text)
