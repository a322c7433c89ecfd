"""Run history: every run of every job leaves a row in `gengfu_run`."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Row, func, insert, select, update

from app.core.clock import Clock
from app.core.database import Database
from app.core.own_tables import run

Trigger = Literal["schedule", "manual", "shell"]
State = Literal["running", "succeeded", "failed", "skipped", "interrupted"]


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
    """Writes and reads `gengfu_run`. Every method may raise the errors of `Database`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def started(self, run_id: str, job: str, origin: Origin) -> None:
        """Record that a run began. A second delivery of the same message takes over the row of the first."""
        now = self._clock.now()
        values = {
            "job": job,
            "slot": origin.slot,
            "trigger": origin.trigger,
            "attempt": origin.attempt,
            "queue": origin.queue,
            "worker": origin.worker,
            "queued_at": origin.queued_at,
            "started_at": now,
            "heartbeat_at": now,
            "finished_at": None,
            "state": "running",
        }
        with self._database.write() as connection:
            again = connection.execute(update(run).where(run.c.id == run_id).values(values))
            if not again.rowcount:
                connection.execute(insert(run).values(id=run_id, **values))

    def finished(
        self,
        run_id: str,
        state: State,
        *,
        seconds: float,
        result: dict[str, Any],
        error: str | None,
        report_path: str | None,
    ) -> None:
        """Record how a run ended; `seconds` is its duration."""
        now = self._clock.now()
        with self._database.write() as connection:
            connection.execute(
                update(run)
                .where(run.c.id == run_id)
                .values(
                    state=state,
                    finished_at=now,
                    heartbeat_at=now,
                    seconds=round(seconds, 3),
                    result=result,
                    error=error,
                    report_path=report_path,
                )
            )

    def get(self, run_id: str) -> RunRecord | None:
        """Return one run, or None where there is none of this id."""
        with self._database.read() as connection:
            row = connection.execute(select(*_COLUMNS).where(run.c.id == run_id)).one_or_none()
        return None if row is None else _record(row)

    def latest(self) -> dict[str, RunRecord]:
        """Return the newest run of each job that ever ran, by job name."""
        newest = select(run.c.job, func.max(run.c.started_at).label("at")).group_by(run.c.job).subquery()
        with self._database.read() as connection:
            rows = connection.execute(
                select(*_COLUMNS).join(newest, (run.c.job == newest.c.job) & (run.c.started_at == newest.c.at))
            ).all()
        return {row.job: _record(row) for row in rows}

    def recent(self, *, job: str | None = None, limit: int = 20) -> list[RunRecord]:
        """Return the newest runs, newest first, of one job or of all."""
        query = select(*_COLUMNS).order_by(run.c.started_at.desc()).limit(limit)
        if job is not None:
            query = query.where(run.c.job == job)
        with self._database.read() as connection:
            return [_record(row) for row in connection.execute(query)]


def _record(row: Row[Any]) -> RunRecord:
    return RunRecord(**dict(row._mapping))  # noqa: SLF001 - SQLAlchemy's public name for it
