"""The sample application's rows, built once for a benchmark; every contestant then gets a copy of its own."""

import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psutil
from databases import Stand
from measure import Progress
from multiply import multiply
from sqlalchemy import Connection, create_engine, event, make_url, select, text

from app.core.clock import SystemClock
from app.core.database import Database, DatabaseSettings
from app.core.migrate import upgrade
from app.core.utc_datetime import to_sqlite_text
from app.demo.create import ROOT_NAMES, DemoSummary, create_demo
from app.retention.roots import init_roots

ZONE = "Asia/Shanghai"
EXPIRED = """(status = 'completed' AND completed_at < :completed OR status = 'failed' AND completed_at < :failed)
    AND completed_at >= :earliest AND completed_at >= created_at"""
"""The condition of a row that the default rules delete; for its values see `Sample.cutoffs`."""
FEWEST = 1_000
"""Below so many rows only the fixed costs show."""
MOST_WRITTEN = 1_000_000
"""Rows that are written one by one; more are multiples of them, made by the database."""
_BYTES_A_TASK = 2_500  # on disk, for the base, one copy and the log of its deletion


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Rows in a stand's base, and the empty marked folders that they name files in."""

    stand: Stand
    folder: Path
    now: datetime
    tasks: int
    expired: int

    @property
    def folders(self) -> Mapping[str, Path]:
        """The roots, our log folder included."""
        return _folders(self.folder)

    @property
    def cutoffs(self) -> dict[str, datetime]:
        """Values for `EXPIRED`."""
        return {
            "completed": self.now - timedelta(days=30),
            "failed": self.now - timedelta(days=7),
            "earliest": datetime(1990, 1, 1, tzinfo=UTC),
        }

    def doubts(self) -> Iterator[str]:
        """Yield what about the rows makes figures meaningless."""
        if self.tasks < FEWEST:
            yield f"{self.tasks:,} tasks are too few: below {FEWEST:,} only the fixed costs show"
        if self.expired < FEWEST:
            yield f"only {self.expired:,} rows have expired: below {FEWEST:,} only the fixed costs show"
        yield from self.stand.doubts()

    @contextmanager
    def copied(self) -> Iterator[str]:
        """Yield the URL of a fresh copy."""
        url = self.stand.copy("copy")
        try:
            yield url
        finally:
            self.stand.drop("copy")


def require_room(tasks: int, folder: Path) -> None:
    """Raise SystemExit where the disk is too small for so many tasks."""
    needed, free = tasks * _BYTES_A_TASK, shutil.disk_usage(folder).free
    if needed > free:
        sys.exit(
            f"{tasks:,} tasks need some {needed / 1e9:.1f} GB below {folder}, {free / 1e9:.1f} GB are free; "
            "name a smaller N or set TMPDIR"
        )


def build_sample(stand: Stand, folder: Path, tasks: int, seed: int, progress: Progress) -> Sample:
    """Fill the stand's base with `tasks` tasks and their receipts; files are named, not written.

    Above a million it is the nearest multiple of a million.
    """
    progress.say(f"building {tasks:,} tasks")
    now = datetime.now(UTC).replace(microsecond=0)
    database = Database(stand.base, DatabaseSettings(deadline_s=7200))
    try:
        upgrade(database)
        for root in _folders(folder).values():
            root.mkdir(parents=True, exist_ok=True)
        times = max(1, round(tasks / MOST_WRITTEN))
        summary = _created(database, folder, tasks if times == 1 else MOST_WRITTEN, seed, now, progress)
        if times > 1:
            progress.say(f"making {times} of each of {summary.tasks:,} tasks")
            with database.write(deadline_s=7200) as connection:
                multiply(connection, times)
        init_roots(database, _folders(folder), SystemClock())
    finally:
        database.dispose()
    stand.settle()
    return Sample(
        stand=stand, folder=folder, now=now, tasks=summary.tasks * times, expired=summary.expired_tasks * times
    )


@contextmanager
def opened(url: str) -> Iterator[Database]:
    """The database as ours opens it, connected before anything is measured."""
    database = Database(url, DatabaseSettings(deadline_s=7200, statement_timeout_s=3600))
    with database.read() as connection:
        connection.execute(select(1))
    try:
        yield database
    finally:
        database.dispose()


def cpu_s(connection: Connection) -> float | None:
    """Return the processor time (seconds) that this process and the server's processes for it have spent so far.

    None where it can't be known: a server on another machine doesn't tell.
    """
    if connection.dialect.name == "sqlite":
        return time.process_time()
    if connection.execute(text("SELECT inet_server_addr()")).scalar_one():
        return None
    ours = text("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'gengfu'")
    pids = connection.execute(ours).scalars().all() or [
        connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    ]
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return time.process_time() + sum(spent.user + spent.system for spent in times)


def spent(before: float | None, after: float | None) -> float | None:
    """Return the processor time between two answers of `cpu_s`."""
    return None if before is None or after is None else after - before


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """A connection of a contestant that is not ours, as durable as ours."""
    address = make_url(url)
    if address.get_backend_name() == "postgresql":
        address = address.set(drivername="postgresql+psycopg2")
    engine = create_engine(address)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _as_durable_as_ours)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def bound(values: Mapping[str, datetime], connection: Connection) -> dict[str, Any]:
    """Return instants as the database stores them."""
    if connection.dialect.name == "sqlite":
        return {name: to_sqlite_text(value) for name, value in values.items()}
    return dict(values)


def _created(database: Database, folder: Path, tasks: int, seed: int, now: datetime, progress: Progress) -> DemoSummary:
    return create_demo(
        database,
        {},
        _folders(folder)["logs"],
        tasks=tasks,
        seed=seed,
        now=now,
        zone=ZoneInfo(ZONE),
        on_progress=lambda done: progress.update(f"building: {done:,} of {tasks:,} tasks"),
        files=False,
    )


def _folders(folder: Path) -> dict[str, Path]:
    return {name: folder / "roots" / name for name in (*ROOT_NAMES, "logs")}


def _as_durable_as_ours(driver: Any, _record: Any) -> None:
    driver.execute("PRAGMA synchronous = FULL")
    driver.execute("PRAGMA foreign_keys = ON")
