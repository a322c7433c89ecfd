"""Read-only summaries for the command line and, later, the dashboard."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from app.schedule.beat_lock import TICK_LIMIT_S, beat_lock_path
from app.schedule.cron import in_words, next_due
from app.schedule.job_spec import JobSpec
from app.schedule.runs import RunRecord
from app.service.process_lock import LockHolder, ProcessLock


@dataclass(frozen=True, kw_only=True)
class BeatStatus:
    """Whether beat's scheduling thread is at work. `tick_age_s` is the age of its last sign of life in seconds."""

    state: Literal["running", "stale", "stopped"]
    pid: int | None = None
    host: str | None = None
    since: datetime | None = None
    tick_age_s: float | None = None
    holder: LockHolder | None = None


@dataclass(frozen=True, kw_only=True)
class WorkerStatus:
    """A worker of this machine that is ready for work."""

    name: str
    pid: int
    since: datetime
    queues: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class JobLine:
    """A job as `status` and `list` show it."""

    name: str
    task: str
    cron: str | None
    words: str
    next_run: datetime | None
    queue: str
    priority: int
    state: Literal["on", "off", "by hand"]
    last: RunRecord | None
    lateness_s: float | None
    """Seconds from the slot to the start of its last run."""


def beat_status(var: Path, now: datetime) -> BeatStatus:
    """Return what the beat of this home says of itself; needs neither broker nor database."""
    holder = ProcessLock.read(beat_lock_path(var))
    if holder is None:
        return BeatStatus(state="stopped")
    age = _age(holder.facts.get("last_tick"), now)
    state: Literal["running", "stale"] = "running" if age is not None and age <= TICK_LIMIT_S else "stale"
    return BeatStatus(state=state, pid=holder.pid, host=holder.host, since=holder.since, tick_age_s=age, holder=holder)


def worker_statuses(var: Path) -> list[WorkerStatus]:
    """Return the workers of this home that are ready, by name; needs neither broker nor database."""
    holders = ((path, ProcessLock.read(path)) for path in sorted((var / "run").glob("worker-*.lock")))
    return [
        WorkerStatus(
            name=str(holder.facts.get("name", path.stem)),
            pid=holder.pid,
            since=holder.since,
            queues=tuple(holder.facts.get("queues", ())),
        )
        for path, holder in holders
        if holder is not None
    ]


def job_lines(
    specs: Iterable[JobSpec], zone: ZoneInfo, now: datetime, latest: Mapping[str, RunRecord]
) -> list[JobLine]:
    """Return a line for each job; `latest` is empty where the database can't be asked."""
    return [_job_line(spec, zone, now, latest.get(spec.name)) for spec in specs]


def _job_line(spec: JobSpec, zone: ZoneInfo, now: datetime, last: RunRecord | None) -> JobLine:
    scheduled = spec.cron is not None
    late = (last.started_at - last.slot).total_seconds() if last is not None and last.slot is not None else None
    return JobLine(
        name=spec.name,
        task=spec.task_name,
        cron=spec.cron,
        words=in_words(spec.cron) if spec.cron else "by hand or by other jobs",
        next_run=next_due(spec.cron, zone, now) if spec.cron and spec.enabled else None,
        queue=spec.queue,
        priority=spec.priority,
        state="by hand" if not scheduled else "on" if spec.enabled else "off",
        last=last,
        lateness_s=late,
    )


def _age(instant: Any, now: datetime) -> float | None:
    try:
        return max(0.0, (now - datetime.fromisoformat(str(instant))).total_seconds())
    except (ValueError, TypeError):
        return None
