"""Archived rows written back into their table, each value as it was; never over a row that stands there."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy import text as sql
from sqlalchemy.exc import DBAPIError, IntegrityError

from app.core.errors import SchemaMismatch
from app.retention.catalogue import printed
from app.retention.json_nulls import MARK
from app.retention.rules import bare_table


@dataclass(kw_only=True)
class Result:
    """What became of the rows of one archive row."""

    back: int = 0
    conflicts: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    left: list[str] = field(default_factory=list)
    """Rows that stay in the archive, as JSON."""


def restorer(connection: Connection, table_name: str) -> "PostgresRestorer | SqliteRestorer":
    """Return what writes archived rows back into a table; it raises SchemaMismatch where a column of theirs is gone."""
    table = bare_table(table_name, set(), set())
    return (SqliteRestorer if connection.dialect.name == "sqlite" else PostgresRestorer)(connection, table)


class PostgresRestorer:
    """Lets the server itself read back what it wrote as JSON: every type as it was."""

    def __init__(self, connection: Connection, table: Table) -> None:
        self._connection = connection
        self._name = printed(connection, table)
        self._quote = connection.dialect.identifier_preparer.quote

    def restore(self, rows: str, result: Result) -> None:
        single = list(self._connection.execute(_ELEMENTS, {"rows": rows}).scalars())
        columns = self._columns(single[0], rows) if single else {}
        written = self._insert(columns, single)
        if written == len(single):
            result.back += written
            return
        # One by one, to see which.
        for row in single:
            self._one(columns, row, result)

    def _one(self, columns: Mapping[str, str], row: str, result: Result) -> None:
        try:
            with self._connection.begin_nested():
                written = self._write(columns, [row])
        except IntegrityError as error:
            result.refused[said(error)] += 1
            result.left.append(row)
            return
        result.back += written
        if not written:
            result.conflicts += 1
            result.left.append(row)

    def _insert(self, columns: Mapping[str, str], rows: Sequence[str]) -> int | None:
        """Write all rows at once; nothing, and None, where one of them does not fit."""
        whole = self._connection.begin_nested()
        try:
            written = self._write(columns, rows)
        except IntegrityError:
            whole.rollback()
            return None
        if written == len(rows):
            whole.commit()
            return written
        whole.rollback()
        return None

    def _write(self, columns: Mapping[str, str], rows: Sequence[str]) -> int:
        statement = sql(
            f"INSERT INTO {self._name} ({', '.join(columns)}) OVERRIDING SYSTEM VALUE "  # noqa: S608 - quoted names of the catalogue
            f"SELECT {', '.join(columns.values())} FROM json_array_elements(CAST(:gengfu_rows AS json)) AS gengfu_row, "
            f"json_populate_record(NULL::{self._name}, gengfu_row) AS gengfu_read ON CONFLICT DO NOTHING"
        )
        return int(self._connection.execute(statement, {"gengfu_rows": f"[{','.join(rows)}]"}).rowcount)

    def _columns(self, row: str, rows: str) -> dict[str, str]:
        """Return column -> what reads its value, both as SQL."""
        there = {found.attname: found for found in self._connection.execute(_PG_COLUMNS, {"name": self._name})}
        names = list(self._connection.execute(_KEYS, {"row": row, "mark": MARK}).scalars())
        marked = set(self._connection.execute(_MARKED, {"rows": rows, "mark": MARK}).scalars())
        _require_columns(self._name, [*names, *marked], set(there))
        return {
            self._quote(name): self._read(name, there[name].type, is_marked=name in marked)
            for name in names
            if not there[name].generated
        }

    def _read(self, name: str, kind: str, *, is_marked: bool) -> str:
        read = f"gengfu_read.{self._quote(name)}"
        if not is_marked:
            return read
        mark = name.replace("'", "''").replace(":", "\\:")
        return f"COALESCE(CAST(gengfu_row -> '{MARK}' ->> '{mark}' AS {kind}), {read})"


class SqliteRestorer:
    """Writes back each value with the type under which it was stored."""

    def __init__(self, connection: Connection, table: Table) -> None:
        self._connection = connection
        self._name = printed(connection, table)
        self._quote = connection.dialect.identifier_preparer.quote
        found = connection.execute(_LITE_COLUMNS, {"name": table.name, "schema": table.schema or "main"})
        self._there = set(found.scalars())

    def restore(self, rows: str, result: Result) -> None:
        for row in json.loads(rows):
            self._one(row, result)

    def _one(self, row: dict[str, Any], result: Result) -> None:
        _require_columns(self._name, row, self._there)
        names = ", ".join(map(self._quote, row))
        marks = ", ".join("CAST(? AS TEXT)" if _is_odd_text(value) else "?" for value in row.values())
        statement = f"INSERT INTO {self._name} ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608 - same
        try:
            written = self._connection.exec_driver_sql(statement, tuple(map(_unpacked, row.values()))).rowcount
        except IntegrityError as error:
            result.refused[said(error)] += 1
            result.left.append(_packed(row))
            return
        result.back += written
        if not written:
            result.conflicts += 1
            result.left.append(_packed(row))


_ELEMENTS = sql("SELECT value::text FROM json_array_elements(CAST(:rows AS json))")
_KEYS = sql("SELECT key FROM json_object_keys(CAST(:row AS json)) AS key WHERE key <> :mark")
_MARKED = sql(
    "SELECT DISTINCT key FROM json_array_elements(CAST(:rows AS json)) AS element, "
    "json_object_keys(element -> :mark) AS key"
)
_PG_COLUMNS = sql("""
    SELECT attname, attgenerated <> '' AS generated, format_type(atttypid, atttypmod) AS type FROM pg_attribute
    WHERE attrelid = to_regclass(:name) AND attnum > 0 AND NOT attisdropped""")
_LITE_COLUMNS = sql("SELECT name FROM pragma_table_info(:name, :schema)")


def _require_columns(table: str, names: "Sequence[str] | dict[str, Any]", there: set[str]) -> None:
    gone = [name for name in names if name not in there]
    if gone:
        raise SchemaMismatch(f"{table} has no column {', '.join(gone)} any more; add it and undo again")


def _unpacked(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    return float(content) if kind == "$real" else bytes.fromhex(content)


def _is_odd_text(value: Any) -> bool:
    return isinstance(value, dict) and "$text" in value


def _packed(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"))


def said(error: DBAPIError) -> str:
    """Return what the database said, on one line."""
    return " ".join(str(error.orig).split())
