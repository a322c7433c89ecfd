"""One tick of the leading beat: plan, repair, send. Knows nothing of Celery: a year of ticks runs in seconds."""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import structlog

from app.core.clock import Clock
from app.schedule.cron import is_due
from app.schedule.in_force import Schedules
from app.schedule.job_spec import JobSpec
from app.schedule.leadership import Leadership
from app.schedule.ledger import Ledger, Slot
from app.schedule.planner import Plan, plan_job

log = structlog.get_logger("gengfu.beat")

STAND_BY_S = 2.0
_LONGEST_PAUSE_S = 5.0
_REPAIR_EVERY_S = 10.0

Publish = Callable[[JobSpec, datetime], None]
"""Sends the message of a slot; raises OSError where no broker takes it."""


class Dispatcher:
    """Works off the ledger while this process leads."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        leadership: Leadership,
        schedules: Schedules,
        specs: Mapping[str, JobSpec],
        zone: ZoneInfo,
        clock: Clock,
        publish: Publish,
        paused: Callable[[], Collection[str]],
    ) -> None:
        self._ledger = ledger
        self._leadership = leadership
        self._schedules = schedules
        self._specs = specs
        self._zone = zone
        self._clock = clock
        self._publish = publish
        self._paused = paused
        self._last: dict[str, datetime] = {}
        self._in_force: dict[str, datetime] = {}
        self._newest: dict[str, datetime] = {}
        self._leading = False
        self._taken_up = False
        self._repair_at = float("-inf")
        self._publishable = True

    @property
    def leading(self) -> bool:
        """Whether the last tick was a leader's."""
        return self._leading

    def follow(self, specs: Mapping[str, JobSpec], zone: ZoneInfo) -> None:
        """Keep another schedule from the next tick on: what is new or changed starts from then.

        A slot that was planned ahead stays, to be run if the schedule is changed back before it is due.
        """
        self._specs, self._zone, self._taken_up = specs, zone, False

    def tick(self) -> float:
        """Do what is due and return the seconds until the next look. Raises the errors of `Database`."""
        if not self._leadership.campaign():
            self._change(leading=False)
            return STAND_BY_S
        now = self._clock.now()
        if not self._leading or not self._taken_up:
            self._take_up(now)
        self._plan(now)
        if not self._leading:
            self._newest = self._ledger.last_due(until=self._leadership.vacancy.end)
            self._change(leading=True)
        self._repair(now)
        self._send(now)
        return self._pause(self._clock.now())

    def _change(self, *, leading: bool) -> None:
        if self._leading is not leading:
            self._leading = leading
            log.info("leadership_taken" if leading else "leadership_lost")

    def _take_up(self, now: datetime) -> None:
        """Go on where the ledger ends, whoever planned it, or from the change of a job's schedule."""
        past = self._ledger.last_due(until=now)
        self._in_force = self._schedules.take_up(self._specs.values(), self._zone, past, now)
        self._last = {job: max(since, past.get(job, since)) for job, since in self._in_force.items()}
        self._taken_up = True

    def _plan(self, now: datetime) -> None:
        plans: list[Plan] = []
        for spec in self._specs.values():
            known = self._last.get(spec.name)
            if known is None or known <= now:  # else its next slot stands in the ledger already
                plans.append(plan_job(spec, self._zone, known, now))
        slots = sorted((due, plan.job) for plan in plans for due in (*plan.missed, *plan.send))
        missed = {(plan.job, due) for plan in plans for due in plan.missed}
        self._ledger.plan([(job, due) for due, job in slots], now, missed=missed)
        for job, due in sorted(missed):
            log.warning("slot_missed", job=job, slot=due.isoformat())
        self._last |= {job: due for due, job in slots}

    def _repair(self, now: datetime) -> None:
        if self._clock.monotonic() < self._repair_at:
            return
        self._repair_at = self._clock.monotonic() + _REPAIR_EVERY_S
        done = self._ledger.repair(now)
        if done.offered or done.resent or done.given_up:
            log.warning("slots_repaired", offered=done.offered, resent=done.resent, given_up=done.given_up)

    def _send(self, now: datetime) -> None:
        paused = self._paused()
        for slot in self._ledger.due(now):
            if not self._leadership.leads:
                return
            if not self._send_one(slot, now, paused):
                return

    def _send_one(self, slot: Slot, now: datetime, paused: Collection[str]) -> bool:
        """Send or close one slot; False where the broker takes nothing and the rest can wait."""
        spec = self._specs.get(slot.job)
        if spec is None or slot.job in paused:
            why = "the job is paused" if spec else "the job is not scheduled any more"
            return self._close(slot, "skipped", now, why)
        if self._superseded(spec, slot):
            return self._close(slot, "skipped", now, "the schedule changed")
        if now - slot.due_at > timedelta(seconds=max(spec.max_age_s, spec.start_grace_s)):
            return self._close(slot, "missed", now, "no broker took it in time")
        if self._slept_over(spec, slot):
            return self._close(slot, "missed", now, "no beat was there")
        try:
            # Published first and marked after: killed in between, it goes out twice and is run once.
            self._publish(spec, slot.due_at)
        except OSError as error:
            self._tell_broker(error)
            return False
        self._tell_broker(None)
        self._ledger.mark_sent(slot.job, slot.due_at, now)
        return True

    def _close(self, slot: Slot, state: Literal["missed", "skipped"], now: datetime, why: str) -> Literal[True]:
        self._ledger.close_unrun(slot.job, slot.due_at, state, now, why)
        if state == "missed":
            log.warning("slot_missed", job=slot.job, slot=slot.due_at.isoformat())
        return True

    def _superseded(self, spec: JobSpec, slot: Slot) -> bool:
        """Say whether a slot planned ahead fell due under a schedule without it; what was due earlier runs."""
        if not _untouched(slot) or slot.due_at <= self._in_force[spec.name]:
            return False
        return not is_due(spec.cron or "", spec.zone(self._zone), slot.due_at)

    def _slept_over(self, spec: JobSpec, slot: Slot) -> bool:
        """Say whether a slot planned ahead passed while nobody led and the job's policy gives it up, like any other.

        What a leader could not send for want of a broker was not slept over: its successor sends it.
        """
        vacancy = self._leadership.vacancy
        if not _untouched(slot) or slot.due_at not in vacancy or spec.missed == "run_each":
            return False
        if vacancy.end - slot.due_at <= timedelta(seconds=spec.start_grace_s):
            return False
        return spec.missed == "skip" or self._newest.get(spec.name, slot.due_at) > slot.due_at

    def _tell_broker(self, error: OSError | None) -> None:
        """Say once that the broker is away, and once that it is back."""
        if self._publishable is (error is None):
            return
        self._publishable = error is None
        if error is None:
            log.info("broker_is_back")
        else:
            log.error("broker_is_away", error=str(error))

    def _pause(self, now: datetime) -> float:
        upcoming = min((due for due in self._last.values() if due > now), default=None)
        if upcoming is None:
            return _LONGEST_PAUSE_S
        return min(_LONGEST_PAUSE_S, max(0.05, (upcoming - now).total_seconds()))


def _untouched(slot: Slot) -> bool:
    return slot.sent_at is None and not slot.attempt
