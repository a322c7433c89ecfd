"""Many times the sample's rows, made by the database: writing ten million from Python takes a quarter of an hour."""

from sqlalchemy import Column, Connection, MetaData, Table, Text, cast, insert, select, text
from sqlalchemy.sql.elements import ColumnElement

from app.demo import schema
from app.demo.rows import advance_sequences

_OWN_TEXTS = ("task_id", "tracking_number")
_PATHS = "_path"


def multiply(connection: Connection, times: int) -> None:
    """Replace each row by `times` of its kind: ids, names and paths of their own, neighbours on the disk as in time."""
    copies = _numbers(connection, times)
    for table in (schema.tasks, schema.delivery_receipts):
        _set_aside(connection, table)
    _empty(connection)
    for table in (schema.tasks, schema.delivery_receipts):
        aside = Table(_aside(table), MetaData(), *(Column(column.name, column.type) for column in table.columns))
        number = copies.c.number
        values = [_value(aside.c[column.name], number, times, table) for column in table.columns]
        query = select(*values).select_from(aside.join(copies, text("1 = 1"))).order_by(aside.c.id, number)
        connection.execute(insert(table).from_select([column.name for column in table.columns], query))
        connection.execute(text(f"DROP TABLE {_aside(table)}"))
    connection.execute(text("DROP TABLE bench_numbers"))
    advance_sequences(connection)


def _value(column: Column[object], number: ColumnElement[int], times: int, table: Table) -> ColumnElement[object]:
    name = column.name
    if name == "id" or (name == "task_id" and table is schema.delivery_receipts):
        return (column - 1) * times + number
    if name in _OWN_TEXTS or name.endswith(_PATHS):
        return column.concat(".").concat(cast(number, Text))
    return column


def _numbers(connection: Connection, times: int) -> Table:
    table = Table("bench_numbers", MetaData(), Column("number", schema.tasks.c.id.type, primary_key=True))
    table.create(connection)
    connection.execute(insert(table), [{"number": number} for number in range(1, times + 1)])
    return table


def _set_aside(connection: Connection, table: Table) -> None:
    connection.execute(text(f"CREATE TABLE {_aside(table)} AS SELECT * FROM {table.name}"))


def _empty(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        # DELETE would leave a million dead rows in front of the living.
        connection.execute(text("TRUNCATE delivery_receipts, tasks"))
        return
    for table in (schema.delivery_receipts, schema.tasks):
        connection.execute(table.delete())


def _aside(table: Table) -> str:
    return f"bench_{table.name}"
