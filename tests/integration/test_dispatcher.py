"""Ticks of the leading beat on a ledger of each kind, by a clock that moves when told."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from app.core.clock import ManualClock
from app.core.database import Database
from app.core.own_tables import slot
from app.schedule.dispatcher import Dispatcher
from app.schedule.in_force import Schedules
from app.schedule.job_spec import JobSpec
from app.schedule.leadership import LIFE, Leadership
from app.schedule.leases import Leases
from app.schedule.ledger import LEASE, Ledger
from tests.steps import Steps

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
        self.steps = Steps(database, self.clock)
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
            schedules=Schedules(self.database),
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
        claim = self.steps.claim(job, due, "worker", "run")
        if claim is not None:
            self.done[job, due] += 1
            assert self.steps.close(claim, "succeeded")

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
    claim = night.steps.claim(job, due, "dies", "run")
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
    passed = night.ledger.get("disk", datetime(2026, 3, 9, 12, 15, tzinfo=UTC))
    assert passed is not None
    assert passed.state == "skipped"
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


def note_of(scene: Scene, job: str, due: datetime) -> tuple[str, str | None]:
    with scene.database.read() as connection:
        row = connection.execute(select(slot.c.state, slot.c.note).where(slot.c.job == job, slot.c.due_at == due)).one()
    return row.state, row.note


def at(hour: int, minute: int = 0, *, day: int = 9) -> datetime:
    return datetime(2026, 3, day, hour, minute, tzinfo=UTC)


@pytest.fixture
def hourly(database: Database) -> Scene:
    """A job at a quarter past each hour, UTC, planned for 12:15; nobody catches it up by default."""
    scene = Scene(database, [spec("每小时", "15 * * * *", missed="skip", max_age_s=3 * 3600)], zone=ZoneInfo("UTC"))
    scene.beat.tick()
    return scene


def changed(scene: Scene, **changes: Any) -> dict[str, JobSpec]:
    scene.specs = {name: replace(each, **changes) for name, each in scene.specs.items()}
    return scene.specs


def test_a_new_time_counts_from_its_change_and_the_slot_of_the_old_one_is_skipped(hourly: Scene) -> None:
    hourly.beat.follow(changed(hourly, cron="*/10 * * * *"), hourly.zone)
    hourly.go(timedelta(minutes=31))
    assert sorted(due for _, due in hourly.done) == [at(12, 10), at(12, 20), at(12, 30)]
    assert note_of(hourly, "每小时", at(12, 15)) == ("skipped", "the schedule changed")


def test_a_change_that_is_taken_back_in_time_loses_no_slot(hourly: Scene) -> None:
    before = hourly.specs
    hourly.beat.follow(changed(hourly, cron="0 23 * * *"), hourly.zone)
    hourly.go(timedelta(minutes=5))
    hourly.beat.follow(before, hourly.zone)
    hourly.go(timedelta(minutes=15))
    assert hourly.done == {("每小时", at(12, 15)): 1}


def test_what_was_due_before_the_change_and_waits_for_the_broker_is_still_run(hourly: Scene) -> None:
    hourly.broker = False
    hourly.go(timedelta(minutes=16))
    hourly.beat.follow(changed(hourly, cron="0 23 * * *"), hourly.zone)
    hourly.go(timedelta(minutes=5))
    hourly.broker = True
    hourly.go(timedelta(minutes=1))
    assert hourly.done == {("每小时", at(12, 15)): 1}


@pytest.mark.parametrize("known", ["to the successor only", "to the leader before it"])
def test_a_successor_keeps_the_new_schedule_though_a_later_slot_of_the_old_one_stands_planned(
    database: Database, known: str
) -> None:
    scene = Scene(database, [spec("daily", "0 4 * * *")], zone=ZoneInfo("UTC"))
    scene.beat.tick()  # plans 04:00 of the next day
    changed(scene, cron="*/10 * * * *")
    if known == "to the leader before it":
        scene.beat.follow(scene.specs, scene.zone)
        scene.go(timedelta(minutes=11))
    scene.clock.advance(timedelta(minutes=1))
    scene.beat = scene.new_beat("second")
    scene.go(timedelta(minutes=30))
    minutes = [due.minute for _, due in sorted(scene.done)]
    assert minutes == ([10, 20, 30, 40] if known == "to the leader before it" else [10, 20, 30])


def test_a_job_that_is_switched_on_again_starts_from_now_and_catches_nothing_up(hourly: Scene) -> None:
    hourly.go(timedelta(minutes=20))
    hourly.beat.follow({}, hourly.zone)
    hourly.go(timedelta(hours=5))
    assert note_of(hourly, "每小时", at(13, 15)) == ("skipped", "the job is not scheduled any more")
    hourly.beat.follow(changed(hourly, missed="run_each", max_age_s=86_400), hourly.zone)
    hourly.go(timedelta(hours=1))
    assert sorted(due for _, due in hourly.done) == [at(12, 15), at(18, 15)]


def test_another_general_zone_moves_the_jobs_that_name_none(database: Database) -> None:
    own = spec("own", "0 14 * * *", timezone="UTC")
    scene = Scene(database, [spec("general", "0 14 * * *"), own], zone=ZoneInfo("UTC"))
    scene.beat.tick()
    scene.beat.follow(scene.specs, BERLIN)
    scene.go(timedelta(hours=3))
    assert sorted(scene.done) == [("general", at(13)), ("own", at(14))]
    assert note_of(scene, "general", at(14)) == ("skipped", "the schedule changed")


def test_queue_and_priority_of_a_slot_are_those_of_the_moment_it_is_sent(
    hourly: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, int]] = []
    monkeypatch.setattr(hourly, "publish", lambda sent, _due: seen.append((sent.queue, sent.priority)))
    hourly.beat = hourly.new_beat("first")
    hourly.beat.tick()
    hourly.beat.follow(changed(hourly, queue="receipt", priority=8), hourly.zone)
    hourly.go(timedelta(minutes=16))
    assert seen == [("receipt", 8)]


def test_a_policy_that_changed_holds_for_the_slots_that_are_missed_from_then_on(hourly: Scene) -> None:
    hourly.beat.follow(changed(hourly, missed="run_once"), hourly.zone)
    hourly.beat.tick()
    hourly.clock.advance(timedelta(hours=2))
    hourly.beat = hourly.new_beat("second")
    hourly.beat.tick()
    assert sorted(due for _, due in hourly.done) == [at(13, 15)]


def test_a_time_changed_while_no_beat_was_there_leaves_the_missed_slot_to_its_policy(database: Database) -> None:
    scene = Scene(database, [spec("nightly", "0 2 * * *")], zone=ZoneInfo("UTC"))
    scene.beat.tick()
    scene.clock.advance(timedelta(hours=18))  # 06:00
    changed(scene, cron="0 3 * * *")
    scene.beat = scene.new_beat("second")
    scene.go(timedelta(hours=22), every=timedelta(minutes=30))
    assert sorted(due for _, due in scene.done) == [at(2, day=10), at(3, day=11)]


@pytest.mark.parametrize("policy", ["skip", "run_once", "run_each"])
def test_what_a_leader_could_not_send_for_want_of_a_broker_is_sent_by_its_successor(
    database: Database, policy: str
) -> None:
    scene = Scene(database, [spec("hourly", "15 * * * *", missed=policy, max_age_s=7200)], zone=ZoneInfo("UTC"))
    scene.broker = False
    scene.go(timedelta(minutes=80))  # 12:15 and 13:15 pass while the first one leads
    scene.beat = scene.new_beat("second")
    scene.clock.advance(timedelta(minutes=30))
    scene.broker = True
    scene.beat.tick()
    assert sorted(due for _, due in scene.done) == [at(12, 15), at(13, 15)]


def test_what_no_broker_took_is_given_up_at_its_greatest_age_by_the_successor_too(hourly: Scene) -> None:
    hourly.broker = False
    hourly.go(timedelta(minutes=16))
    hourly.broker = True
    hourly.clock.advance(timedelta(hours=3, minutes=10))
    hourly.beat = hourly.new_beat("second")
    hourly.beat.tick()
    assert hourly.done == {}
    assert note_of(hourly, "每小时", at(12, 15)) == ("missed", "no broker took it in time")


@pytest.mark.parametrize(("early", "run"), [(timedelta(microseconds=1), 1), (timedelta(0), 0)])
def test_a_slot_was_slept_over_from_the_very_end_of_the_last_lease_on(
    database: Database, early: timedelta, run: int
) -> None:
    scene = Scene(database, [spec("hourly", "15 * * * *", missed="skip", max_age_s=7200)], zone=ZoneInfo("UTC"))
    scene.clock.advance(at(12, 15) - LIFE + early - scene.clock.now())
    scene.beat.tick()  # its lease ends at 12:15 or a microsecond after
    scene.clock.advance(timedelta(minutes=30))
    scene.beat = scene.new_beat("second")
    scene.beat.tick()
    assert len(scene.done) == run


def test_a_slot_of_a_lease_that_was_given_back_before_was_slept_over(hourly: Scene) -> None:
    leadership = Leadership(Leases(hourly.database, LIFE), hourly.clock, owner="third", host="h", pid=1)
    hourly.clock.advance(timedelta(minutes=14))
    assert leadership.campaign()
    leadership.resign()  # at 12:14
    hourly.clock.advance(timedelta(minutes=5))
    hourly.beat = hourly.new_beat("second")
    hourly.beat.tick()
    assert hourly.done == {}
    assert note_of(hourly, "每小时", at(12, 15)) == ("missed", "no beat was there")


def test_a_lease_given_by_a_clock_that_was_set_back_says_nothing_of_who_was_there(database: Database) -> None:
    scene = Scene(database, [spec("hourly", "15 * * * *", missed="skip", max_age_s=7200)], zone=ZoneInfo("UTC"))
    ahead = ManualClock(at(12, day=20))
    assert Leadership(Leases(database, LIFE), ahead, owner="ahead", host="h", pid=1).campaign()
    scene.ledger.plan([("hourly", at(12, 15))], START)
    scene.clock.advance(timedelta(minutes=30))
    scene.beat.tick()
    assert scene.beat.leading
    assert scene.done == {}
    assert note_of(scene, "hourly", at(12, 15)) == ("missed", "no beat was there")
