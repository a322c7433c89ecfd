"""Ten outages one after another: what was due in each of them is run once, and what a policy gives up is told."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import cast
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from app.context import Context, make_context
from app.core.clock import ManualClock
from app.core.migrate import upgrade
from app.core.own_tables import run, slot
from app.execution.runner import Outcome
from app.execution.slots import run_slot
from app.schedule.dispatcher import Dispatcher
from app.schedule.in_force import Schedules
from app.schedule.job_spec import JobSpec, MissedPolicy
from app.schedule.leadership import LIFE, Leadership
from app.schedule.leases import Leases
from app.schedule.ledger import LEASE, RESEND_AFTER, Ledger
from app.schedule.pauses import paused_jobs
from app.schedule.runs import Origin

SHANGHAI = ZoneInfo("Asia/Shanghai")
START = datetime(2026, 3, 9, 16, 30, tzinfo=UTC)  # half an hour past midnight in Shanghai
NIGHT, HOURLY = "夜间统计", "每小时清点"
STEP = timedelta(minutes=30)


class Killed(BaseException):
    """The worker is gone: nothing in the program may catch this."""


class World:
    """A beat, a broker and a worker on one ledger; each of them can be away."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.clock = cast("ManualClock", context.clock)
        self.queue: list[tuple[str, datetime]] = []
        self.done: Counter[tuple[str, datetime]] = Counter()
        self.broker = self.worker = True
        self.kills = 0
        self._lives = 0
        self.beat: Dispatcher | None = self.new_beat()

    def new_beat(self) -> Dispatcher:
        """A beat as a new process would make it."""
        self._lives += 1
        database = self.context.database
        return Dispatcher(
            ledger=Ledger(database),
            leadership=Leadership(
                Leases(database, LIFE), self.clock, owner=f"beat-{self._lives}", host="h", pid=self._lives
            ),
            schedules=Schedules(database),
            specs={NIGHT: _spec(NIGHT, "0 2 * * *", "run_once"), HOURLY: _spec(HOURLY, "15 * * * *", "run_each")},
            zone=SHANGHAI,
            clock=self.clock,
            publish=self._publish,
            paused=lambda: paused_jobs(database),
        )

    def go(self, time: timedelta, *, every: timedelta = STEP) -> None:
        """Let time pass; beat ticks and the worker works after each step."""
        end = self.clock.now() + time
        while self.clock.now() < end:
            self.clock.advance(min(every, end - self.clock.now()))
            if self.beat is not None:
                self.beat.tick()
            if self.worker:
                self._work()

    def settle(self) -> None:
        """Let every lease, pause and lost message's time end."""
        for _ in range(3):
            self.go(LEASE + timedelta(seconds=11))
        self.go(RESEND_AFTER + timedelta(seconds=11))

    def _publish(self, spec: JobSpec, due: datetime) -> None:
        if not self.broker:
            raise ConnectionRefusedError("no broker")
        self.queue.append((spec.name, due))

    def _work(self) -> None:
        while self.broker and self.queue:
            job, due = self.queue.pop(0)
            self._lives += 1
            origin = Origin(trigger="schedule", slot=due)
            try:
                run_slot(self.context, job, self._run, due_at=due, origin=origin, owner=f"worker-{self._lives}")
            except Killed:
                continue

    def _run(self, context: Context) -> Outcome:
        if self.kills:
            self.kills -= 1
            raise Killed
        job = HOURLY if context.now.minute else NIGHT
        self.done[job, context.now] += 1
        return Outcome(result={"success": True, "message": "完成"})


def _spec(name: str, cron: str, missed: MissedPolicy) -> JobSpec:
    return JobSpec(
        name=name,
        cron=cron,
        missed=missed,
        task_name="t",
        queue="file",
        priority=1,
        soft_time_limit=1,
        time_limit=2,
        max_age_s=4 * 86_400,
    )


@pytest.fixture
def world(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    context = make_context(clock=ManualClock(START))
    upgrade(context.database)
    yield World(context)
    context.database.dispose()


def test_what_fell_due_in_ten_outages_is_run_once_each(world: World) -> None:
    outages = (
        _broker_away,
        _broker_loses_everything,
        _beat_down,
        _leader_killed_while_the_broker_is_away,
        _leader_killed_before_a_stand_by_comes,
        _worker_away,
        _worker_killed_in_a_run,
        _worker_killed_twice,
        _machine_off_for_three_days,
        _everything_again,
    )
    world.go(timedelta(minutes=10))
    first = world.clock.now()
    for number, outage in enumerate(outages):
        outage(world)
        world.broker = world.worker = True
        world.beat = world.beat or world.new_beat()
        world.settle()
        # To half past midnight of the next day, so that each outage has a night of its own.
        local = world.clock.now().astimezone(SHANGHAI)
        midnight = (local + timedelta(days=1)).replace(hour=0, minute=30, second=0)
        world.go(midnight - local)
        assert _open(world) == [], f"{number}: {outage.__name__}"
        assert _wrong(world) == [], f"{number}: {outage.__name__}"
    assert set(world.done.values()) == {1}
    hours = _between(first, world.clock.now(), timedelta(hours=1), minute=15)
    assert {due for job, due in world.done if job == HOURLY} == hours
    nights = {due + timedelta(minutes=45) for due in hours if due.astimezone(SHANGHAI).hour == 1}
    slept = nights - {due for job, due in world.done if job == NIGHT}
    # Of the three nights of a machine that was off the newest is caught up, as the job's policy says.
    assert _states(world, slept) == ["missed", "missed"]
    assert len(nights) - len(slept) >= len(outages)


def _broker_away(world: World) -> None:
    world.broker = False
    world.go(timedelta(hours=3))


def _broker_loses_everything(world: World) -> None:
    world.worker = False
    world.go(timedelta(hours=1, minutes=40))
    assert world.queue
    world.queue.clear()


def _beat_down(world: World) -> None:
    world.beat = None
    world.go(timedelta(hours=3))


def _leader_killed_while_the_broker_is_away(world: World) -> None:
    world.broker = False
    world.go(timedelta(hours=2))
    world.beat = world.new_beat()
    world.go(timedelta(hours=2))


def _leader_killed_before_a_stand_by_comes(world: World) -> None:
    world.go(timedelta(hours=1, minutes=20))
    world.beat = world.new_beat()


def _worker_away(world: World) -> None:
    world.worker = False
    world.go(timedelta(hours=3))


def _worker_killed_in_a_run(world: World) -> None:
    world.kills = 1
    world.go(timedelta(hours=3))
    assert not world.kills


def _worker_killed_twice(world: World) -> None:
    world.kills = 2
    world.go(timedelta(hours=3))
    assert not world.kills


def _machine_off_for_three_days(world: World) -> None:
    world.beat, world.worker = None, False
    world.clock.advance(timedelta(days=3))


def _everything_again(world: World) -> None:
    world.kills = 1
    world.go(timedelta(hours=1))
    world.broker = False
    world.go(timedelta(hours=1))
    world.beat = None
    world.clock.advance(timedelta(hours=30))
    world.queue.clear()


def _open(world: World) -> list[tuple[str, datetime]]:
    """Slots that were due and are not closed."""
    query = select(slot.c.job, slot.c.due_at).where(slot.c.closed_at.is_(None), slot.c.due_at <= world.clock.now())
    with world.context.database.read() as connection:
        return [(row.job, row.due_at) for row in connection.execute(query)]


def _wrong(world: World) -> list[tuple[str, datetime, str]]:
    """Closed slots that have not the one run, or none, that their state says."""
    query = select(slot.c.job, slot.c.due_at, slot.c.state).where(slot.c.closed_at.is_not(None))
    succeeded = select(run.c.job, run.c.slot).where(run.c.state == "succeeded")
    with world.context.database.read() as connection:
        runs = Counter((row.job, row.slot) for row in connection.execute(succeeded))
        closed = connection.execute(query).all()
    return [
        (row.job, row.due_at, row.state)
        for row in closed
        if not runs[row.job, row.due_at] == world.done[row.job, row.due_at] == (row.state == "succeeded")
    ]


def _states(world: World, nights: set[datetime]) -> list[str]:
    query = select(slot.c.state).where(slot.c.job == NIGHT, slot.c.due_at.in_(nights))
    with world.context.database.read() as connection:
        return list(connection.execute(query).scalars())


def _between(first: datetime, last: datetime, step: timedelta, *, minute: int) -> set[datetime]:
    due = first.replace(minute=minute, second=0, microsecond=0)
    found = set()
    while due <= last:
        if due > first:
            found.add(due)
        due += step
    return found
