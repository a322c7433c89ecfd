"""Batches on SQLite: the transaction holds the only write lock, so that what was read can't change before it goes."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    LargeBinary,
    Row,
    Select,
    Table,
    bindparam,
    case,
    column,
    delete,
    func,
    insert,
    literal_column,
    select,
    text,
    true,
    type_coerce,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.types import NullType

from app.core.own_tables import archived_row
from app.retention.archive import ArchiveSlip, packed_sqlite
from app.retention.batch import Cursor, Doomed, Gone, require_all_gone
from app.retention.expiry import Expiry, cursor_of, expired_in
from app.retention.keyset import KeysetSelections, within
from app.retention.lock import Flight
from app.retention.stored_paths import FileColumn

_DIALECT = "sqlite"
KEYS = "gengfu_keys"


@dataclass(frozen=True, kw_only=True)
class Keys:
    """The keys of locked rows, as one JSON array where that can be."""

    value: Any
    is_packed: bool

    @classmethod
    def of(cls, keys: Sequence[Any]) -> "Keys":
        is_packed = all(isinstance(value, int) or (isinstance(value, str) and "\0" not in value) for value in keys)
        return cls(value=json.dumps(keys) if is_packed else keys, is_packed=is_packed)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """One table's share of a batch."""

    table: Table
    key: ColumnElement[Any]
    """The column that holds the keys of the rows that go."""
    files: tuple[FileColumn, ...]
    condition: ColumnElement[bool] = field(default_factory=true)
    is_child: bool = False


class SqliteBatches:
    """The statements of one pass."""

    def __init__(self, expiry: Expiry, archive: ArchiveSlip | None, _flight: Flight | None = None) -> None:
        """Prepare the statements; the clean-up's lock can't be lost here."""
        rule = expiry.rule
        self._expiry = expiry
        self._archive = archive
        self._selections = KeysetSelections(self._selection)
        self._deletions: dict[tuple[_Part, bool], tuple[list[str], Executable]] = {}
        self._children = [
            _Part(table=child.table, key=child.foreign_key, files=child.files, is_child=True) for child in rule.children
        ]
        self._parents = _Part(table=rule.table, key=rule.key, files=rule.files, condition=expired_in(expiry, _DIALECT))

    def lock(
        self, connection: Connection, cursor: Cursor | None, size: int, end: Cursor | None = None
    ) -> Doomed | None:
        found = self._selections.execute(connection, size, cursor, end).all()
        if not found:
            return None
        return Doomed(rows=len(found), keys=[row[0] for row in found], last=(found[-1][1], found[-1][0]))

    def delete(self, connection: Connection, doomed: Doomed, checkpoint: Callable[[str], None]) -> Gone:
        keys = Keys.of(doomed.keys)
        children = [self._delete(connection, part, keys) for part in self._children]
        checkpoint("children deleted")
        parents = self._delete(connection, self._parents, keys)
        require_all_gone(doomed, len(parents), self._expiry.rule.table_name)
        checkpoint("rows deleted")
        told = [(self._parents, parents), *zip(self._children, children, strict=True)]
        return Gone(
            rows=len(parents),
            children=tuple(len(rows) for rows in children),
            paths=[column for part, rows in told for column in _by_column(part.files, rows)],
        )

    def _selection(self, bounds: Iterable[str]) -> Select[Any]:
        """Select by keyset, not "the first N": those would walk over locked and skipped rows again and again."""
        key, time = self._expiry.rule.key, cursor_of(self._expiry, _DIALECT)
        # Only the database itself reads the time again: two thousand times as the driver gives them will do.
        statement = select(key, type_coerce(time, NullType()))
        statement = statement.where(expired_in(self._expiry, _DIALECT), *within(bounds, time, key))
        return statement.order_by(time, key).limit(bindparam("size"))

    def _delete(self, connection: Connection, part: _Part, keys: Keys) -> Sequence[Row[Any]]:
        if (part, keys.is_packed) not in self._deletions:
            names = _columns(connection, part.table) if self._archive is not None else []
            self._deletions[part, keys.is_packed] = names, _deletion(part, names, is_packed=keys.is_packed)
        names, statement = self._deletions[part, keys.is_packed]
        found = connection.execute(statement, {KEYS: keys.value}).all()
        if found and self._archive is not None:
            rows = packed_sqlite(names, (tuple(row)[len(part.files) : -1] for row in found))
            values = self._archive.values(part.table.fullname, is_child=part.is_child)
            connection.execute(insert(archived_row).values(**values, rows=rows, row_count=len(found)))
        return found


def keys_among(key: ColumnElement[Any], *, is_packed: bool) -> ColumnElement[bool]:
    """Return the condition that the column holds one of the bound keys (see `Keys`)."""
    if not is_packed:
        return key.in_(bindparam(KEYS, expanding=True))
    return key.in_(text("SELECT value FROM json_each(:gengfu_keys)").columns(column("value", NullType())))


def _deletion(part: _Part, names: list[str], *, is_packed: bool) -> Executable:
    returned: list[ColumnElement[Any]] = [f.raw(_DIALECT).label(f"file_{n}") for n, f in enumerate(part.files)]
    returned += [whole for name in names for whole in _value_and_kind(name)]
    return (
        delete(part.table)
        .where(keys_among(part.key, is_packed=is_packed), part.condition)
        .returning(*returned, literal_column("1").label("one"))
    )


def _by_column(files: tuple[FileColumn, ...], rows: Sequence[Row[Any]]) -> list[tuple[FileColumn, Any]]:
    # Column by column: most values are NULL, and a loop over rows costs more than all the rest of them.
    return [(file, values) for file, values in zip(files, zip(*rows, strict=True), strict=False)]


def _value_and_kind(name: str) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    value: ColumnElement[Any] = column(name, NullType())
    kind = func.typeof(value)
    # The driver would choke on a text that is no UTF-8.
    return (
        case((kind == "text", sql_cast(value, LargeBinary)), else_=value).label(f"value_{name}"),
        kind.label(f"kind_{name}"),
    )


def _columns(connection: Connection, table: Table) -> list[str]:
    """Return the columns that can be written back: no generated ones."""
    found = connection.execute(
        text("SELECT name FROM pragma_table_info(:name, :schema)"),
        {"name": table.name, "schema": table.schema or "main"},
    )
    return list(found.scalars())
