"""Run history: every run of every job leaves a row in `gengfu_run`."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, Row, func, insert, select, update

from app.core.clock import Clock
from app.core.database import Database
from app.core.own_tables import run

Trigger = Literal["schedule", "manual", "shell"]
State = Literal["running", "succeeded", "failed", "skipped", "interrupted"]

DEAD_AFTER = timedelta(seconds=120)
"""A run without a sign of life for this long is a dead process's."""
_LOOKED_AT = 100
"""Newest runs of a job among which dead ones are looked for: never its whole history."""


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

    def started(self, run_id: str, job: str, origin: Origin) -> int:
        """Record that a run began and return how many dead runs of the job were closed with it (`close_dead`).

        A second delivery of the same message takes over the row of the first.
        """
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
            return _close_dead(connection, job, now)

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

    def heartbeat(self, run_id: str) -> bool:
        """Record that a run is alive; False where it is not there or was closed."""
        now = self._clock.now()
        with self._database.write() as connection:
            return bool(
                connection.execute(
                    update(run).where(run.c.id == run_id, run.c.state == "running").values(heartbeat_at=now)
                ).rowcount
            )

    def close_dead(self, job: str) -> int:
        """Close as interrupted what crashed runs of `job` left behind; return how many.

        A run that was only cut off from the database writes its own end later.
        """
        with self._database.write() as connection:
            return _close_dead(connection, job, self._clock.now())

    def get(self, run_id: str) -> RunRecord | None:
        """Return one run, or None where there is none of this id."""
        with self._database.read() as connection:
            row = connection.execute(select(*_COLUMNS).where(run.c.id == run_id)).one_or_none()
        return None if row is None else _record(row)

    def succeeded_for(self, job: str, due_at: datetime) -> RunRecord | None:
        """Return the run of `job` that did its slot `due_at`, or None where none succeeded."""
        query = select(*_COLUMNS).where(
            run.c.job == job, run.c.slot == due_at, run.c.started_at >= due_at, run.c.state == "succeeded"
        )
        with self._database.read() as connection:
            row = connection.execute(query.limit(1)).one_or_none()
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


def _close_dead(connection: Connection, job: str, now: datetime) -> int:
    newest = select(run.c.id).where(run.c.job == job).order_by(run.c.started_at.desc()).limit(_LOOKED_AT)
    dead = (run.c.id.in_(newest), run.c.state == "running", run.c.heartbeat_at < now - DEAD_AFTER)
    why = f"no sign of life for {DEAD_AFTER.total_seconds():g} s; its process died or was cut off"
    closed = update(run).where(*dead).values(state="interrupted", finished_at=now, error=why)
    return connection.execute(closed).rowcount


def _newest(connection: Connection, job: str, limit: int) -> list[RunRecord]:
    query = select(*_COLUMNS).where(run.c.job == job).order_by(run.c.started_at.desc()).limit(limit)
    return [_record(row) for row in connection.execute(query)]


def _jobs(connection: Connection) -> list[str]:
    """The jobs that ever ran: one look into the index for each, where DISTINCT would read the whole history."""
    known = select(func.min(run.c.job).label("job")).cte("known", recursive=True)
    following = select(func.min(run.c.job)).where(run.c.job > known.c.job).scalar_subquery()
    known = known.union_all(select(following).where(known.c.job.is_not(None)))
    return list(connection.execute(select(known.c.job).where(known.c.job.is_not(None))).scalars())


def _record(row: Row[Any]) -> RunRecord:
    return RunRecord(**dict(row._mapping))  # noqa: SLF001 - SQLAlchemy's public name for it
