"""One run of a job at a time, told by the lease `job:NAME`; on both databases."""

import os
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
import structlog

from app.context import Context, make_context
from app.core.clock import ManualClock
from app.core.errors import DatabaseUnavailable, ExitCode
from app.core.migrate import upgrade
from app.execution.runner import JobRun, Outcome, run_job
from app.schedule import leases
from app.schedule.heartbeat import Heartbeat
from app.schedule.leases import Wish
from app.schedule.ledger import Ledger
from app.schedule.run_book import RunBook
from app.schedule.run_rows import Start
from app.schedule.runs import DEAD_AFTER, Origin, RunHistory
from app.schedule.single_flight import LIFE, AtWork, Place
from app.settings import load
from tests.conftest import NOON
from tests.steps import Steps

JOB = "cleanup-expired-tasks"
SHELL = Origin(trigger="shell")
A, B = "a" * 32, "b" * 32
TICK = timedelta(microseconds=1)


@pytest.fixture
def context(database_url: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    made = make_context(load(), clock)
    upgrade(made.database)
    yield made
    made.database.dispose()


@pytest.fixture
def steps(context: Context) -> Steps:
    return Steps(context.database, context.clock)


def succeed(_context: Context) -> Outcome:
    return Outcome(result={"success": True})


def never(_context: Context) -> Outcome:
    raise AssertionError("this must not run")


def meet(context: Context, job: str, second_job: str, origin: Origin = SHELL) -> tuple[JobRun, JobRun]:
    """Run `second_job` in the middle of a run of `job` and return both, the first one first."""
    met: list[JobRun] = []

    def work(inner: Context) -> Outcome:
        met.append(run_job(context, second_job, succeed, origin=origin))
        return succeed(inner)

    first = run_job(context, job, work, origin=Origin(trigger="manual", run_id=A))
    return first, met[0]


def test_a_second_run_is_skipped_and_told_who_runs_since_when(context: Context) -> None:
    first, second = meet(context, JOB, JOB)
    assert (first.state, second.state, second.exit_code) == ("succeeded", "skipped", ExitCode.LOCKED)
    assert second.result["success"] is True
    assert f"runs already as run {A} on " in second.result["skipped"]
    assert second.result["skipped"].endswith(f"since {NOON.isoformat()}")
    record = context.history.get(second.run_id)
    assert record is not None
    assert record.state == "skipped"


def test_another_job_runs_meanwhile(context: Context) -> None:
    assert [run.state for run in meet(context, JOB, "disk-space-check")] == ["succeeded", "succeeded"]


def test_alerts_are_told_many_at_once(context: Context) -> None:
    job = "send-alert-notification"
    assert [run.state for run in meet(context, job, job)] == ["succeeded", "succeeded"]


def test_the_next_run_need_not_wait_for_the_lease(context: Context) -> None:
    assert [run_job(context, JOB, succeed, origin=SHELL).state for _ in range(3)] == ["succeeded"] * 3


def test_a_second_delivery_of_the_run_at_work_leaves_its_row_alone_and_is_tried_later(context: Context) -> None:
    first, second = meet(context, JOB, JOB, Origin(trigger="manual", run_id=A))
    assert (second.state, second.temporary) == ("skipped", True)
    record = context.history.get(first.run_id)
    assert record is not None
    assert record.state == "succeeded"
    assert len(context.history.recent()) == 1


def test_another_attempt_of_a_run_that_succeeded_is_not_run_again(context: Context) -> None:
    assert run_job(context, JOB, succeed, origin=Origin(trigger="manual", run_id=A)).state == "succeeded"
    again = run_job(context, JOB, never, origin=Origin(trigger="manual", run_id=A, attempt=2))
    assert (again.state, again.temporary) == ("skipped", False)
    assert state_of(context.history, A) == "succeeded"


def test_another_attempt_of_a_run_that_failed_is_run(context: Context) -> None:
    assert run_job(context, JOB, never, origin=Origin(trigger="manual", run_id=A)).state == "failed"
    again = run_job(context, JOB, succeed, origin=Origin(trigger="manual", run_id=A, attempt=2))
    assert again.state == "succeeded"


def test_a_dead_runs_lease_is_free_when_it_is_over_and_not_before(steps: Steps, clock: ManualClock) -> None:
    steps.take_free_lease(JOB, A)
    clock.advance(LIFE - TICK)
    refused = steps.take_lease(JOB, B)
    assert isinstance(refused, AtWork)
    assert refused.run_id == A
    clock.advance(TICK)
    steps.take_free_lease(JOB, B)


def test_a_renewed_lease_is_kept_and_a_lost_one_not_renewed(steps: Steps, clock: ManualClock) -> None:
    held = steps.take_free_lease(JOB, A)
    for _ in range(10):
        clock.advance(LIFE - TICK)
        assert steps.renew_lease(held)
    clock.advance(LIFE)
    steps.take_free_lease(JOB, B)
    assert not steps.renew_lease(held)
    assert not steps.give_back_lease(held)  # it is not ours any more
    refused = steps.take_lease(JOB, A)
    assert isinstance(refused, AtWork)
    assert refused.run_id == B


def test_a_lease_is_free_at_once_where_its_process_is_provably_gone(context: Context, steps: Steps) -> None:
    steps.take_lease(JOB, A, Place(mark=lambda: "标记", gone=never_asked))
    steps.start(A, JOB, SHELL)
    asked: list[tuple[str, int]] = []
    place = Place(mark=lambda: "另一个", gone=lambda mark, pid: not asked.append((mark, pid)))
    begun = RunBook(context.database, context.clock, place).begin(start_of(B), alone=True)
    assert begun.refusal is None
    assert begun.dead_runs == 1
    assert asked == [("标记", os.getpid())]
    assert state_of(context.history, A) == "interrupted"
    assert isinstance(steps.take_lease(JOB, A, Place(mark=str, gone=lambda _mark, _pid: False)), AtWork)


@pytest.mark.parametrize("mark", ["", "标记"])
def test_a_lease_is_kept_where_its_process_may_live(context: Context, steps: Steps, mark: str) -> None:
    steps.take_lease(JOB, A, Place(mark=lambda: mark, gone=never_asked))
    place = Place(mark=str, gone=(lambda _mark, _pid: False) if mark else never_asked)
    begun = RunBook(context.database, context.clock, place).begin(start_of(B), alone=True)
    assert begun.refusal is not None
    assert f"runs already as run {A} on {socket.gethostname()} since" in begun.refusal.why


def test_of_two_that_find_a_dead_process_one_gets_its_lease(context: Context, steps: Steps) -> None:
    steps.take_lease(JOB, A)
    with context.database.read() as connection:
        dead = leases.holder(connection, f"job:{JOB}")
    assert dead is not None
    taken = []
    for run_id in (B, "c" * 32):
        wish = Wish(name=f"job:{JOB}", owner=run_id, host="h", pid=1, life=LIFE)
        with context.database.write() as connection:
            taken.append(leases.take_from_the_dead(connection, wish, NOON, dead))
    assert [held is not None for held in taken] == [True, False]


def test_of_many_runs_at_once_one_works(context: Context) -> None:
    gate, release = threading.Barrier(3), threading.Event()
    done: list[JobRun] = []

    def hold(inner: Context) -> Outcome:
        assert release.wait(30)
        return succeed(inner)

    def deliver() -> None:
        gate.wait()
        done.append(run_job(context, JOB, hold, origin=SHELL))
        if len(done) == 2:  # the two that were turned away
            release.set()

    threads = [threading.Thread(target=deliver) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(run.state for run in done) == ["skipped", "skipped", "succeeded"]


def test_a_crashed_runs_row_is_closed_by_the_next_run_of_that_job_only(
    context: Context, steps: Steps, clock: ManualClock
) -> None:
    steps.start(A, JOB, SHELL)
    steps.start(B, "另一个", SHELL)
    clock.advance(DEAD_AFTER)
    assert steps.close_dead(JOB) == 0
    clock.advance(TICK)
    run_job(context, JOB, succeed, origin=SHELL)
    assert state_of(context.history, A) == "interrupted"
    assert state_of(context.history, B) == "running"


def test_a_run_that_shows_life_is_not_closed_by_another(context: Context, steps: Steps, clock: ManualClock) -> None:
    steps.start(A, JOB, SHELL)
    clock.advance(DEAD_AFTER)
    assert steps.show_life(A)
    clock.advance(DEAD_AFTER)
    assert steps.close_dead(JOB) == 0
    assert state_of(context.history, A) == "running"


def test_a_closed_or_unknown_run_has_no_heartbeat(context: Context, steps: Steps) -> None:
    run_job(context, JOB, succeed, origin=Origin(trigger="manual", run_id=A))
    assert not steps.show_life(A)
    assert not steps.show_life(B)
    assert state_of(context.history, A) == "succeeded"


def test_a_run_thought_dead_still_writes_its_own_end(context: Context, steps: Steps, clock: ManualClock) -> None:
    def be_frozen(inner: Context) -> Outcome:
        clock.advance(DEAD_AFTER + TICK)
        assert steps.close_dead(JOB) == 1
        return succeed(inner)

    run_job(context, JOB, be_frozen, origin=Origin(trigger="manual", run_id=A))
    record = context.history.get(A)
    assert record is not None
    assert (record.state, record.error) == ("succeeded", None)


def test_a_heartbeat_tells_what_is_lost_and_goes_on_over_a_dead_database() -> None:
    beats: list[int] = []
    enough = threading.Event()

    def renew() -> list[str]:
        beats.append(1)
        if len(beats) == 2:
            raise DatabaseUnavailable("网络断了")
        if len(beats) == 4:
            enough.set()
        return ["slot"] if len(beats) == 1 else []

    with structlog.testing.capture_logs() as logs, Heartbeat(renew, every_s=0.001):
        assert enough.wait(30)
    told = [(line["event"], line.get("what")) for line in logs]
    assert told == [("lease_lost", "slot"), ("heartbeat_failed", None)]


def test_a_run_that_is_over_before_its_first_beat_costs_no_thread() -> None:
    def renew() -> list[str]:
        raise AssertionError("nothing was due")

    with Heartbeat(renew):
        assert "heartbeat" not in {thread.name for thread in threading.enumerate()}


def test_the_thread_of_a_heartbeat_ends_with_its_run() -> None:
    beaten = threading.Event()

    def renew() -> list[str]:
        beaten.set()
        return []

    with Heartbeat(renew, every_s=0.001):
        assert beaten.wait(30)
        assert "heartbeat" in {thread.name for thread in threading.enumerate()}
    assert "heartbeat" not in {thread.name for thread in threading.enumerate()}


def test_a_beat_renews_all_a_run_holds_and_drops_what_is_lost(
    context: Context, steps: Steps, clock: ManualClock
) -> None:
    Ledger(context.database).plan([(JOB, NOON)], NOON)
    book = RunBook(context.database, clock)
    origin = Origin(trigger="schedule", slot=NOON)
    begun = book.begin(Start(job=JOB, run_id=A, origin=origin, at=NOON), alone=True, owner="工人一")
    renew = book.renewal(begun)
    for _ in range(5):
        clock.advance(LIFE - TICK)
        assert renew() == []
    clock.advance(LIFE - TICK)
    slot = Ledger(context.database).get(JOB, NOON)
    assert slot is not None
    assert slot.lease_until == clock.now() + TICK
    assert steps.close_dead(JOB) == 0
    assert isinstance(steps.take_lease(JOB, B), AtWork)
    clock.advance(2 * TICK)
    assert Ledger(context.database).repair(clock.now()).offered == 1
    assert renew() == ["slot"]
    clock.advance(LIFE - TICK)
    assert renew() == []
    assert isinstance(steps.take_lease(JOB, B), AtWork)


def test_a_run_whose_start_could_not_be_recorded_leaves_its_row_when_the_database_is_back(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    def be_away(*_args: object, **_facts: object) -> None:
        raise DatabaseUnavailable("网络断了")

    monkeypatch.setattr(RunBook, "begin", be_away)
    done = run_job(context, JOB, succeed, origin=Origin(trigger="manual", run_id=A))
    assert done.state == "succeeded"
    record = context.history.get(A)
    assert record is not None
    assert (record.state, record.started_at, record.trigger) == ("succeeded", NOON, "manual")


def never_asked(_mark: str, _pid: int) -> bool:
    raise AssertionError("nobody is to be judged here")


def start_of(run_id: str) -> Start:
    return Start(job=JOB, run_id=run_id, origin=SHELL, at=NOON)


def state_of(history: RunHistory, run_id: str) -> str:
    record = history.get(run_id)
    assert record is not None
    return record.state
