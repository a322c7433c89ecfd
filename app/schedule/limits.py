"""Limits of runs: missed, too long, too short, too often, and nobody there to send; as facts for the alert rules."""

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select

from app.core.database import Database
from app.core.own_tables import run, slot
from app.schedule.leadership import BEAT
from app.schedule.leases import LeaseHolder, holder
from app.schedule.skip_scan import distinct

WINDOW = timedelta(days=1)
LOOKED_AT = 20
"""Runs that say how long a job takes: few enough to follow a change, enough for a p95."""
BEAT_DOWN_AFTER = timedelta(seconds=60)
_SHORTEST_START_GRACE = timedelta(seconds=60)
_START_SHARE = 0.05
_SHORTEST_RUN_GRACE_S = 600.0
_RUN_FACTOR = 3.0
_WAITING = frozenset({"planned", "sent"})


@dataclass(frozen=True, kw_only=True)
class SeenSlot:
    """A slot of the last day or ahead."""

    job: str
    due_at: datetime
    state: str
    attempt: int


@dataclass(frozen=True, kw_only=True)
class SeenRun:
    """A run of a job; `seconds` is None while it goes on."""

    job: str
    state: str
    trigger: str
    started_at: datetime
    seconds: float | None


def start_grace(interval: timedelta) -> timedelta:
    """Return how late a slot of a job with this interval may start: 5 % of it, at least a minute."""
    return max(_SHORTEST_START_GRACE, interval * _START_SHARE)


def run_grace_s(seconds: Sequence[float]) -> float:
    """Return how long a run may take after runs of these `seconds`: three times their p95, at least ten minutes."""
    if not seconds:
        return _SHORTEST_RUN_GRACE_S
    ranked = sorted(seconds)
    p95 = ranked[math.ceil(0.95 * len(ranked)) - 1]  # nearest rank
    return max(_SHORTEST_RUN_GRACE_S, _RUN_FACTOR * p95)


def missed_slots(slots: Sequence[SeenSlot], now: datetime) -> list[dict[str, Any]]:
    """Return `ScheduleMissed` of each job with slots of the last day that were closed as missed or wait too long.

    A slot that was tried before is at work, not missed. `slots` are of any jobs, also ones ahead: two neighbours tell
    the interval.
    """
    facts = []
    for job, own in _by_job(slots).items():
        latest_start = now - start_grace(_interval(own))
        missed = [
            each.due_at
            for each in own
            if each.state == "missed" or (each.state in _WAITING and each.attempt == 0 and each.due_at < latest_start)
        ]
        if missed:
            facts.append({"fact": "ScheduleMissed", "job": job, "count": len(missed), "slot": max(missed).isoformat()})
    return facts


def run_too_long(job: str, runs: Sequence[SeenRun], now: datetime) -> dict[str, Any] | None:
    """Return `RunTooLong` where the newest of `runs` (newest first) takes or took longer than those before allow."""
    if not runs:
        return None
    newest, *earlier = runs
    usual = [each.seconds for each in earlier if each.state == "succeeded" and each.seconds is not None][:LOOKED_AT]
    seconds = (now - newest.started_at).total_seconds() if newest.seconds is None else newest.seconds
    allowed = run_grace_s(usual)
    if newest.state == "interrupted" or seconds <= allowed:
        return None
    return {"fact": "RunTooLong", "job": job, "seconds": round(seconds, 1), "allowed_s": round(allowed, 1)}


def run_too_short(job: str, runs: Sequence[SeenRun], minimum_s: float) -> dict[str, Any] | None:
    """Return `RunTooShort` where the newest run succeeded in less than `minimum_s`: it can't have done its work."""
    newest = next((each for each in runs if each.state == "succeeded" and each.seconds is not None), None)
    if newest is None or newest.seconds is None or newest.seconds >= minimum_s:
        return None
    return {"fact": "RunTooShort", "job": job, "seconds": newest.seconds, "minimum_s": minimum_s}


def run_too_often(job: str, runs: Sequence[SeenRun], expected: int) -> dict[str, Any] | None:
    """Return `RunTooOften` where more than 1.5 x `expected` runs succeeded; one more than expected is a person's.

    Runs from a shell, skipped ones and failures, which are tried again, don't count.
    """
    count = sum(each.state == "succeeded" and each.trigger != "shell" for each in runs)
    if not expected or count <= max(1.5 * expected, expected + 1):
        return None
    return {"fact": "RunTooOften", "job": job, "runs": count, "expected": expected}


def beat_down(leader: LeaseHolder | None, now: datetime) -> dict[str, Any] | None:
    """Return `BeatDown` where beats led here before and none has led for a minute."""
    if leader is None or now - leader.until <= BEAT_DOWN_AFTER:
        return None
    since = leader.until
    return {"fact": "BeatDown", "seconds": round((now - since).total_seconds(), 1), "since": since.isoformat()}


def schedule_facts(database: Database, now: datetime, minimum_s: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return every limit that is broken now: plain dicts with `fact` and its figures; none where all is well.

    `minimum_s` names the jobs that have a minimum duration. Raises the errors of `Database`.
    """
    with database.read() as connection:
        leader, slots = holder(connection, BEAT), _slots(connection, now)
        runs_of = _runs(connection, {each.job for each in slots}, now)
    facts: list[dict[str, Any] | None] = [beat_down(leader, now)]
    facts += missed_slots(slots, now)
    for job, own in _by_job(slots).items():
        expected = sum(each.due_at <= now for each in own)
        runs = runs_of.get(job, [])
        today = [each for each in runs if each.started_at > now - WINDOW]
        facts += [run_too_often(job, today, expected)]
        if today:  # what was too long last week was told last week
            facts += [run_too_long(job, runs, now), run_too_short(job, today, minimum_s.get(job, 0.0))]
    return [fact for fact in facts if fact is not None]


def ended_runs(database: Database, now: datetime) -> list[dict[str, Any]]:
    """Return of each job with runs in the last day how many `succeeded` and how many `failed`.

    Skipped and interrupted ones are neither. Raises the errors of `Database`.
    """
    found: dict[str, dict[str, Any]] = {}
    with database.read() as connection:
        jobs = connection.execute(_JOBS).scalars().all()
        for job, state, number in connection.execute(_ENDED, {"jobs": jobs, "after": now - WINDOW}):
            found.setdefault(job, {"job": job, "succeeded": 0, "failed": 0})[state] = number
    return [found[job] for job in sorted(found)]


def _by_job(slots: Sequence[SeenSlot]) -> dict[str, list[SeenSlot]]:
    jobs: defaultdict[str, list[SeenSlot]] = defaultdict(list)
    for each in sorted(slots, key=lambda each: each.due_at):
        jobs[each.job].append(each)
    return dict(jobs)


def _interval(slots: Sequence[SeenSlot]) -> timedelta:
    """The shortest distance of neighbours; nothing where there is but one."""
    return min((later.due_at - earlier.due_at for earlier, later in pairwise(slots)), default=timedelta())


def _slots(connection: Connection, now: datetime) -> list[SeenSlot]:
    rows = connection.execute(_SLOTS, {"after": now - WINDOW})
    return [SeenSlot(**dict(row._mapping)) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name for it


def _runs(connection: Connection, jobs: Collection[str], now: datetime) -> dict[str, list[SeenRun]]:
    """Return the runs of the last day of each job that had any, newest first; skipped ones say nothing.

    Where they are too few to tell how long it takes, older ones follow.
    """
    runs: dict[str, list[SeenRun]] = {}
    for seen in map(_run, connection.execute(_TODAY, {"jobs": list(jobs), "after": now - WINDOW})):
        runs.setdefault(seen.job, []).append(seen)
    few = [job for job, own in runs.items() if len(own) <= LOOKED_AT]
    return runs | {job: [_run(row) for row in connection.execute(_NEWEST, {"of_job": job})] for job in few}


def _run(row: Row[Any]) -> SeenRun:
    return SeenRun(**dict(row._mapping))  # noqa: SLF001 - SQLAlchemy's public name for it


_STATES = ("planned", "sent", "running", "succeeded", "failed", "skipped", "missed", "interrupted")
"""All of them: the index begins with the state."""
_SLOTS = select(*(slot.c[name] for name in SeenSlot.__dataclass_fields__)).where(
    slot.c.state.in_(_STATES), slot.c.due_at > bindparam("after")
)
_RUNS = (
    select(*(run.c[name] for name in SeenRun.__dataclass_fields__))
    .where(run.c.state != "skipped")
    .order_by(run.c.started_at.desc())
)
_TODAY = _RUNS.where(run.c.job.in_(bindparam("jobs", expanding=True)), run.c.started_at > bindparam("after"))
_NEWEST = _RUNS.where(run.c.job == bindparam("of_job")).limit(LOOKED_AT + 1)
_EVER_RUN = distinct(run.c.job)
_JOBS = select(_EVER_RUN.c.value).where(_EVER_RUN.c.value.is_not(None))
"""Runs are found by job and time: by time alone there is no index."""
_ENDED = (
    select(run.c.job, run.c.state, func.count())
    .where(run.c.job.in_(bindparam("jobs", expanding=True)), run.c.started_at > bindparam("after"))
    .where(run.c.state.in_(("succeeded", "failed")))
    .group_by(run.c.job, run.c.state)
)
