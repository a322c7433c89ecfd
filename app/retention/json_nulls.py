"""JSON's own null on PostgreSQL, which the archive must tell from a NULL: written as JSON, both look the same.

The archived row then has one key more, the empty one, which no column can have: column -> its value as the server's
text.
"""

from dataclasses import dataclass
from itertools import chain
from typing import Any

from sqlalchemy import JSON, ColumnElement, Connection, Table, Text, case, func, literal_column, or_, text
from sqlalchemy import cast as sql_cast

from app.retention.catalogue import printed

MARK = ""
_BLANKS = " \t\n\r"
"""What may stand around a value of type json, which keeps it."""


@dataclass(frozen=True, kw_only=True)
class JsonColumns:
    """The columns of a table in which a JSON null may stand."""

    plain: tuple[str, ...] = ()
    """Of type json or jsonb, or of a domain over one."""
    nested: tuple[str, ...] = ()
    """Arrays of those, or composite types that contain one."""


def json_columns(connection: Connection, table: Table) -> JsonColumns:
    """Return what the catalogue says of a table of PostgreSQL."""
    found = connection.execute(_FIND, {"name": printed(connection, table)}).all()
    nested = {name for name, is_nested in found if is_nested}
    plain = sorted({name for name, _ in found} - nested)
    return JsonColumns(plain=tuple(plain), nested=tuple(sorted(nested)))


def whole_row(quoted_table: str, columns: JsonColumns) -> ColumnElement[Any]:
    """Return a row of the table as JSON, its JSON nulls marked; `quoted_table` as the statement names it."""
    row = func.to_json(literal_column(f"{quoted_table}.*"), type_=JSON)
    written = {name: sql_cast(_column(quoted_table, name), Text) for name in (*columns.plain, *columns.nested)}
    lost = {name: func.btrim(written[name], _BLANKS) == "null" for name in columns.plain}
    lost |= {name: written[name].is_not(None) for name in columns.nested}
    if not lost:
        return row
    named = ((sql_cast(name, Text), case((is_lost, written[name]))) for name, is_lost in lost.items())
    marks = func.json_strip_nulls(func.json_build_object(*chain.from_iterable(named), type_=JSON), type_=JSON)
    opened = func.left(sql_cast(row, Text), -1, type_=Text)
    marked = opened.concat(f',"{MARK}":').concat(sql_cast(marks, Text)).concat("}")
    return case((or_(*lost.values()), sql_cast(marked, JSON)), else_=row)


def _column(quoted_table: str, name: str) -> ColumnElement[Any]:
    return literal_column(f"{quoted_table}.{quoted(name)}")


def quoted(name: str) -> str:
    """Return a name as PostgreSQL takes it literally."""
    return f'"{name.replace(chr(34), chr(34) * 2)}"'


_FIND = text("""
    WITH RECURSIVE part (name, type, nested) AS (
        SELECT attname::text, atttypid, false FROM pg_attribute
        WHERE attrelid = to_regclass(:name) AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
        UNION
        SELECT part.name, inner_part.type, part.nested OR inner_part.nested
        FROM part JOIN pg_type t ON t.oid = part.type CROSS JOIN LATERAL (
            SELECT t.typbasetype, false WHERE t.typtype = 'd'
            UNION ALL SELECT t.typelem, true WHERE t.typcategory = 'A'
            UNION ALL SELECT a.atttypid, true FROM pg_attribute a
                WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
        ) AS inner_part (type, nested)
    )
    SELECT DISTINCT name, nested FROM part WHERE type IN ('json'::regtype, 'jsonb'::regtype)""")
