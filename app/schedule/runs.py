"""Run history: every run of every job leaves a row in `gengfu_run`."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, Row, select

from app.core.database import Database
from app.core.own_tables import run
from app.schedule.skip_scan import distinct

Trigger = Literal["schedule", "manual", "shell"]
State = Literal["running", "succeeded", "failed", "skipped", "interrupted"]

DEAD_AFTER = timedelta(seconds=120)
"""A run without a sign of life for this long is a dead process's."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Who asked for a run, and how it got here."""

    trigger: Trigger
    slot: datetime | None = None
    """The instant the schedule meant; None for runs by hand."""
    queue: str | None = None
    worker: str | None = None
    queued_at: datetime | None = None
    attempt: int = 1
    run_id: str | None = None
    """Given by who must find the run again (`run NAME --wait`); made here otherwise."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A row of the history; times are UTC, `seconds` is None while the run goes on."""

    id: str
    job: str
    trigger: str
    state: str
    slot: datetime | None
    queue: str | None
    worker: str | None
    attempt: int
    started_at: datetime
    finished_at: datetime | None
    seconds: float | None
    result: dict[str, Any] | None
    error: str | None
    report_path: str | None


_COLUMNS = [run.c[name] for name in RunRecord.__dataclass_fields__]


def new_run_id() -> str:
    """Return a fresh id (32 hex digits)."""
    return uuid.uuid4().hex


class RunHistory:
    """Reads `gengfu_run`. Every method may raise the errors of `Database`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, run_id: str) -> RunRecord | None:
        """Return one run, or None where there is none of this id."""
        with self._database.read() as connection:
            row = connection.execute(select(*_COLUMNS).where(run.c.id == run_id)).one_or_none()
        return None if row is None else _record(row)

    def latest(self) -> dict[str, RunRecord]:
        """Return the newest run of each job that ever ran, by job name."""
        with self._database.read() as connection:
            return {job: record for job in _jobs(connection) for record in _newest(connection, job, 1)}

    def recent(self, *, job: str | None = None, limit: int = 20) -> list[RunRecord]:
        """Return the newest runs, newest first, of one job or of all."""
        with self._database.read() as connection:
            if job is not None:
                return _newest(connection, job, limit)
            found = [record for each in _jobs(connection) for record in _newest(connection, each, limit)]
        return sorted(found, key=lambda record: record.started_at, reverse=True)[:limit]


def _newest(connection: Connection, job: str, limit: int) -> list[RunRecord]:
    query = select(*_COLUMNS).where(run.c.job == job).order_by(run.c.started_at.desc()).limit(limit)
    return [_record(row) for row in connection.execute(query)]


def _jobs(connection: Connection) -> list[str]:
    """The jobs that ever ran."""
    jobs = distinct(run.c.job)
    return list(connection.execute(select(jobs.c.value).where(jobs.c.value.is_not(None))).scalars())


def _record(row: Row[Any]) -> RunRecord:
    return RunRecord(**dict(row._mapping))  # noqa: SLF001 - SQLAlchemy's public name for it
