"""One tick of the leading beat: plan, repair, send. Knows nothing of Celery: a year of ticks runs in seconds."""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import structlog

from app.core.clock import Clock
from app.schedule.cron import latest_due
from app.schedule.job_spec import JobSpec
from app.schedule.leadership import Leadership
from app.schedule.ledger import Ledger, Slot
from app.schedule.planner import plan_job

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
        specs: Mapping[str, JobSpec],
        zone: ZoneInfo,
        clock: Clock,
        publish: Publish,
        paused: Callable[[], Collection[str]],
    ) -> None:
        self._ledger = ledger
        self._leadership = leadership
        self._specs = specs
        self._zone = zone
        self._clock = clock
        self._publish = publish
        self._paused = paused
        self._last: dict[str, datetime] = {}
        self._leading = False
        self._since = clock.now()
        self._repair_at = float("-inf")
        self._publishable = True

    @property
    def leading(self) -> bool:
        """Whether the last tick was a leader's."""
        return self._leading

    def tick(self) -> float:
        """Do what is due and return the seconds until the next look. Raises the errors of `Database`."""
        if not self._leadership.campaign():
            self._change(leading=False)
            return STAND_BY_S
        if not self._leading:
            # Whatever another leader planned meanwhile counts.
            self._last = self._ledger.last_due()
            self._since = self._clock.now()
            self._change(leading=True)
        now = self._clock.now()
        self._plan(now)
        self._repair(now)
        self._send(now)
        return self._pause(self._clock.now())

    def _change(self, *, leading: bool) -> None:
        if self._leading is not leading:
            self._leading = leading
            log.info("leadership_taken" if leading else "leadership_lost")

    def _plan(self, now: datetime) -> None:
        for spec in self._specs.values():
            known = self._last.get(spec.name)
            if known is not None and known > now:
                continue  # its next slot stands in the ledger already
            plan = plan_job(spec, self._zone, known, now)
            slots = sorted((*plan.missed, *plan.send))
            if not slots:
                continue
            missed = {(spec.name, due) for due in plan.missed}
            self._ledger.plan([(spec.name, due) for due in slots], now, missed=missed)
            for due in plan.missed:
                log.warning("slot_missed", job=spec.name, slot=due.isoformat())
            self._last[spec.name] = slots[-1]

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
            self._ledger.close_unrun(slot.job, slot.due_at, "skipped", now, why)
            return True
        if now - slot.due_at > timedelta(seconds=max(spec.max_age_s, spec.start_grace_s)):
            self._ledger.close_unrun(slot.job, slot.due_at, "missed", now, "no broker took it in time")
            log.warning("slot_missed", job=slot.job, slot=slot.due_at.isoformat())
            return True
        if self._slept_over(spec, slot):
            self._ledger.close_unrun(slot.job, slot.due_at, "missed", now, "no beat was there")
            log.warning("slot_missed", job=slot.job, slot=slot.due_at.isoformat())
            return True
        try:
            # Published first and marked after: killed in between, it goes out twice and is run once.
            self._publish(spec, slot.due_at)
        except OSError as error:
            self._tell_broker(error)
            return False
        self._tell_broker(None)
        self._ledger.mark_sent(slot.job, slot.due_at, now)
        return True

    def _slept_over(self, spec: JobSpec, slot: Slot) -> bool:
        """Say whether a slot planned ahead passed while nobody led and the job's policy gives it up, like any other."""
        late = self._since - slot.due_at
        untouched = slot.sent_at is None and not slot.attempt
        if not untouched or late <= timedelta(seconds=spec.start_grace_s) or spec.missed == "run_each":
            return False
        return spec.missed == "skip" or self._newest(spec) > slot.due_at

    def _newest(self, spec: JobSpec) -> datetime:
        return latest_due(spec.cron or "", spec.zone(self._zone), self._since)

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
