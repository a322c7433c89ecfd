"""The application beside a deletion: a process that reads and updates single rows and measures how long it waits.

One operation every ten milliseconds, in turn: update a row that is to be deleted, update any row, read any row. A wait
counts from the instant at which the operation was due: one that blocks for seconds makes those behind it late, as it
would in an application.
"""

import json
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any

from sample import EXPIRED, bound, connected
from sqlalchemy import create_engine, make_url, text

_EVERY_S = 0.01
_DOOMED = 20_000
_UPDATE = "UPDATE tasks SET updated_at = {now}, retry_count = retry_count + 1 WHERE id = {mark}"
_READ = "SELECT status, retry_count FROM tasks WHERE id = {mark}"


@dataclass(frozen=True, kw_only=True)
class Waits:
    """How long the updates of a client took, in milliseconds."""

    updates: int
    p50: float
    p99: float
    longest: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Waits":
        """Return the figures of some operations; zeros where there were none."""
        ordered = sorted(seconds) or [0.0]
        p50, p99 = (ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.99))
        return cls(updates=len(seconds), p50=p50 * 1e3, p99=p99 * 1e3, longest=ordered[-1] * 1e3)

    def __str__(self) -> str:
        return f"{self.p50:.1f} / {self.p99:.1f} / {self.longest:,.1f}"


@dataclass(kw_only=True)
class Client:
    """The client as its starter sees it; its operations are there once the block of `oltp_client` was left."""

    operations: list[tuple[str, float, float]] = field(default_factory=list)
    """(doomed | any | read, monotonic instant at which it was due, seconds)."""

    def waits(self, began: float, seconds: float) -> Waits:
        """Return the waits of the updates that were due in a span of monotonic time."""
        return Waits.of([s for kind, due, s in self.operations if kind != "read" and began <= due <= began + seconds])


@contextmanager
def oltp_client(url: str, rows: int, cutoffs: dict[str, datetime]) -> Iterator[Client]:
    """Run a client during a block, in a process of its own; it is at work when the block begins."""
    client = Client()
    line = [sys.executable, str(Path(__file__)), url, str(rows)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None  # noqa: S101 - asked for above
        assert process.stdout is not None  # noqa: S101
        try:
            json.dump({name: at.isoformat() for name, at in cutoffs.items()}, process.stdin)
            process.stdin.write("\n")
            process.stdin.flush()
            process.stdout.readline()  # it is ready
            yield client
        finally:
            told, _ = process.communicate()
    client.operations = [tuple(operation) for operation in json.loads(told or "[]")]


def main() -> None:
    url, rows = sys.argv[1], int(sys.argv[2])
    cutoffs = {name: datetime.fromisoformat(at) for name, at in json.loads(sys.stdin.readline()).items()}
    doomed = _doomed(url, cutoffs)
    ended = Event()
    Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    with _operations(url) as operate:
        operate("read", 1)
        print("ready", flush=True)
        operations = list(_work(operate, doomed, rows, ended))
    print(json.dumps(operations))


def _work(
    operate: Callable[[str, int], None], doomed: list[int], rows: int, ended: Event
) -> Iterator[tuple[str, float, float]]:
    chosen = random.Random(7)
    due = time.monotonic()
    number = 0
    while not ended.is_set():
        kind = ("doomed", "any", "read")[number % 3]
        key = chosen.choice(doomed) if kind == "doomed" and doomed else chosen.randint(1, rows)
        operate(kind, key)
        yield kind, due, time.monotonic() - due
        number += 1
        due += _EVERY_S
        time.sleep(max(0.0, due - time.monotonic()))


def _doomed(url: str, cutoffs: dict[str, datetime]) -> list[int]:
    """Return some rows that are to go, from everywhere in the table."""
    with connected(url) as connection:
        values = bound(cutoffs, connection)
        found = connection.execute(text(f"SELECT count(*) FROM tasks WHERE {EXPIRED}"), values).scalar_one()
        some = text(f"SELECT id FROM tasks WHERE {EXPIRED} AND id % :step = 0")
        return list(connection.execute(some, {**values, "step": max(1, found // _DOOMED)}).scalars())


@contextmanager
def _operations(url: str) -> Iterator[Callable[[str, int], None]]:
    """Straight on the driver: what is measured is the wait, not a library."""
    address = make_url(url)
    if address.get_backend_name() == "sqlite":
        with closing(sqlite3.connect(str(address.database), isolation_level=None, timeout=60)) as sqlite:
            sqlite.execute("PRAGMA synchronous = FULL")
            yield _operating(sqlite.cursor(), "?", "strftime('%Y-%m-%d %H:%M:%S.000000', 'now')")
        return
    engine = create_engine(address.set(drivername="postgresql+psycopg2"))
    driver: Any = engine.raw_connection()
    driver.dbapi_connection.autocommit = True
    with closing(driver), driver.cursor() as cursor:
        yield _operating(cursor, "%s", "now()")


def _operating(cursor: Any, mark: str, now: str) -> Callable[[str, int], None]:
    update, read = _UPDATE.format(now=now, mark=mark), _READ.format(mark=mark)

    def operate(kind: str, key: int) -> None:
        cursor.execute(read if kind == "read" else update, (key,))
        if kind == "read":
            cursor.fetchall()

    return operate


if __name__ == "__main__":
    main()
