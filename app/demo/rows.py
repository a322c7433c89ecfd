"""Bulk writing into the application's empty tables."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any, cast

import psycopg2
from sqlalchemy import Connection, Table, func, insert, inspect, select, text
from sqlalchemy.exc import DBAPIError

from app.core.errors import BadArgument
from app.demo import schema

_COUNTED_UP_TO = 1_000_000  # rows; a real application's table may hold far more than anybody wants to wait for


def prepare_tables(connection: Connection) -> None:
    """Create the two tables where they are missing; BadArgument when one holds a row, for it is not ours."""
    if connection.dialect.name == "postgresql":
        # Two at once would both find no tables.
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('gengfu_demo'))"))
    schema.metadata.create_all(connection, checkfirst=True)
    if connection.dialect.name == "postgresql":
        # The application may be running: nothing is to come between the look and our rows.
        connection.execute(text("LOCK TABLE tasks, delivery_receipts IN SHARE ROW EXCLUSIVE MODE"))
    for table in (schema.tasks, schema.delivery_receipts):
        _require_empty(connection, table)


def insert_rows(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert tuples in the order of the table's columns."""
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        _copy(connection, table, rows)
        return
    names = [column.name for column in table.columns]
    connection.execute(insert(table), [dict(zip(names, row, strict=True)) for row in rows])


def advance_sequences(connection: Connection) -> None:
    """Let the application's own inserts go on after our ids, which were given and not drawn."""
    if connection.dialect.name != "postgresql":
        return
    for table in (schema.tasks, schema.delivery_receipts):
        sequence = func.pg_get_serial_sequence(table.name, "id")
        # With no row, max() is NULL and setval() then changes nothing.
        connection.execute(select(func.setval(sequence, func.max(table.c.id))))


def holds_rows(connection: Connection) -> bool:
    """Say whether the task table exists and holds a row."""
    if not inspect(connection).has_table(schema.tasks.name):
        return False
    return connection.execute(select(schema.tasks.c.id).limit(1)).first() is not None


def _require_empty(connection: Connection, table: Table) -> None:
    # All columns are named: a table of another shape is told now, by the database's own words.
    some = select(table).limit(_COUNTED_UP_TO + 1).subquery()
    rows = connection.execute(select(func.count()).select_from(some)).scalar_one()
    if rows:
        number = f"{rows:,}" if rows <= _COUNTED_UP_TO else f"more than {_COUNTED_UP_TO:,}"
        raise BadArgument(
            f"the table {table.name} already holds {number} rows; sample data is only written into empty tables"
        )


def _copy(connection: Connection, table: Table, rows: Iterable[tuple[Any, ...]]) -> None:
    """COPY instead of INSERT: 100,000 tasks with their receipts then take 4 s and not 14."""
    content = io.StringIO()
    csv.writer(content).writerows(rows)
    content.seek(0)
    names = ", ".join(column.name for column in table.columns)
    with cast("Any", connection.connection.dbapi_connection).cursor() as cursor:
        statement = f"COPY {table.name} ({names}) FROM STDIN WITH (FORMAT csv)"
        try:
            cursor.copy_expert(statement, content)
        except psycopg2.Error as error:
            # Past SQLAlchemy, so that `Database` tells its causes apart as it does for any other statement.
            raise DBAPIError(statement, None, error) from error
