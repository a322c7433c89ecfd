"""A slot worked off by a worker: claimed once, closed once, given back when its failure passes; on both databases."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
import structlog

from app.context import Context, make_context
from app.core.clock import ManualClock
from app.core.database import Database, DatabaseSettings
from app.core.errors import DatabaseBusy, DatabaseUnavailable, ExitCode, RootRefused
from app.core.migrate import upgrade
from app.execution.runner import JobRun, Outcome
from app.execution.slots import run_slot
from app.schedule.ledger import LEASE, MOST_ATTEMPTS, Ledger, Slot
from app.schedule.run_book import RunBook
from app.schedule.run_rows import Start
from app.schedule.runs import Origin
from app.schedule.single_flight import Flight
from app.settings import load
from tests.conftest import NOON
from tests.steps import Steps

JOB = "generate-daily-statistics"
DUE = NOON - timedelta(minutes=1)


@pytest.fixture
def context(database_url: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    made = make_context(load(), clock)
    upgrade(made.database)
    Ledger(made.database).plan([(JOB, DUE)], DUE)
    yield made
    made.database.dispose()


def work(context: Context, use_case: Callable[[Context], Outcome], *, owner: str = "工人一") -> JobRun:
    """What a worker does with the slot's message."""
    origin = Origin(trigger="schedule", slot=DUE, worker=owner)
    return run_slot(context, JOB, use_case, due_at=DUE, origin=origin, owner=owner)


def succeed(_context: Context) -> Outcome:
    return Outcome(result={"success": True, "类别": "物流查询错误"})


def slot_of(context: Context) -> Slot:
    slot = Ledger(context.database).get(JOB, DUE)
    assert slot is not None
    return slot


def test_an_error_that_no_database_can_store_as_it_is_still_ends_the_run(context: Context) -> None:
    def fail(_context: Context) -> Outcome:
        raise ValueError("图片\0损坏: \udcff.png")

    done = work(context, fail)
    record = context.history.get(done.run_id)
    assert record is not None
    assert (record.state, slot_of(context).state) == ("failed", "failed")
    assert record.error == r"图片\x00损坏: \udcff.png"
    assert record.result == {"success": False, "error": record.error, "error_type": "ValueError"}


def test_a_slot_is_run_once_and_closed_with_its_run(context: Context) -> None:
    done = work(context, succeed)
    slot = slot_of(context)
    assert (slot.state, slot.run_id, slot.lease_until) == ("succeeded", done.run_id, None)
    record = context.history.get(done.run_id)
    assert record is not None
    assert (record.state, record.slot) == ("succeeded", DUE)


def test_a_second_delivery_leaves_without_a_run(context: Context) -> None:
    first = work(context, succeed)
    second = work(context, never)
    assert second.state == "skipped"
    assert DUE.isoformat() in second.result["skipped"]
    assert [record.id for record in context.history.recent()] == [first.run_id]


def test_a_delivery_while_the_first_is_at_work_leaves_too(context: Context) -> None:
    def work_twice(inner: Context) -> Outcome:
        assert work(context, never, owner="工人二").state == "skipped"
        return succeed(inner)

    assert work(context, work_twice).state == "succeeded"
    assert len(context.history.recent()) == 1


@pytest.mark.parametrize("error", [RootRefused("根目录没有标记"), ZeroDivisionError("x")])
def test_a_permanent_failure_closes_the_slot_failed(context: Context, error: Exception) -> None:
    assert work(context, raising(error)).state == "failed"
    assert (slot_of(context).state, slot_of(context).attempt) == ("failed", 1)


def test_a_passing_failure_is_tried_again_after_a_growing_pause_until_the_last_attempt(
    context: Context, clock: ManualClock
) -> None:
    ledger = Ledger(context.database)
    pauses = []
    for _ in range(MOST_ATTEMPTS - 1):
        assert work(context, raising(DatabaseBusy("锁"))).temporary
        pauses.append(pause_of(ledger, clock))
    assert pauses == [30, 60, 120, 240]
    work(context, raising(DatabaseBusy("锁")))
    assert (slot_of(context).state, slot_of(context).attempt) == ("failed", MOST_ATTEMPTS)
    assert len(context.history.recent()) == MOST_ATTEMPTS


def test_a_slot_nobody_planned_does_nothing_and_says_so(context: Context) -> None:
    later = DUE + timedelta(days=1)
    origin = Origin(trigger="schedule", slot=later)
    done = run_slot(context, JOB, never, due_at=later, origin=origin, owner="a")
    assert (done.state, done.exit_code, done.result["success"]) == ("skipped", ExitCode.OK, True)
    assert context.history.recent() == []
    assert Ledger(context.database).get(JOB, later) is None


def test_a_worker_that_lost_its_claim_is_told_and_closes_nothing(context: Context, clock: ManualClock) -> None:
    def be_frozen(inner: Context) -> Outcome:
        clock.advance(LEASE + timedelta(seconds=1))
        ledger = Ledger(context.database)
        assert ledger.repair(clock.now()).offered == 1
        assert Steps(context.database, clock).claim(JOB, DUE, "工人二", "b" * 32) is not None
        return succeed(inner)

    with structlog.testing.capture_logs() as logs:
        work(context, be_frozen)
    assert "slot_was_taken_over" in [line["event"] for line in logs]
    assert (slot_of(context).state, slot_of(context).owner) == ("running", "工人二")


def test_a_worker_that_came_to_a_good_end_after_its_claim_was_over_leaves_work_that_is_not_done_again(
    context: Context, clock: ManualClock
) -> None:
    def be_frozen(inner: Context) -> Outcome:
        clock.advance(LEASE + timedelta(seconds=1))
        assert Ledger(context.database).repair(clock.now()).offered == 1
        return succeed(inner)

    first = work(context, be_frozen)
    assert slot_of(context).state == "planned"
    assert first.run_id in work(context, never).result["skipped"]
    assert slot_of(context).state == "succeeded"
    assert [record.id for record in context.history.recent()] == [first.run_id]


def test_a_worker_killed_within_its_run_leaves_work_that_is_done_again(context: Context, clock: ManualClock) -> None:
    killed_at_work(context, clock, "a" * 32)
    clock.advance(LEASE + timedelta(seconds=1))
    assert Ledger(context.database).repair(clock.now()).offered == 1
    assert work(context, succeed).state == "succeeded"
    assert slot_of(context).state == "succeeded"
    crashed = context.history.get("a" * 32)
    assert crashed is not None
    assert crashed.state == "interrupted"


def test_a_run_of_a_slot_sent_again_tells_its_attempt(context: Context, clock: ManualClock) -> None:
    first = work(context, raising(DatabaseBusy("锁")))
    clock.advance(timedelta(seconds=30))
    second = work(context, succeed)
    attempts = [record.attempt for run in (first, second) if (record := context.history.get(run.run_id))]
    assert attempts == [1, 2]


def test_a_process_told_to_end_gives_back_all_it_held(context: Context, clock: ManualClock) -> None:
    with pytest.raises(SystemExit):
        work(context, raising(SystemExit(0)))
    slot = slot_of(context)
    assert (slot.state, slot.owner, slot.lease_until) == ("planned", None, None)
    assert [record.state for record in context.history.recent()] == ["interrupted"]
    clock.advance(timedelta(seconds=30))
    assert work(context, succeed).state == "succeeded"


def test_what_is_refused_at_the_claim_leaves_nothing_behind(context: Context, clock: ManualClock) -> None:
    """A closed slot is not claimed, and the job's lease not taken for it."""
    work(context, succeed)
    before = slot_of(context)
    work(context, never)
    assert slot_of(context) == before
    assert isinstance(Steps(context.database, clock).take_lease(JOB, "c" * 32), Flight)


def test_a_slot_that_meets_another_run_of_the_job_waits_for_it(context: Context, clock: ManualClock) -> None:
    steps = Steps(context.database, clock)
    held = steps.take_free_lease(JOB, "a" * 32)
    met = work(context, never)
    assert met.state == "skipped"
    assert "a" * 32 in met.result["skipped"]
    assert slot_of(context).state == "planned"
    assert [record.state for record in context.history.recent()] == ["skipped"]
    steps.give_back_lease(held)
    clock.advance(timedelta(seconds=30))
    assert work(context, succeed).state == "succeeded"
    assert slot_of(context).state == "succeeded"


def test_a_slot_waits_for_its_job_to_be_free_however_often_it_is_sent(context: Context, clock: ManualClock) -> None:
    steps = Steps(context.database, clock)
    held = steps.take_free_lease(JOB, "a" * 32)
    for _ in range(MOST_ATTEMPTS + 2):
        work(context, never)
        assert (slot_of(context).state, slot_of(context).attempt) == ("planned", 0)
    steps.give_back_lease(held)
    assert work(context, succeed).state == "succeeded"
    assert (slot_of(context).state, slot_of(context).attempt) == ("succeeded", 1)


def test_a_database_gone_at_the_claim_raises_and_runs_nothing(context: Context) -> None:
    context.prepare_own_tables()
    gone = Database("postgresql://u@127.0.0.1:1/none", DatabaseSettings())
    with pytest.raises(DatabaseUnavailable):
        work(replace(context, database=gone), never)
    assert slot_of(context).state == "planned"


def test_of_two_workers_with_the_same_message_one_runs(context: Context) -> None:
    done: list[JobRun] = []
    gate = threading.Barrier(2)

    def deliver(owner: str) -> None:
        gate.wait()
        done.append(work(context, succeed, owner=owner))

    workers = [threading.Thread(target=deliver, args=(owner,)) for owner in ("工人一", "工人二")]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    assert sorted(run.state for run in done) == ["skipped", "succeeded"]
    assert len(context.history.recent()) == 1


def killed_at_work(context: Context, clock: ManualClock, run_id: str) -> None:
    """All that a worker's run holds, and nobody who works on it."""
    origin = Origin(trigger="schedule", slot=DUE, run_id=run_id)
    start = Start(job=JOB, run_id=run_id, origin=origin, at=clock.now())
    assert RunBook(context.database, clock).begin(start, alone=True, owner="工人一").recorded


def never(_context: Context) -> Outcome:
    raise AssertionError("this must not run")


def raising(error: Exception) -> Callable[[Context], Outcome]:
    def use_case(_context: Context) -> Outcome:
        raise error

    return use_case


def pause_of(ledger: Ledger, clock: ManualClock) -> int:
    """Advance the clock until the slot is due again and return the seconds that took."""
    seconds = 0
    while not ledger.due(clock.now()):
        clock.advance(timedelta(seconds=1))
        seconds += 1
        assert seconds < 1000
    return seconds
