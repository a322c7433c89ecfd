"""A beat or a worker that is killed at any one of its steps: no slot is lost, none is run beside its claim."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection, event, select

from app import settings
from app.context import Context
from app.core.clock import ManualClock
from app.core.database import Database, DatabaseSettings
from app.core.migrate import upgrade
from app.core.own_tables import run, slot
from app.core.source_tables import SourceTables
from app.execution.runner import Outcome
from app.execution.slots import run_slot
from app.schedule.dispatcher import Dispatcher
from app.schedule.in_force import Schedules
from app.schedule.job_spec import JobSpec
from app.schedule.leadership import LIFE, Leadership
from app.schedule.leases import Leases
from app.schedule.ledger import LEASE, RESEND_AFTER, Ledger, Slot
from app.schedule.pauses import paused_jobs
from app.schedule.runs import Origin, RunHistory

START = datetime(2026, 3, 10, 0, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
SHANGHAI = ZoneInfo("Asia/Shanghai")
MOST_POINTS = 100


class Killed(BaseException):
    """The process is gone: nothing in the program may catch this."""


class Fuse:
    """Kills at the n-th step from now, and the dead do nothing more: no clean-up of theirs reaches anything."""

    def __init__(self) -> None:
        self._left: int | None = None

    def light(self, steps: int) -> None:
        self._left = steps

    def put_out(self) -> None:
        self._left = None

    def step(self) -> None:
        if self._left is None:
            return
        self._left -= 1
        if self._left <= 0:
            raise Killed


class MortalDatabase(Database):
    """A database whose user may die before a transaction begins and after it was committed."""

    def __init__(self, url: str, fuse: Fuse) -> None:
        super().__init__(url, DatabaseSettings())
        self._fuse = fuse

    @contextmanager
    def read(
        self, *, deadline_s: float | None = None, statement_timeout_s: float | None = None
    ) -> Iterator[Connection]:
        self._fuse.step()
        with super().read(deadline_s=deadline_s, statement_timeout_s=statement_timeout_s) as connection:
            yield connection

    @contextmanager
    def write(self, *, deadline_s: float | None = None) -> Iterator[Connection]:
        self._fuse.step()
        with super().write(deadline_s=deadline_s) as connection:
            yield connection
        self._fuse.step()


class Scene:
    """A ledger, a queue, and beats and workers that live until the fuse has burnt down."""

    redelivers = True
    """Whether the broker delivers a message again whose worker died."""

    def __init__(self, url: str) -> None:
        self.fuse = Fuse()
        self.database = MortalDatabase(url, self.fuse)
        self.clock = ManualClock(START)
        self.ledger = Ledger(self.database)
        self.queue: list[datetime] = []
        self.delivered: list[datetime] = []
        self.executions: Counter[datetime] = Counter()
        self.job = ""
        self._lives = 0
        # Read once: the settings' files are not what is killed here.
        self._settings = settings.load()

    def begin(self, job: str) -> None:
        """A job of its own for each point of death, half past some hour, with no leader left."""
        self.job, self.queue, self.delivered, self.executions = job, [], [], Counter()
        later = self.clock.now() + HOUR
        self.clock.advance(later.replace(minute=30, second=0) - self.clock.now())

    @property
    def hour(self) -> datetime:
        """The last full hour."""
        return self.clock.now().replace(minute=0, second=0)

    def beat(self, **changes: Any) -> Dispatcher:
        """A beat as a new process would make it."""
        self._lives += 1
        owner = f"beat-{self._lives}"
        values: dict[str, Any] = {"task_name": "t", "queue": "file", "soft_time_limit": 1, "time_limit": 2}
        spec = JobSpec(name=self.job, cron="0 * * * *", priority=1, **values | changes)
        return Dispatcher(
            ledger=self.ledger,
            leadership=Leadership(Leases(self.database, LIFE), self.clock, owner=owner, host="h", pid=1),
            schedules=Schedules(self.database),
            specs={self.job: spec},
            zone=SHANGHAI,
            clock=self.clock,
            publish=self._publish,
            paused=lambda: paused_jobs(self.database),
        )

    def work(self) -> None:
        """A worker takes what waits; a message is gone when its job is done, or with its worker."""
        while self.queue:
            due = self.queue.pop(0)
            self.delivered.append(due)
            try:
                self._run(due)
            except Killed:
                if self.redelivers:
                    self.queue.append(due)
                raise

    def wait(self, step: timedelta, beat: Dispatcher) -> None:
        self.clock.advance(step)
        beat.tick()
        self.work()

    def rows(self) -> dict[datetime, tuple[Any, ...]]:
        """What the ledger says of the job, in full."""
        with self.database.read() as connection:
            found = connection.execute(select(slot).where(slot.c.job == self.job)).all()
        return {row.due_at: tuple(row) for row in found}

    def slot(self, due: datetime) -> Slot:
        found = self.ledger.get(self.job, due)
        assert found is not None, f"{due} is not in the ledger"
        return found

    def run_states(self, due: datetime) -> list[str]:
        """How the runs of a slot stand, the first one first."""
        query = select(run.c.state).where(run.c.job == self.job, run.c.slot == due).order_by(run.c.started_at)
        with self.database.read() as connection:
            return list(connection.execute(query).scalars())

    def job_is_free(self) -> bool:
        """Whether a run by hand would be carried out at once."""
        holder = Leases(self.database, LIFE).holder(f"job:{self.job}")
        return holder is None or not holder.holds_at(self.clock.now())

    def _publish(self, _spec: JobSpec, due: datetime) -> None:
        self.fuse.step()
        self.queue.append(due)
        self.fuse.step()

    def _run(self, due: datetime) -> None:
        self._lives += 1
        context = Context(
            settings=self._settings,
            clock=self.clock,
            database=self.database,
            source=cast("SourceTables", None),
            history=RunHistory(self.database),
        )
        origin = Origin(trigger="schedule", slot=due)
        run_slot(context, self.job, self._execute, due_at=due, origin=origin, owner=f"worker-{self._lives}")

    def _execute(self, context: Context) -> Outcome:
        self.fuse.step()
        self.executions[context.now] += 1
        self.fuse.step()
        return Outcome(result={"success": True, "message": "完成"})


@pytest.fixture
def scene(database_url: str) -> Iterator[Scene]:
    made = Scene(database_url)
    upgrade(made.database)
    yield made
    made.database.dispose()


def _each_death(scene: Scene, prepare: Callable[[], None], life: Callable[[], None]) -> Iterator[int]:
    """Live once for each step of `life`, dying at that step; ends with the life that no step cut short."""
    for point in range(1, MOST_POINTS):
        scene.begin(f"job-{point}")
        prepare()
        scene.fuse.light(point)
        died = True
        with suppress(Killed):
            life()
            died = False
        scene.fuse.put_out()
        yield point
        if not died:
            assert point > 10, "the life had hardly a step in it"
            return
    raise AssertionError(f"a life of {MOST_POINTS} steps does not end")


def _go_on(scene: Scene, **changes: Any) -> None:
    """Others take over: the lease of the beat, the claim of the worker and the message's time end one by one."""
    beat = scene.beat(**changes)
    scene.work()
    for step in (LIFE, LEASE, LEASE, RESEND_AFTER - LEASE):
        scene.wait(step + timedelta(seconds=1), beat)


@pytest.mark.parametrize("redelivers", [True, False])
def test_a_slot_is_closed_once_wherever_its_beat_or_its_worker_died(scene: Scene, *, redelivers: bool) -> None:
    scene.redelivers = redelivers
    due = START

    def prepare() -> None:
        nonlocal due
        due = scene.hour + HOUR

    def life() -> None:
        beat = scene.beat()
        beat.tick()
        scene.clock.advance(due - scene.clock.now())
        beat.tick()
        scene.work()

    for point in _each_death(scene, prepare, life):
        if scene.clock.now() < due:
            # The beat died before the slot was due, and another one is there in time.
            scene.clock.advance(LIFE)
            scene.beat().tick()
            scene.clock.advance(due - scene.clock.now())
        _go_on(scene)
        done = scene.slot(due)
        assert done.state == "succeeded", f"point {point}: {done}"
        assert 1 <= scene.executions[due] <= done.term <= 2, f"point {point}: {done}"
        assert set(scene.executions) == {due}, f"point {point}"
        assert scene.run_states(due) in (["succeeded"], ["interrupted", "succeeded"]), f"point {point}"
        _nothing_more_happens(scene, due)


@pytest.mark.parametrize("redelivers", [True, False])
def test_a_slot_is_closed_once_wherever_within_its_transactions_a_worker_died(
    scene: Scene, *, redelivers: bool
) -> None:
    scene.redelivers = redelivers
    event.listen(scene.database.engine, "before_cursor_execute", lambda *_facts: scene.fuse.step())
    event.listen(scene.database.engine, "commit", lambda _connection: scene.fuse.step())
    due = START

    def prepare() -> None:
        nonlocal due
        due = scene.hour + HOUR
        beat = scene.beat()
        beat.tick()
        scene.clock.advance(due - scene.clock.now())
        beat.tick()

    for point in _each_death(scene, prepare, scene.work):
        held = scene.run_states(due) == ["running"]
        assert held == (scene.slot(due).state == "running"), f"point {point}: begun by half"
        done = scene.run_states(due) == ["succeeded"]
        assert done == (scene.slot(due).state == "succeeded"), f"point {point}: ended by half"
        assert scene.job_is_free() == (not held), f"point {point}: the job's lease is alone"
        _go_on(scene)
        assert scene.slot(due).state == "succeeded", f"point {point}"
        assert 1 <= scene.executions[due] <= 2, f"point {point}"
        assert scene.run_states(due) in (["succeeded"], ["interrupted", "succeeded"]), f"point {point}"
        assert scene.job_is_free()
        _nothing_more_happens(scene, due)


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        ("run_once", ["missed", "missed", "succeeded"]),
        ("run_each", ["succeeded", "succeeded", "succeeded"]),
        ("skip", ["missed", "missed", "missed"]),
    ],
)
def test_slots_missed_without_a_beat_are_settled_as_wanted_wherever_the_next_beat_dies(
    scene: Scene, policy: str, wanted: list[str]
) -> None:
    last = START

    def prepare() -> None:
        nonlocal last
        last = scene.hour
        scene.ledger.plan([(scene.job, last)], last)
        scene.ledger.close_unrun(scene.job, last, "skipped", last, "before")
        scene.clock.advance(3 * HOUR)

    def life() -> None:
        scene.beat(missed=policy).tick()

    for point in _each_death(scene, prepare, life):
        _go_on(scene, missed=policy)
        states = [scene.slot(last + n * HOUR).state for n in (1, 2, 3)]
        assert states == wanted, f"point {point}"
        run = {last + n * HOUR for n, state in enumerate(wanted, 1) if state == "succeeded"}
        assert set(scene.executions) == run, f"point {point}"
        _nothing_more_happens(scene, last + HOUR, missed=policy)


def _nothing_more_happens(scene: Scene, due: datetime, **changes: Any) -> None:
    """Not with another beat, not with every message delivered again."""
    before, runs = scene.rows(), Counter(scene.executions)
    scene.queue = scene.delivered * 2
    scene.work()
    scene.wait(timedelta(seconds=20), scene.beat(**changes))
    assert scene.rows()[due] == before[due]
    assert scene.executions == runs
