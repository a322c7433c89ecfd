"""How others delete expired rows: the database's own words for it, and the shapes of two well-known programs."""

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from sample import EXPIRED, bound, connected, cpu_s, spent
from sqlalchemy import Connection, text

CHUNK = 10_000
_CHILDREN = f"task_id IN (SELECT id FROM tasks WHERE {EXPIRED})"

Step = tuple[float, int]
"""Seconds and rows of one transaction."""


def one_delete(connection: Connection, values: Mapping[str, Any]) -> Iterator[int]:
    """One DELETE per table, children first, in one transaction: no program can be much faster."""
    with connection.begin():
        connection.execute(text(f"DELETE FROM delivery_receipts WHERE {_CHILDREN}"), values)
        yield connection.execute(text(f"DELETE FROM tasks WHERE {EXPIRED}"), values).rowcount


def sentry(connection: Connection, values: Mapping[str, Any]) -> Iterator[int]:
    """The first 10,000 that match, until none does, each in a transaction (`sentry cleanup`, BulkDeleteQuery)."""
    for table, condition in (("delivery_receipts", _CHILDREN), ("tasks", EXPIRED)):
        chosen = f"SELECT id FROM {table} WHERE {condition} LIMIT {CHUNK}"
        among = f"IN ({chosen})" if connection.dialect.name == "sqlite" else f"= ANY(ARRAY({chosen}))"
        statement = text(f"DELETE FROM {table} WHERE id {among}")
        while deleted := _committed(connection, statement, values):
            yield deleted if table == "tasks" else 0


def airflow(connection: Connection, values: Mapping[str, Any]) -> Iterator[int]:
    """What goes is copied into a table of its own, then deleted by it (`airflow db clean`)."""
    for table, condition in (("delivery_receipts", _CHILDREN), ("tasks", EXPIRED)):
        deleted = _archived(connection, values, f"_airflow_deleted__{table}", table, condition)
        yield deleted if table == "tasks" else 0


def airflow_batches(connection: Connection, values: Mapping[str, Any]) -> Iterator[int]:
    """The same in batches of 10,000, each with an archive table of its own (`airflow db clean --batch-size`)."""
    for table, condition in (("delivery_receipts", _CHILDREN), ("tasks", EXPIRED)):
        deleted, number = CHUNK, 0
        while deleted == CHUNK:
            name, number = f"_airflow_deleted__{table}__{number}", number + 1
            deleted = _archived(connection, values, name, table, f"{condition} LIMIT {CHUNK}")
            yield deleted if table == "tasks" else 0


PEERS: Mapping[str, Callable[[Connection, Mapping[str, Any]], Iterator[int]]] = {
    "limit": one_delete,
    "sentry": sentry,
    "airflow": airflow,
    "airflow-batches": airflow_batches,
}


def delete_as(peer: str, url: str, cutoffs: Mapping[str, datetime]) -> dict[str, Any]:
    """Delete in a peer's shape; returns began (monotonic), seconds, rows and steps (seconds and rows of each)."""
    steps: list[Step] = []
    with connected(url) as connection:
        values = bound(cutoffs, connection)
        cpu_before = cpu_s(connection)
        connection.rollback()
        began = last = time.monotonic()
        for rows in PEERS[peer](connection, values):
            now = time.monotonic()
            if rows:
                steps.append((now - last, rows))
            last = now
        seconds = time.monotonic() - began
        cpu_after = cpu_s(connection)
    return {
        "began": began,
        "seconds": seconds,
        "rows": sum(rows for _, rows in steps),
        "steps": steps,
        "work_cpu_s": spent(cpu_before, cpu_after),
    }


def _committed(connection: Connection, statement: Any, values: Mapping[str, Any]) -> int:
    with connection.begin():
        return connection.execute(statement, values).rowcount


def _archived(connection: Connection, values: Mapping[str, Any], archive: str, table: str, condition: str) -> int:
    with connection.begin():
        connection.execute(text(f"CREATE TABLE {archive} AS SELECT * FROM {table} WHERE {condition}"), values)
        gone = f"EXISTS (SELECT 1 FROM {archive} a WHERE a.id = {table}.id)"
        if connection.dialect.name == "sqlite":
            gone = f"id IN (SELECT id FROM {archive})"
        return connection.execute(text(f"DELETE FROM {table} WHERE {gone}")).rowcount
