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
from app.runner import JobRun, Outcome, run_job
from app.schedule.ledger import LEASE, MOST_ATTEMPTS, Ledger, Slot
from app.schedule.runs import Origin
from app.schedule.single_flight import SingleFlight
from app.settings import load
from app.slots import run_slot
from tests.conftest import NOON

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
        assert ledger.claim(JOB, DUE, "工人二", "b" * 32, clock.now()) is not None
        return succeed(inner)

    with structlog.testing.capture_logs() as logs:
        work(context, be_frozen)
    assert "slot_was_taken_over" in [line["event"] for line in logs]
    assert (slot_of(context).state, slot_of(context).owner) == ("running", "工人二")


def test_a_worker_killed_between_its_run_and_its_slot_leaves_work_that_is_not_done_again(
    context: Context, clock: ManualClock
) -> None:
    ledger = Ledger(context.database)
    assert ledger.claim(JOB, DUE, "工人一", "a" * 32, clock.now()) is not None
    run_job(context, JOB, succeed, origin=Origin(trigger="schedule", slot=DUE, run_id="a" * 32))
    clock.advance(LEASE + timedelta(seconds=1))
    assert ledger.repair(clock.now()).offered == 1
    assert "a" * 32 in work(context, never).result["skipped"]
    assert slot_of(context).state == "succeeded"


def test_a_worker_killed_within_its_run_leaves_work_that_is_done_again(context: Context, clock: ManualClock) -> None:
    ledger = Ledger(context.database)
    assert ledger.claim(JOB, DUE, "工人一", "a" * 32, clock.now()) is not None
    SingleFlight(context.database, clock).take(JOB, "a" * 32)
    context.history.started("a" * 32, JOB, Origin(trigger="schedule", slot=DUE))
    clock.advance(LEASE + timedelta(seconds=1))
    assert ledger.repair(clock.now()).offered == 1
    assert work(context, succeed).state == "succeeded"
    assert slot_of(context).state == "succeeded"
    crashed = context.history.get("a" * 32)
    assert crashed is not None
    assert crashed.state == "interrupted"


def test_a_slot_that_meets_another_run_of_the_job_waits_for_it(context: Context, clock: ManualClock) -> None:
    flights = SingleFlight(context.database, clock)
    held = flights.take(JOB, "a" * 32)
    met = work(context, never)
    assert met.state == "skipped"
    assert "a" * 32 in met.result["skipped"]
    assert slot_of(context).state == "planned"
    flights.give_back(held)
    clock.advance(timedelta(seconds=30))
    assert work(context, succeed).state == "succeeded"
    assert slot_of(context).state == "succeeded"


def test_a_slot_that_never_finds_the_job_free_is_closed_as_skipped(context: Context, clock: ManualClock) -> None:
    flights = SingleFlight(context.database, clock)
    for _ in range(MOST_ATTEMPTS):
        assert slot_of(context).state == "planned"
        held = flights.take(JOB, "a" * 32)
        work(context, never)
        flights.give_back(held)
    assert slot_of(context).state == "skipped"


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
