"""What a deletion gave back inside the database, and the step that makes use of it."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Table, text

from app.core.database import Database

_MIB = 1 << 20
_WORTH_TELLING = 64 * _MIB
_SHARE = 0.2
_TABLE = text(
    "SELECT pg_total_relation_size(c.oid), s.n_live_tup, s.n_dead_tup, pg_relation_size(c.oid), c.reltuples "
    "FROM pg_class c JOIN pg_stat_user_tables s ON s.relid = c.oid WHERE c.oid = to_regclass(:name)"
)


def space(database: Database, tables: Iterable[Table], deleted: dict[str, int]) -> dict[str, Any]:
    """Return `reusable_bytes` (None: not known), `estimated`, a line of `advice` with its SQL, and `tables`.

    On SQLite exact, from the list of free pages. On PostgreSQL an estimate by table: the share of its rows that went or
    is dead. `deleted` says how many rows this run deleted of each table.
    """
    with database.read() as connection:
        if database.dialect == "sqlite":
            return _sqlite(connection)
        return _postgresql(connection, {table.fullname: _quoted(table) for table in tables}, deleted)


def _sqlite(connection: Connection) -> dict[str, Any]:
    free, size, pages, auto_vacuum = (
        int(connection.execute(text(f"PRAGMA {name}")).scalar_one())
        for name in ("freelist_count", "page_size", "page_count", "auto_vacuum")
    )
    reusable = free * size
    advice = None
    if reusable >= _WORTH_TELLING and free >= _SHARE * pages:
        incremental = 2
        step = f"PRAGMA incremental_vacuum({free})" if auto_vacuum == incremental else "VACUUM"
        advice = f"new rows use the free {reusable // _MIB:,} MiB again; to give them back to the disk: {step}"
    return {"reusable_bytes": reusable, "estimated": False, "advice": advice, "tables": []}


def _postgresql(connection: Connection, names: dict[str, str], deleted: dict[str, int]) -> dict[str, Any]:
    told = [
        figures
        for name, quoted in names.items()
        if (figures := _table(connection, name, quoted, deleted.get(name, 0))) is not None
    ]
    worth = [table for table in told if table["reusable_bytes"] >= _WORTH_TELLING and table["share"] >= _SHARE]
    return {
        "reusable_bytes": sum(table["reusable_bytes"] for table in told) if told else None,
        "estimated": True,
        "advice": _advice([table["sql_name"] for table in worth]) if worth else None,
        "tables": [{key: table[key] for key in ("table", "bytes", "reusable_bytes")} for table in told],
    }


def _table(connection: Connection, name: str, quoted: str, deleted: int) -> dict[str, Any] | None:
    """Statistics come late: what we deleted a moment ago need not be counted as dead yet."""
    row = connection.execute(_TABLE, {"name": quoted}).first()
    if row is None:
        return None
    total, live, dead, _heap, estimate = row
    gone = max(dead, deleted)
    rows = max(live, estimate, 0) if dead >= deleted else max(live - deleted, 0)
    share = gone / (gone + rows) if gone else 0.0
    return {"table": name, "sql_name": quoted, "bytes": total, "reusable_bytes": int(total * share), "share": share}


def _advice(names: list[str]) -> str:
    listed = ", ".join(names)
    return (
        f"autovacuum makes the room reusable; to have it now: VACUUM (ANALYZE) {listed}. To give it back to the disk: "
        f"VACUUM (FULL) {listed}, which locks the table, or pg_repack. A table that loses this much every time does "
        "better partitioned by its finish time: dropping a partition takes no time "
        "(CREATE TABLE ... PARTITION BY RANGE (finish time))"
    )


def _quoted(table: Table) -> str:
    parts = [table.schema, table.name] if table.schema else [table.name]
    return ".".join(f'"{part.replace(chr(34), chr(34) * 2)}"' for part in parts)
