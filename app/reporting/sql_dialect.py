"""What the two databases spell differently; the figures must agree to the digit."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol, cast

from sqlalchemy import CTE, ColumnElement, Connection, Select

from app.core.database import Dialect
from app.reporting import sql_postgres, sql_sqlite

QUANTILES = {"median": 0.5, "p95": 0.95, "p99": 0.99}
"""Names and fractions of the percentiles of every report."""


class SqlDialect(Protocol):
    """The expressions in one database's own words; the modules `sql_postgres` and `sql_sqlite` are such."""

    def one_snapshot(self, connection: Connection) -> None:
        """Let all statements of the transaction see the same rows."""
        ...

    def instant(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return an instant in the form that the two functions below take; NULL where the text is no time."""
        ...

    def elapsed_us(self, earlier: ColumnElement[Any], later: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return the whole microseconds between two instants; NULL where either is none."""
        ...

    def slot(self, instant: ColumnElement[Any], start: ColumnElement[Any], length: timedelta) -> ColumnElement[Any]:
        """Return how many whole `length`s `instant` stands after `start` (a `moment`)."""
        ...

    def microseconds(self, seconds: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return non-negative `seconds` as whole microseconds: sums of integers don't depend on the order of rows."""
        ...

    def total(self, us: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return the exact sum of whole microseconds, 0 of none, as something that `int` reads."""
        ...

    def moment(self, name: str) -> ColumnElement[Any]:
        """Return the parameter `{name}_moment`, given as datetime, in the form of `instant`."""
        ...

    def read_once(self, rows: Select[Any]) -> Select[Any]:
        """Return `rows` in a form whose columns are worked out once, however often they are mentioned."""
        ...

    def spread(
        self,
        rows: CTE,
        aggregates: Sequence[ColumnElement[Any]],
        columns: Mapping[str, str],
        fractions: Mapping[str, float],
    ) -> Select[Any]:
        """Return one row with the aggregates, and `columns`' percentiles, interpolated linearly (percentile_cont).

        The percentiles of a column are named by the column's key and the fraction's: `us_median`.
        """
        ...

    def json_rows(self, ordered: Select[Any]) -> ColumnElement[Any]:
        """Return the rows of `ordered`, in its order, as JSON text: a list of lists."""
        ...

    def readable(self, text: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return text in a form that the driver never fails to read; `as_text` turns it into a string."""
        ...


def dialect_for(name: Dialect) -> SqlDialect:
    """Return the expressions for the database named."""
    return cast("SqlDialect", sql_postgres if name == "postgresql" else sql_sqlite)


def as_text(value: Any) -> str | None:
    """Return what `SqlDialect.readable` gave as a string; bytes that are no UTF-8 become replacement characters."""
    if value is None or isinstance(value, str):
        return value
    return bytes(value).decode("utf-8", "replace")
