"""PostgreSQL's words for the day's statement; see `sql_dialect.SqlDialect`."""

from datetime import datetime
from typing import Any

from sqlalchemy import CTE, BigInteger, ColumnElement, Connection, Integer, Select, Text, and_, case, cast, func, select
from sqlalchemy import text as statement


def one_snapshot(connection: Connection) -> None:
    # READ COMMITTED would let the slowest tasks disagree with the totals.
    connection.execute(statement("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))


def elapsed(earlier: ColumnElement[Any], later: ColumnElement[Any]) -> ColumnElement[Any]:
    # Subtracting 'infinity' is an error before PostgreSQL 17.
    finite = and_(func.isfinite(earlier), func.isfinite(later))
    return case((finite, func.date_part("epoch", later - earlier)))


def quarter_hour(instant: ColumnElement[Any], start: datetime) -> ColumnElement[Any]:
    return cast(func.floor(func.date_part("epoch", instant - start) / 900), Integer)


def microseconds(seconds: ColumnElement[Any]) -> ColumnElement[Any]:
    return cast(func.trunc(seconds * 1_000_000 + 0.5), BigInteger)


def quantiles(values: CTE, fractions: dict[str, float]) -> Select[Any]:
    return select(
        *(func.percentile_cont(part).within_group(values.c.us).label(name) for name, part in fractions.items())
    )


def readable(text: ColumnElement[Any]) -> ColumnElement[Any]:
    # The application's column may be an enum, a uuid or JSON.
    return cast(text, Text)
