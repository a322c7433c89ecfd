"""Read-only summaries for the command line and, later, the dashboard."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from app.schedule.beat_lock import TICK_LIMIT_S, beat_lock_paths
from app.schedule.cron import in_words, next_due
from app.schedule.job_spec import JobSpec
from app.schedule.leases import LeaseHolder, Leases
from app.schedule.runs import RunRecord
from app.schedule.single_flight import lease_name
from app.service.process_lock import LockHolder, ProcessLock

JobState = Literal["scheduled", "running", "paused", "off", "manual only"]


@dataclass(frozen=True, kw_only=True)
class BeatStatus:
    """Whether beat's scheduling thread is at work. `tick_age_s` is the age of its last sign of life in seconds."""

    state: Literal["running", "stale", "stopped"]
    pid: int | None = None
    host: str | None = None
    since: datetime | None = None
    tick_age_s: float | None = None
    leads: bool = False
    """Whether it sends; a stand-by waits until the leader is gone."""
    settings_refused: str | None = None
    """Why it does not follow the settings files as they are now."""
    stand_bys: tuple[int, ...] = ()
    """Pids of further beats of this home on this machine."""
    holders: tuple[LockHolder, ...] = ()
    """Every beat of this home on this machine, the one told above first."""


@dataclass(frozen=True, kw_only=True)
class LeaderStatus:
    """Which beat of all machines leads, as the database knows it."""

    host: str
    pid: int
    since: datetime
    until: datetime
    """End of its lease, which a living leader renews every 5 s."""
    alive: bool
    here: bool
    """Whether it is a beat of this home on this machine."""


@dataclass(frozen=True, kw_only=True)
class WorkerStatus:
    """A worker of this machine that is ready for work."""

    name: str
    pid: int
    since: datetime
    queues: tuple[str, ...]
    messages_refused: int = 0
    """Messages that were none of a job of ours, since it began."""


@dataclass(frozen=True, kw_only=True)
class JobLine:
    """A job as `status` and `list` show it."""

    name: str
    task: str
    cron: str | None
    timezone: str
    """The zone in which `cron` is meant."""
    words: str
    next_run: datetime | None
    queue: str
    priority: int
    state: JobState
    paused_since: datetime | None
    last: RunRecord | None
    lateness_s: float | None
    """Seconds from the slot to the start of its last run."""


def beat_status(var: Path, now: datetime) -> BeatStatus:
    """Return what the beat of this home says of itself; needs neither broker nor database."""
    holders = [holder for path in beat_lock_paths(var) if (holder := ProcessLock.read(path)) is not None]
    if not holders:
        return BeatStatus(state="stopped")
    # The leader of this home; where another home or machine leads, the first of the stand-bys.
    holder, *others = sorted(holders, key=lambda each: not each.facts.get("leads"))
    age = _age(holder.facts.get("last_tick"), now)
    state: Literal["running", "stale"] = "running" if age is not None and age <= TICK_LIMIT_S else "stale"
    return BeatStatus(
        state=state,
        pid=holder.pid,
        host=holder.host,
        since=holder.since,
        tick_age_s=age,
        leads=bool(holder.facts.get("leads")),
        settings_refused=holder.facts.get("settings_refused"),
        stand_bys=tuple(each.pid for each in others),
        holders=(holder, *others),
    )


def leader_status(lease: LeaseHolder | None, beat: BeatStatus, now: datetime) -> LeaderStatus | None:
    """Return who leads or led last by the database's `lease`; None where no beat ever did."""
    if lease is None:
        return None
    return LeaderStatus(
        host=lease.host,
        pid=lease.pid,
        since=lease.since,
        until=lease.until,
        alive=lease.holds_at(now),
        here=any((each.host, each.pid) == (lease.host, lease.pid) for each in beat.holders),
    )


def schedule_is_kept(beat: BeatStatus, leader: LeaderStatus | None) -> bool:
    """Tell whether slots are being sent: by a beat of this home that ticks or, where it has none, by a living leader.

    A beat of this home that does not tick is a fault, whoever leads.
    """
    if beat.state == "stopped":
        return leader is not None and leader.alive
    return beat.state == "running"


def worker_statuses(var: Path) -> list[WorkerStatus]:
    """Return the workers of this home that are ready, by name; needs neither broker nor database."""
    holders = ((path, ProcessLock.read(path)) for path in sorted((var / "run").glob("worker-*.lock")))
    return [
        WorkerStatus(
            name=str(holder.facts.get("name", path.stem)),
            pid=holder.pid,
            since=holder.since,
            queues=tuple(holder.facts.get("queues", ())),
            messages_refused=int(holder.facts.get("messages_refused", 0)),
        )
        for path, holder in holders
        if holder is not None
    ]


def running_jobs(leases: Leases, names: Collection[str], now: datetime) -> set[str]:
    """Return the jobs of which a run is at work, on whatever machine. Raises the errors of `Database`."""
    holders = leases.holders([lease_name(name) for name in names])
    return {name for name in names if (holder := holders.get(lease_name(name))) is not None and holder.holds_at(now)}


def job_lines(
    specs: Iterable[JobSpec],
    zone: ZoneInfo,
    now: datetime,
    latest: Mapping[str, RunRecord],
    paused: Mapping[str, datetime] | None = None,
    running: Collection[str] = (),
) -> list[JobLine]:
    """Return a line for each job.

    `latest`, `paused` (job -> since when) and `running` are empty where the database can't be asked; `zone` is the
    general one.
    """
    lines = (_job_line(spec, zone, now, latest.get(spec.name), (paused or {}).get(spec.name)) for spec in specs)
    return [replace(line, state="running") if line.name in running else line for line in lines]


def _job_line(
    spec: JobSpec, zone: ZoneInfo, now: datetime, last: RunRecord | None, paused_since: datetime | None
) -> JobLine:
    state = _state(spec, paused_since)
    late = (last.started_at - last.slot).total_seconds() if last is not None and last.slot is not None else None
    return JobLine(
        name=spec.name,
        task=spec.task_name,
        cron=spec.cron,
        timezone=spec.zone(zone).key,
        words=in_words(spec.cron) if spec.cron else "by hand or by other jobs",
        next_run=next_due(spec.cron, spec.zone(zone), now) if spec.cron and state == "scheduled" else None,
        queue=spec.queue,
        priority=spec.priority,
        state=state,
        paused_since=paused_since,
        last=last,
        lateness_s=late,
    )


def _state(spec: JobSpec, paused_since: datetime | None) -> JobState:
    if spec.cron is None:
        return "manual only"
    if not spec.enabled:
        return "off"
    return "scheduled" if paused_since is None else "paused"


def _age(instant: Any, now: datetime) -> float | None:
    try:
        return max(0.0, (now - datetime.fromisoformat(str(instant))).total_seconds())
    except (ValueError, TypeError):
        return None
