"""Batches on PostgreSQL: keys and paths travel packed, and children, parents and archive are one statement.

Two statements, not one: what a single statement locks it still sees as it was before it got the lock, so that a child
written in between would stay behind as an orphan. The second one sees all that was committed while we waited.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import (
    CTE,
    Column,
    ColumnElement,
    Connection,
    Delete,
    FromClause,
    Select,
    String,
    Subquery,
    Table,
    Text,
    any_,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    select,
    true,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy import text as sql
from sqlalchemy.types import NullType, UserDefinedType

from app.core.own_tables import archived_row
from app.retention.archive import ArchiveSlip
from app.retention.batch import Cursor, Doomed, Gone, require_all_gone
from app.retention.catalogue import live_table, starts_with
from app.retention.expiry import Expiry, cursor_of, expired_in
from app.retention.json_nulls import json_columns, quoted, whole_row
from app.retention.keyset import KeysetSelections, within
from app.retention.lock import Flight
from app.retention.stored_paths import FileColumn

_DIALECT = "postgresql"
_KEYS = "gengfu_keys"
_NO_SORT = sql("SET LOCAL enable_sort TO off")
_PACKED: tuple[ColumnElement[Any], ...] = (
    literal_column("count(*)"),
    literal_column("array_agg(doomed.key)::text"),
    literal_column("(array_agg(doomed.time))[count(*)]::text"),
    literal_column("(array_agg(doomed.key))[count(*)]::text"),
)
_HIDDEN_FROM_PLANNER = frozenset({"smallint", "integer", "bigint", "uuid", "text", "character varying"})
"""Kinds of keys whose name can be written back: the bare name of others (`character`) means something shorter."""


@dataclass(frozen=True, kw_only=True)
class _Keys:
    """The keys of locked rows."""

    array: str
    """As the server wrote it."""
    kinds: tuple[str, ...]
    """The server's names for the types of the key and of each child's foreign key."""


class _ServerType(UserDefinedType[str]):
    """A type by the name that the server itself gave."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_: Any) -> str:
        return self.name


@dataclass(frozen=True, kw_only=True)
class _Deleted:
    """One table's part of the statement."""

    cte: CTE
    told: Subquery
    """One row: how many rows went, then what each of their file columns held."""


class PostgresBatches:
    """The statements of one pass."""

    def __init__(self, expiry: Expiry, archive: ArchiveSlip | None, flight: Flight | None = None) -> None:
        """Prepare the statements; with `flight` each lock also asks whether the clean-up's lock is still held."""
        self._expiry = expiry
        self._archive = archive
        self._flight = flight or Flight()
        self._selections = KeysetSelections(self._selection)
        self._deletions: dict[tuple[str, ...], Select[Any]] = {}
        self._is_in_order: bool | None = None

    def lock(
        self, connection: Connection, cursor: Cursor | None, size: int, end: Cursor | None = None
    ) -> Doomed | None:
        if self._is_in_order is None:
            self._is_in_order = _is_in_order(connection, self._expiry)
        if self._is_in_order:
            # Of a table never analysed the planner expects ten rows and would sort all that remain, for each batch.
            connection.execute(_NO_SORT)
        row = self._selections.execute(connection, size, cursor, end).one()
        rows, array, time, key, is_held, *kinds = row
        if not is_held:
            raise self._flight.lost()
        return Doomed(rows=rows, keys=_Keys(array=array, kinds=tuple(kinds)), last=(time, key)) if rows else None

    def delete(self, connection: Connection, doomed: Doomed, checkpoint: Callable[[str], None]) -> Gone:
        rule, keys = self._expiry.rule, cast("_Keys", doomed.keys)
        if keys.kinds not in self._deletions:
            self._deletions[keys.kinds] = self._deletion(self._whole_rows(connection), *keys.kinds)
        told = iter(connection.execute(self._deletions[keys.kinds], {_KEYS: keys.array}).one())
        counts: list[int] = []
        paths: list[tuple[FileColumn, Any]] = []
        for files in (rule.files, *(child.files for child in rule.children)):
            counts.append(next(told))
            paths += [(file, next(told) or ()) for file in files]
        require_all_gone(doomed, counts[0], rule.table_name)
        checkpoint("rows deleted")
        return Gone(rows=counts[0], children=tuple(counts[1:]), paths=paths)

    def _selection(self, bounds: Iterable[str]) -> Select[Any]:
        """Select by keyset, not "the first N": behind an old snapshot those would walk over all rows deleted so far."""
        rule = self._expiry.rule
        key, time = rule.key, cursor_of(self._expiry, _DIALECT)
        statement = select(key.label("key"), time.label("time"))
        statement = statement.where(expired_in(self._expiry, _DIALECT), *within(bounds, time, key))
        # The lock also reads the row again: one that was retried meanwhile no longer matches.
        ordered = statement.order_by(time, key).limit(bindparam("size")).with_for_update(skip_locked=True)
        kinds = (_kind(column) for column in (rule.key, *(child.foreign_key for child in rule.children)))
        told = (*_PACKED, self._flight.is_held(), *kinds)
        return select(*told).select_from(ordered.subquery("doomed"))

    def _whole_rows(self, connection: Connection) -> tuple[ColumnElement[Any] | None, ...]:
        """Return what the archive keeps of a row of each table; None: nothing."""
        tables = self._expiry.rule.tables
        if self._archive is None:
            return (None,) * len(tables)
        return tuple(whole_row(quoted(table.name), json_columns(connection, table)) for table in tables)

    def _deletion(self, wholes: Sequence[ColumnElement[Any] | None], kind: str, *child_kinds: str) -> Select[Any]:
        rule, archive = self._expiry.rule, self._archive
        own = delete(rule.table).where(among_keys(rule.key, kind), *_still_expired(self._expiry))
        parents = _deleted("parents", own, rule.files, wholes[0])
        children = [
            _deleted(
                f"children_{number}",
                delete(child.table).where(among_keys(child.foreign_key, child_kind)),
                child.files,
                whole,
            )
            for number, (child, child_kind, whole) in enumerate(
                zip(rule.children, child_kinds, wholes[1:], strict=True)
            )
        ]
        parts = (parents, *children)
        told: FromClause = parents.told
        for part in children:
            told = told.join(part.told, true())
        statement = select(*(part.told for part in parts)).select_from(told)
        if archive is not None:
            for part, table in zip(parts, rule.tables, strict=True):
                statement = statement.add_cte(_archived(part, archive, table, is_child=part is not parents))
        return statement


def _is_in_order(connection: Connection, expiry: Expiry) -> bool:
    """Tell whether an index holds the rows of the pass in its order, so that nothing is won by sorting them."""
    rule, live = expiry.rule, live_table(connection, expiry.rule.table)
    status = () if rule.status is None else (rule.status.name,)
    return live is not None and starts_with(live.indexes, *status, expiry.time.name)


def _still_expired(expiry: Expiry) -> tuple[ColumnElement[bool], ...]:
    """Return the condition for rows that are found by their keys.

    IS TRUE keeps the planner from finding all expired rows by it and looking for the key of each among thousands; the
    bound besides lets it leave out partitions.
    """
    return (expiry.time < expiry.cutoff, expired_in(expiry, _DIALECT).is_(true()))


def among_keys(column: ColumnElement[Any], kind: str) -> ColumnElement[bool]:
    """Return the condition that the column holds one of the bound keys.

    They go as one array: two thousand parameters cost it and us more than the deletion. Where `kind`, the type of the
    column, can be named, the planner doesn't get to see the keys: it would look up the share of every single one, 4 ms
    for 5,000 rows that are deleted in 80.
    """
    keys = bindparam(_KEYS, type_=String())
    if kind not in _HIDDEN_FROM_PLANNER:
        return column == any_(keys)  # the server takes the type from the column
    unpacked = select(func.unnest(sql_cast(keys, _ServerType(f"{kind}[]")), type_=NullType()))
    return column == any_(func.array(unpacked.scalar_subquery(), type_=NullType()))


def _kind(column: ColumnElement[Any]) -> ColumnElement[str]:
    return sql_cast(func.pg_typeof(select(column).limit(0).scalar_subquery(), type_=NullType()), Text)


def _deleted(name: str, statement: Delete, files: tuple[FileColumn, ...], whole: ColumnElement[Any] | None) -> _Deleted:
    returned: list[Any] = [sql_cast(file.column, Text).label(f"file_{n}") for n, file in enumerate(files)]
    if whole is not None:
        returned.append(whole.label("whole"))
    # Something must come back, for the rows are counted.
    returned.append(literal_column("1").label("one"))
    cte = statement.returning(*returned).cte(name)
    # All in one look at the rows: a look of its own for each column took a sixth of the time.
    told = select(func.count().label("rows"), *_paths(cte, len(files))).select_from(cte)
    return _Deleted(cte=cte, told=told.subquery(f"{name}_told"))


def _paths(cte: CTE, columns: int) -> Iterator[Any]:
    for number in range(columns):
        path = cte.c[f"file_{number}"]
        # The driver reads an array of text by itself, and much faster than as many rows.
        yield func.array_agg(path, type_=NullType()).filter(path.is_not(None)).label(f"paths_{number}")


def _archived(part: _Deleted, archive: ArchiveSlip, table: Table, *, is_child: bool) -> CTE:
    rows = func.json_agg(cast("Column[Any]", part.cte.c.whole), type_=NullType())
    values = archive.values(table.fullname, is_child=is_child) | {
        "rows": sql_cast(rows, Text),
        "row_count": func.count(),
    }
    columns = {name: archived_row.c[name] for name in values}
    written = [
        value if isinstance(value, ColumnElement) else bindparam(None, value, type_=columns[name].type, unique=True)
        for name, value in values.items()
    ]
    found = select(*written).select_from(part.cte).having(func.count() > 0)
    return insert(archived_row).from_select(list(columns.values()), found).cte(f"archived_{part.cte.name}")
