"""Ticks of the leading beat on a ledger of each kind, by a clock that moves when told."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.core.clock import ManualClock
from app.core.database import Database
from app.schedule.dispatcher import Dispatcher
from app.schedule.job_spec import JobSpec
from app.schedule.leadership import LIFE, Leadership
from app.schedule.leases import Leases
from app.schedule.ledger import LEASE, Ledger

START = datetime(2026, 3, 9, 12, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def spec(name: str, cron: str, **changes: Any) -> JobSpec:
    values: dict[str, Any] = {"task_name": "t", "queue": "file", "priority": 1, "soft_time_limit": 1, "time_limit": 2}
    return JobSpec(name=name, cron=cron, **values | changes)


class Scene:
    """A beat, a broker that can be switched off, and workers that work at once or not at all."""

    def __init__(self, database: Database, specs: list[JobSpec], *, zone: ZoneInfo = BERLIN) -> None:
        self.database, self.specs, self.zone = database, {each.name: each for each in specs}, zone
        self.clock = ManualClock(START)
        self.ledger = Ledger(database)
        self.sent: list[tuple[str, datetime]] = []
        self.broker = True
        self.working = True
        self.paused: set[str] = set()
        self.done: Counter[tuple[str, datetime]] = Counter()
        self.beat = self.new_beat("first")

    def new_beat(self, owner: str) -> Dispatcher:
        """Another beat on the same ledger."""
        leadership = Leadership(Leases(self.database, LIFE), self.clock, owner=owner, host="h", pid=1)
        return Dispatcher(
            ledger=self.ledger,
            leadership=leadership,
            specs=self.specs,
            zone=self.zone,
            clock=self.clock,
            publish=self.publish,
            paused=lambda: self.paused,
        )

    def publish(self, sent: JobSpec, due: datetime) -> None:
        if not self.broker:
            raise ConnectionRefusedError("no broker")
        self.sent.append((sent.name, due))
        if self.working:
            self.work(sent.name, due)

    def work(self, job: str, due: datetime) -> None:
        """What a worker does with a message."""
        claim = self.ledger.claim(job, due, "worker", "run", self.clock.now())
        if claim is not None:
            self.done[job, due] += 1
            assert self.ledger.close(claim, "succeeded", self.clock.now())

    def go(self, step: timedelta, *, every: timedelta = timedelta(minutes=1)) -> None:
        """Let time pass with a tick after each step."""
        end = self.clock.now() + step
        while self.clock.now() < end:
            self.beat.tick()
            self.clock.advance(every)
        self.beat.tick()


@pytest.fixture
def night(database: Database) -> Scene:
    scene = Scene(
        database, [spec("statistics", "0 2 * * *"), spec("disk", "15 * * * *", missed="skip", max_age_s=3600)]
    )
    scene.beat.tick()
    return scene


def test_every_slot_of_two_days_is_run_once(night: Scene) -> None:
    night.go(timedelta(days=2), every=timedelta(minutes=5))
    runs = Counter(job for job, _ in night.done)
    assert runs == {"statistics": 2, "disk": 48}
    assert set(night.done.values()) == {1}


def test_a_broker_that_is_away_over_a_slot_delays_it_and_loses_nothing(night: Scene) -> None:
    night.broker = False
    night.go(timedelta(hours=15), every=timedelta(minutes=15))  # 02:00 in Berlin passes
    assert night.done == {}
    night.broker = True
    night.go(timedelta(minutes=5))
    assert night.done["statistics", datetime(2026, 3, 10, 1, 0, tzinfo=UTC)] == 1


def test_a_beat_that_was_off_over_the_night_catches_it_up_once_and_skips_the_hours(night: Scene) -> None:
    night.clock.advance(timedelta(hours=20))
    night.beat = night.new_beat("second")
    night.go(timedelta(minutes=3))
    assert night.done["statistics", datetime(2026, 3, 10, 1, 0, tzinfo=UTC)] == 1
    assert sum(1 for job, _ in night.done if job == "disk") == 0
    missed = night.ledger.get("disk", datetime(2026, 3, 9, 20, 15, tzinfo=UTC))
    assert missed is not None
    assert missed.state == "missed"


@pytest.mark.parametrize(("policy", "run"), [("skip", []), ("run_once", [16]), ("run_each", [12, 13, 14, 15, 16])])
def test_the_slot_planned_ahead_falls_under_the_policy_like_any_other(
    database: Database, policy: str, run: list[int]
) -> None:
    scene = Scene(database, [spec("hourly", "15 * * * *", missed=policy)], zone=ZoneInfo("UTC"))
    scene.beat.tick()  # plans 12:15, and is gone
    scene.clock.advance(timedelta(hours=5))
    scene.beat = scene.new_beat("second")
    scene.beat.tick()
    assert sorted(due.hour for _, due in scene.done) == run


def test_two_beats_send_every_slot_once_and_the_second_takes_over(night: Scene) -> None:
    second = night.new_beat("second")
    for _ in range(90):
        night.beat.tick()
        second.tick()
        night.clock.advance(timedelta(seconds=60))
    assert max(Counter(night.sent).values()) == 1
    night.beat = second  # the first one is gone
    night.go(timedelta(hours=2))
    assert night.beat.leading
    assert max(Counter(night.sent).values()) == 1
    assert sum(1 for job, _ in night.done if job == "disk") == 4


def test_a_worker_that_dies_is_followed_by_another_within_its_lease_and_a_tick(night: Scene) -> None:
    night.working = False
    night.go(timedelta(minutes=16))
    ((job, due),) = night.sent
    claim = night.ledger.claim(job, due, "dies", "run", night.clock.now())
    assert claim is not None
    night.working = True
    night.go(LEASE - timedelta(seconds=10), every=timedelta(seconds=10))
    assert night.done == {}
    night.go(timedelta(seconds=30), every=timedelta(seconds=10))
    assert night.done == {(job, due): 1}


def test_a_lost_message_is_sent_again(night: Scene) -> None:
    night.working = False
    night.go(timedelta(minutes=16))
    assert len(night.sent) == 1
    night.working = True
    night.go(timedelta(minutes=6))
    assert len(night.sent) == 2
    assert set(night.done.values()) == {1}


def test_a_message_delivered_often_and_late_is_run_once(night: Scene) -> None:
    night.go(timedelta(hours=2))
    for job, due in night.sent * 20:
        night.work(job, due)
    assert set(night.done.values()) == {1}


def test_a_paused_job_runs_nothing_and_its_slots_are_told(night: Scene) -> None:
    night.paused = {"disk"}
    night.go(timedelta(hours=3))
    assert night.done == {}
    slot = night.ledger.get("disk", datetime(2026, 3, 9, 12, 15, tzinfo=UTC))
    assert slot is not None
    assert slot.state == "skipped"
    night.paused = set()
    night.go(timedelta(hours=1))
    assert len(night.done) == 1


def test_a_clock_set_back_sends_nothing_twice(night: Scene) -> None:
    night.go(timedelta(hours=3))
    before = list(night.sent)
    night.clock.advance(-timedelta(hours=2))
    night.go(timedelta(hours=1, minutes=50))
    assert night.sent == before


@pytest.mark.parametrize(("start", "hours"), [("2026-03-28", 23), ("2026-10-24", 25)])
def test_over_a_clock_change_daily_jobs_run_once_a_day_and_hourly_ones_every_real_hour(
    database: Database, start: str, hours: int
) -> None:
    scene = Scene(database, [spec("daily", "30 2 * * *"), spec("hourly", "15 * * * *", max_age_s=3600)])
    begin = datetime.fromisoformat(start).replace(tzinfo=BERLIN) + timedelta(days=1)
    scene.clock = ManualClock(begin)
    scene.beat = scene.new_beat("first")
    scene.go(timedelta(hours=hours), every=timedelta(minutes=5))
    assert Counter(job for job, _ in scene.done) == {"daily": 1, "hourly": hours}
