"""What the database's catalogue says of a table that a rule names: read anew before every run."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, Table
from sqlalchemy import text as sql

_SQLITE_DELETE_TRIGGER = re.compile(r"\bDELETE\s+ON\b", re.IGNORECASE)
_PG_KINDS = {"r": "table", "p": "table", "v": "view", "m": "materialized view", "f": "foreign table"}
_PG_ON_DELETE = {"a": "no action", "r": "restrict", "c": "cascade", "n": "set null", "d": "set default"}


@dataclass(frozen=True, kw_only=True)
class LiveColumn:
    """A column as it is."""

    name: str
    type: str
    nullable: bool
    labels: tuple[str, ...] = ()
    """Of an enumeration."""


@dataclass(frozen=True, kw_only=True)
class LiveIndex:
    """An index over all rows by which the database can walk in their order."""

    name: str
    columns: tuple[str, ...]
    """An expression stands as an empty name."""
    unique: bool


@dataclass(frozen=True, kw_only=True)
class Referrer:
    """A foreign key of some table to this one."""

    table: str
    columns: tuple[str, ...]
    on_delete: str
    """cascade | set null | set default | restrict | no action."""
    indexes: tuple[LiveIndex, ...] = ()
    """Those of the referring table."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A foreign key of this table to some table."""

    table: str
    columns: tuple[str, ...]
    referred: tuple[str, ...]
    """The columns there, in the same order."""


@dataclass(frozen=True, kw_only=True)
class LiveTable:
    """A table as it is."""

    name: str
    """As the database prints it; referrers are compared with it."""
    kind: str
    """table | view | materialized view | foreign table | virtual table."""
    partitioned: bool = False
    columns: Mapping[str, LiveColumn] = field(default_factory=dict)
    indexes: tuple[LiveIndex, ...] = ()
    referrers: tuple[Referrer, ...] = ()
    references: tuple[Reference, ...] = ()
    heirs: tuple[str, ...] = ()
    """Tables that inherit from it and have columns of their own: what is deleted here is deleted there."""
    delete_triggers: tuple[str, ...] = ()
    lacking_rights: tuple[str, ...] = ()
    """Of SELECT, DELETE and UPDATE (which FOR UPDATE needs on one column)."""
    hides_rows: bool = False
    """Row security shows us only a part."""
    analysed: bool = True
    """The planner has statistics of it; of a partitioned table, they are its partitions' affair."""


def live_table(connection: Connection, table: Table) -> LiveTable | None:
    """Return what the catalogue says of a table, or None where there is none."""
    return (_sqlite if connection.dialect.name == "sqlite" else _postgresql)(connection, table)


def printed(connection: Connection, table: Table) -> str:
    """Return the table's name as the statements write it, quoted where it must be."""
    return str(connection.dialect.identifier_preparer.format_table(table))


def table_names(connection: Connection) -> list[str]:
    """Return the tables of the database as a rule writes them: with their schema only where it is needed."""
    names = _LITE_NAMES if connection.dialect.name == "sqlite" else _PG_NAMES
    return list(connection.execute(names).scalars())


def starts_with(indexes: tuple[LiveIndex, ...], *columns: str) -> bool:
    """Tell whether an index begins with these columns."""
    return any(index.columns[: len(columns)] == columns for index in indexes)


# PostgreSQL

_PG_NAMES = sql("""
    SELECT CASE WHEN pg_table_is_visible(c.oid) THEN c.relname ELSE n.nspname || '.' || c.relname END
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND NOT starts_with(n.nspname, 'pg_')
        AND n.nspname <> 'information_schema' ORDER BY 1""")
_PG_TABLE = sql("""
    SELECT c.oid, c.oid::regclass::text AS name, c.relkind, c.relispartition, row_security_active(c.oid) AS hides,
           has_table_privilege(c.oid, 'SELECT') AS may_select, has_table_privilege(c.oid, 'DELETE') AS may_delete,
           has_any_column_privilege(c.oid, 'UPDATE') AS may_lock,
           c.relkind = 'p' OR EXISTS (
               SELECT FROM pg_stats s JOIN pg_namespace n ON n.nspname = s.schemaname
               WHERE n.oid = c.relnamespace AND s.tablename = c.relname) AS analysed
    FROM pg_class c WHERE c.oid = to_regclass(:name)""")
_PG_COLUMNS = sql("""
    SELECT a.attname, format_type(a.atttypid, a.atttypmod) AS type, NOT a.attnotnull AS nullable,
           ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = a.atttypid
                 ORDER BY e.enumsortorder) AS labels
    FROM pg_attribute a WHERE a.attrelid = :oid AND a.attnum > 0 AND NOT a.attisdropped""")
_PG_INDEXES = sql("""
    SELECT i.indexrelid::regclass::text AS name, i.indisunique,
           ARRAY(SELECT coalesce(a.attname::text, '') FROM unnest(i.indkey::int2[]) WITH ORDINALITY k (number, place)
                 LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
                 WHERE k.place <= i.indnkeyatts ORDER BY k.place) AS columns
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
    WHERE i.indrelid = :oid AND i.indisvalid AND i.indpred IS NULL AND m.amname = 'btree'""")
# Keys between partitions are the database's own business: only what no other constraint stands behind.
_PG_REFERRERS = sql("""
    SELECT c.conrelid, c.conrelid::regclass::text AS name, c.confdeltype,
           ARRAY(SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY k (number, place)
                 JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number ORDER BY k.place) AS columns
    FROM pg_constraint c WHERE c.contype = 'f' AND c.confrelid = :oid AND c.conparentid = 0 ORDER BY 2""")
_PG_REFERENCES = sql("""
    SELECT c.confrelid::regclass::text AS name,
           ARRAY(SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY k (number, place)
                 JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number ORDER BY k.place) AS columns,
           ARRAY(SELECT a.attname::text FROM unnest(c.confkey) WITH ORDINALITY k (number, place)
                 JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.number ORDER BY k.place) AS referred
    FROM pg_constraint c WHERE c.contype = 'f' AND c.conrelid = :oid ORDER BY 1""")
_PG_HEIRS = sql("""
    SELECT c.oid::regclass::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = :oid AND EXISTS (
        SELECT FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attinhcount = 0) ORDER BY 1""")
_PG_TRIGGERS = sql("""
    SELECT t.tgname FROM pg_trigger t
    WHERE t.tgrelid = :oid AND NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype & 8 <> 0
    UNION ALL SELECT r.rulename FROM pg_rewrite r WHERE r.ev_class = :oid AND r.ev_type = '4' ORDER BY 1""")


def _postgresql(connection: Connection, table: Table) -> LiveTable | None:
    found = connection.execute(_PG_TABLE, {"name": printed(connection, table)}).first()
    if found is None:
        return None
    oid = {"oid": found.oid}
    rights = {"SELECT": found.may_select, "DELETE": found.may_delete, "UPDATE": found.may_lock}
    return LiveTable(
        name=found.name,
        kind=_PG_KINDS.get(found.relkind, "relation of another kind"),
        partitioned=found.relkind == "p" or found.relispartition,
        columns={
            row.attname: LiveColumn(name=row.attname, type=row.type, nullable=row.nullable, labels=tuple(row.labels))
            for row in connection.execute(_PG_COLUMNS, oid)
        },
        indexes=_pg_indexes(connection, found.oid),
        referrers=tuple(
            Referrer(
                table=row.name,
                columns=tuple(row.columns),
                on_delete=_PG_ON_DELETE[row.confdeltype],
                indexes=_pg_indexes(connection, row.conrelid),
            )
            for row in connection.execute(_PG_REFERRERS, oid)
        ),
        references=tuple(
            Reference(table=row.name, columns=tuple(row.columns), referred=tuple(row.referred))
            for row in connection.execute(_PG_REFERENCES, oid)
        ),
        heirs=tuple(connection.execute(_PG_HEIRS, oid).scalars()),
        delete_triggers=tuple(connection.execute(_PG_TRIGGERS, oid).scalars()),
        lacking_rights=tuple(right for right, granted in rights.items() if not granted),
        hides_rows=found.hides,
        analysed=found.analysed,
    )


def _pg_indexes(connection: Connection, oid: int) -> tuple[LiveIndex, ...]:
    return tuple(
        LiveIndex(name=row.name, columns=tuple(row.columns), unique=row.indisunique)
        for row in connection.execute(_PG_INDEXES, {"oid": oid})
    )


# SQLite

_LITE_NAMES = sql("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")
_LITE_TABLE = sql("SELECT name, type, sql FROM sqlite_master WHERE name = :name COLLATE NOCASE AND type <> 'index'")
_LITE_COLUMNS = sql('SELECT name, type, "notnull", pk FROM pragma_table_info(:name) ORDER BY cid')
_LITE_INDEXES = sql('SELECT name, "unique" FROM pragma_index_list(:name) WHERE NOT partial')
_LITE_INDEX = sql("SELECT coalesce(name, '') FROM pragma_index_info(:name) ORDER BY seqno")
_LITE_REFERRERS = sql("""
    SELECT m.name, f.id, f."from" AS referring, f.on_delete
    FROM sqlite_master m, pragma_foreign_key_list(m.name) f
    WHERE m.type = 'table' AND f."table" = :name COLLATE NOCASE ORDER BY m.name, f.id, f.seq""")
# Without a column the key of the other table is meant.
_LITE_REFERENCES = sql("""
    SELECT f.id, coalesce(m.name, f."table") AS name, f."from" AS referring,
           (SELECT c.name FROM pragma_table_info(f."table") c
            WHERE CASE WHEN f."to" IS NULL THEN c.pk = f.seq + 1 ELSE c.name = f."to" COLLATE NOCASE END) AS referred
    FROM pragma_foreign_key_list(:name) f
    LEFT JOIN sqlite_master m ON m.type = 'table' AND m.name = f."table" COLLATE NOCASE ORDER BY f.id, f.seq""")
_LITE_TRIGGERS = sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :name COLLATE NOCASE")


def _sqlite(connection: Connection, table: Table) -> LiveTable | None:
    if table.schema not in {None, "main"}:
        return None
    found = connection.execute(_LITE_TABLE, {"name": table.name}).first()
    if found is None:
        return None
    name = {"name": found.name}
    columns = connection.execute(_LITE_COLUMNS, name).all()
    triggers = connection.execute(_LITE_TRIGGERS, name)
    return LiveTable(
        name=found.name,
        kind="virtual table" if (found.sql or "").upper().startswith("CREATE VIRTUAL") else found.type,
        columns={
            row.name: LiveColumn(name=row.name, type=row.type, nullable=not (row.notnull or row.pk)) for row in columns
        },
        indexes=_lite_indexes(connection, found.name, columns),
        referrers=_lite_referrers(connection, found.name),
        references=_lite_references(connection, found.name),
        delete_triggers=tuple(row.name for row in triggers if _SQLITE_DELETE_TRIGGER.search(row.sql or "")),
    )


def _lite_indexes(connection: Connection, name: str, columns: Any = None) -> tuple[LiveIndex, ...]:
    if columns is None:
        columns = connection.execute(_LITE_COLUMNS, {"name": name}).all()
    key = tuple(row.name for row in sorted(columns, key=lambda row: int(row.pk)) if row.pk)
    indexes = [
        LiveIndex(
            name=row.name,
            columns=tuple(connection.execute(_LITE_INDEX, {"name": row.name}).scalars()),
            unique=bool(row.unique),
        )
        for row in connection.execute(_LITE_INDEXES, {"name": name}).all()
    ]
    # A key that is the row's number has no index of its own: the table is one.
    return (*indexes, LiveIndex(name="primary key", columns=key, unique=True)) if key else tuple(indexes)


def _lite_referrers(connection: Connection, name: str) -> tuple[Referrer, ...]:
    keys: dict[tuple[str, int], tuple[str, list[str]]] = {}
    for row in connection.execute(_LITE_REFERRERS, {"name": name}).all():
        keys.setdefault((row.name, row.id), (row.on_delete, []))[1].append(row.referring)
    return tuple(
        Referrer(
            table=table,
            columns=tuple(columns),
            on_delete=on_delete.lower(),
            indexes=_lite_indexes(connection, table),
        )
        for (table, _), (on_delete, columns) in keys.items()
    )


def _lite_references(connection: Connection, name: str) -> tuple[Reference, ...]:
    keys: dict[int, list[Row[Any]]] = {}
    for row in connection.execute(_LITE_REFERENCES, {"name": name}):
        keys.setdefault(row.id, []).append(row)
    return tuple(
        Reference(
            table=rows[0].name,
            columns=tuple(row.referring for row in rows),
            referred=tuple(row.referred or "" for row in rows),
        )
        for rows in keys.values()
    )
