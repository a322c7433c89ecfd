"""One run of a job at a time, told by the lease `job:NAME`; on both databases."""

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
import structlog

from app.context import Context, make_context
from app.core.clock import ManualClock
from app.core.errors import DatabaseUnavailable, ExitCode
from app.core.migrate import upgrade
from app.runner import JobRun, Outcome, run_job
from app.schedule.heartbeat import Heartbeat
from app.schedule.runs import DEAD_AFTER, Origin, RunHistory
from app.schedule.single_flight import LIFE, RunsAlready, SingleFlight
from app.settings import load
from tests.conftest import NOON

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
def flights(context: Context) -> SingleFlight:
    return SingleFlight(context.database, context.clock)


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


def test_a_dead_runs_lease_is_free_when_it_is_over_and_not_before(flights: SingleFlight, clock: ManualClock) -> None:
    flights.take(JOB, A)
    clock.advance(LIFE - TICK)
    with pytest.raises(RunsAlready, match=A):
        flights.take(JOB, B)
    clock.advance(TICK)
    flights.take(JOB, B)


def test_a_renewed_lease_is_kept_and_a_lost_one_not_renewed(flights: SingleFlight, clock: ManualClock) -> None:
    held = flights.take(JOB, A)
    for _ in range(10):
        clock.advance(LIFE - TICK)
        assert flights.renew(held)
    clock.advance(LIFE)
    flights.take(JOB, B)
    assert not flights.renew(held)
    flights.give_back(held)  # gives nothing back: it is not ours any more
    with pytest.raises(RunsAlready, match=B):
        flights.take(JOB, A)


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


def test_a_crashed_runs_row_is_closed_by_the_next_run_of_that_job_only(context: Context, clock: ManualClock) -> None:
    context.history.started(A, JOB, SHELL)
    context.history.started(B, "另一个", SHELL)
    clock.advance(DEAD_AFTER)
    assert context.history.close_dead(JOB) == 0
    clock.advance(TICK)
    run_job(context, JOB, succeed, origin=SHELL)
    assert state_of(context.history, A) == "interrupted"
    assert state_of(context.history, B) == "running"


def test_a_run_that_shows_life_is_not_closed_by_another(context: Context, clock: ManualClock) -> None:
    context.history.started(A, JOB, SHELL)
    clock.advance(DEAD_AFTER)
    assert context.history.heartbeat(A)
    clock.advance(DEAD_AFTER)
    assert context.history.close_dead(JOB) == 0
    assert state_of(context.history, A) == "running"


def test_a_closed_or_unknown_run_has_no_heartbeat(context: Context) -> None:
    run_job(context, JOB, succeed, origin=Origin(trigger="manual", run_id=A))
    assert not context.history.heartbeat(A)
    assert not context.history.heartbeat(B)
    assert state_of(context.history, A) == "succeeded"


def test_a_run_thought_dead_still_writes_its_own_end(context: Context, clock: ManualClock) -> None:
    def be_frozen(inner: Context) -> Outcome:
        clock.advance(DEAD_AFTER + TICK)
        assert inner.history.close_dead(JOB) == 1
        return succeed(inner)

    run_job(context, JOB, be_frozen, origin=Origin(trigger="manual", run_id=A))
    record = context.history.get(A)
    assert record is not None
    assert (record.state, record.error) == ("succeeded", None)


def test_a_heartbeat_drops_what_is_lost_and_goes_on_with_the_rest() -> None:
    lost, alive, enough = [], [], threading.Event()

    def lose() -> bool:
        lost.append(1)
        return False

    def live() -> bool:
        alive.append(1)
        if len(alive) == 3:
            enough.set()
        if len(alive) == 2:
            raise DatabaseUnavailable("网络断了")
        return True

    with structlog.testing.capture_logs() as logs, Heartbeat([lose, live], every_s=0.001) as heartbeat:
        assert enough.wait(30)
    assert heartbeat.lost
    assert len(lost) == 1
    assert {"lease_lost", "heartbeat_failed"} <= {line["event"] for line in logs}


def state_of(history: RunHistory, run_id: str) -> str:
    record = history.get(run_id)
    assert record is not None
    return record.state
