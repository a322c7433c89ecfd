"""The steps that write `gengfu_run`. Each goes on a connection of the caller: it is part of a run's transaction."""

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Executable, bindparam, select, update

from app.core.own_tables import run
from app.core.upsert import insert_into
from app.schedule.runs import DEAD_AFTER, Origin, State

_LOOKED_AT = 100
"""Newest runs of a job among which dead ones are looked for: never its whole history."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """A run of `job` that begins at the instant `at`."""

    job: str
    run_id: str
    origin: Origin
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a run ended; `seconds` is its duration."""

    state: State
    seconds: float
    result: dict[str, Any] | None = None
    error: str | None = None
    report_path: str | None = None


# Statements are built once: SQLAlchemy takes ten times as long to build one as to run it.
@cache
def _starting(dialect: str) -> Executable:
    inserted = insert_into(run, dialect)
    values = {name: inserted.excluded[name] for name in _STARTED}
    statement: Executable = inserted.on_conflict_do_update(index_elements=["id"], set_=values)
    return statement


_STARTED = (
    *("job", "slot", "trigger", "attempt", "queue", "worker", "queued_at"),
    *("started_at", "heartbeat_at", "finished_at", "state"),
)
_CHANGE = update(run).where(run.c.id == bindparam("of_id"))
_CHANGE_RUNNING = _CHANGE.where(run.c.state == "running")
_NEWEST = select(run.c.id).where(run.c.job == bindparam("of_job")).order_by(run.c.started_at.desc()).limit(_LOOKED_AT)
_CLOSE_DEAD = update(run).where(
    run.c.id.in_(_NEWEST), run.c.state == "running", run.c.heartbeat_at < bindparam("last_sign")
)


def started(connection: Connection, start: Start) -> None:
    """Record that a run began. A second delivery of the same message takes over the row of the first."""
    origin = start.origin
    values = {
        "id": start.run_id,
        "job": start.job,
        "slot": origin.slot,
        "trigger": origin.trigger,
        "attempt": origin.attempt,
        "queue": origin.queue,
        "worker": origin.worker,
        "queued_at": origin.queued_at,
        "started_at": start.at,
        "heartbeat_at": start.at,
        "finished_at": None,
        "state": "running",
    }
    connection.execute(_starting(connection.dialect.name), values)


def finished(connection: Connection, run_id: str, ending: Ending, now: datetime) -> None:
    """Record how a run ended."""
    values = {
        "of_id": run_id,
        "state": ending.state,
        "finished_at": now,
        "heartbeat_at": now,
        "seconds": round(ending.seconds, 3),
        "result": ending.result,
        "error": ending.error,
        "report_path": ending.report_path,
    }
    connection.execute(_CHANGE, values)


def heartbeat(connection: Connection, run_id: str, now: datetime) -> bool:
    """Record that a run is alive; False where it is not there or was closed."""
    return bool(connection.execute(_CHANGE_RUNNING, {"of_id": run_id, "heartbeat_at": now}).rowcount)


def close_dead(connection: Connection, job: str, now: datetime) -> int:
    """Close as interrupted what crashed runs of `job` left behind; return how many.

    A run that was only cut off from the database writes its own end later.
    """
    why = f"no sign of life for {DEAD_AFTER.total_seconds():g} s; its process died or was cut off"
    dead = {"of_job": job, "last_sign": now - DEAD_AFTER}
    return connection.execute(_CLOSE_DEAD, dead | _interrupted(why, now)).rowcount


def close_orphan(connection: Connection, run_id: str, now: datetime) -> int:
    """Close as interrupted a run whose process no longer lives; return 1, or 0 where its end stands there."""
    why = "its process died"
    return connection.execute(_CHANGE_RUNNING, {"of_id": run_id} | _interrupted(why, now)).rowcount


def succeeded(connection: Connection, run_id: str) -> bool:
    """Tell whether this very run came to a good end before."""
    found = select(run.c.id).where(run.c.id == run_id, run.c.state == "succeeded")
    return connection.execute(found).first() is not None


def succeeded_for(connection: Connection, job: str, due_at: datetime) -> str | None:
    """Return the run of `job` that did its slot `due_at`, or None where none succeeded."""
    found = select(run.c.id).where(
        run.c.job == job, run.c.slot == due_at, run.c.started_at >= due_at, run.c.state == "succeeded"
    )
    run_id: str | None = connection.execute(found.limit(1)).scalar_one_or_none()
    return run_id


def _interrupted(why: str, now: datetime) -> dict[str, Any]:
    return {"state": "interrupted", "finished_at": now, "error": why}
