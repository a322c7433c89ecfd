"""Which slots a job has between two instants, and what becomes of those that were missed."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from app.schedule.cron import latest_due, next_due
from app.schedule.job_spec import JobSpec

MOST_SLOTS = 1000
"""Slots of one job looked at in one planning: a beat that was off for a year must not write half a million rows."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to enter into the ledger for one job."""

    job: str
    send: tuple[datetime, ...]
    missed: tuple[datetime, ...]
    """Slots that are due, but too old or not wanted any more: entered and closed at once, to be seen."""


def plan_job(spec: JobSpec, general: ZoneInfo, last: datetime | None, now: datetime) -> Plan:
    """Return the slots of `spec` after `last` up to its next one; a job never planned before starts from now.

    Of several slots that were missed `run_once` sends the newest, `run_each` all, `skip` none; none older than
    `max_age` is sent. A slot that is at most the job's grace late was not missed. `general` is the zone of jobs that
    name none.
    """
    if spec.cron is None or not spec.enabled:
        return Plan(job=spec.name, send=(), missed=())
    zone = spec.zone(general)
    upcoming = next_due(spec.cron, zone, now)
    if last is None:
        return Plan(job=spec.name, send=(upcoming,), missed=())
    past = tuple(_between(spec.cron, zone, last, now))
    sent = tuple(due for due in past if _still_wanted(spec, due, now, newest=due == past[-1]))
    ahead = () if upcoming <= last else (upcoming,)
    return Plan(job=spec.name, send=(*sent, *ahead), missed=tuple(due for due in past if due not in sent))


def _between(cron: str, zone: ZoneInfo, last: datetime, now: datetime) -> Iterator[datetime]:
    due = next_due(cron, zone, last)
    if due > now:
        return
    slots: list[datetime] = []
    while due <= now and len(slots) < MOST_SLOTS:
        slots.append(due)
        due = next_due(cron, zone, due)
    newest = latest_due(cron, zone, now)
    yield from slots
    if slots and newest > slots[-1]:
        yield newest


def _still_wanted(spec: JobSpec, due: datetime, now: datetime, *, newest: bool) -> bool:
    age = now - due
    if age <= timedelta(seconds=spec.start_grace_s):
        return True
    if age > timedelta(seconds=spec.max_age_s) or spec.missed == "skip":
        return False
    return newest or spec.missed == "run_each"
