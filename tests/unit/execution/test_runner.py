"""One run: recorded, timed, its errors told once and never raised."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from app.context import Context, make_context
from app.core.clock import ManualClock
from app.core.errors import DatabaseUnavailable, ExitCode, Locked, RootRefused
from app.execution.runner import Outcome, plain, run_job
from app.schedule.runs import Origin

SHELL = Origin(trigger="shell")


@pytest.fixture
def context(clock: ManualClock) -> Iterator[Context]:
    made = make_context(clock=clock)
    yield made
    made.database.dispose()


def test_a_run_leaves_a_row_with_its_times_and_its_result(context: Context, clock: ManualClock) -> None:
    def work(_inner: Context) -> Outcome:
        clock.advance(timedelta(seconds=7))
        return Outcome(result={"success": True, "类别": "物流查询错误"}, report=Path("/r.json"))

    slot = clock.now() - timedelta(minutes=1)
    done = run_job(context, "disk-space-check", work, origin=Origin(trigger="schedule", slot=slot, queue="file"))
    record = context.history.get(done.run_id)
    assert record is not None
    assert (record.state, record.trigger, record.queue, record.seconds) == ("succeeded", "schedule", "file", 7.0)
    assert record.finished_at == clock.now()
    assert record.slot == slot
    assert record.result == {"success": True, "类别": "物流查询错误"}
    assert record.report_path == "/r.json"


def test_a_job_works_on_its_slot_and_not_on_the_present(context: Context, clock: ManualClock) -> None:
    seen = []
    slot = clock.now() - timedelta(hours=30)
    run_job(
        context,
        "x",
        lambda inner: (seen.append(inner.now), Outcome(result={"success": True}))[1],
        origin=Origin(trigger="schedule", slot=slot),
    )
    assert seen == [slot]
    assert context.now == clock.now()


@pytest.mark.parametrize(
    ("error", "state", "code", "temporary"),
    [
        (RootRefused("根目录"), "failed", ExitCode.HELD, False),
        (DatabaseUnavailable("away"), "failed", ExitCode.FAILED, True),
        (Locked("process 5 cleans"), "skipped", ExitCode.LOCKED, False),
        (ZeroDivisionError("redis://:geheim@h"), "failed", ExitCode.FAILED, False),
    ],
)
def test_what_a_job_raises_becomes_its_result(
    context: Context, error: Exception, state: str, code: ExitCode, *, temporary: bool
) -> None:
    def work(_inner: Context) -> Outcome:
        raise error

    done = run_job(context, "x", work, origin=SHELL)
    assert (done.state, done.exit_code, done.temporary) == (state, code, temporary)
    assert "geheim" not in json.dumps(done.result)
    record = context.history.get(done.run_id)
    assert record is not None
    assert record.state == state


def test_a_second_delivery_takes_over_the_row_of_the_first(context: Context) -> None:
    origin = Origin(trigger="manual", run_id="a" * 32)
    for _ in range(2):
        run_job(context, "x", lambda _inner: Outcome(result={"success": True}), origin=origin)
    assert [record.id for record in context.history.recent()] == ["a" * 32]


def test_a_dead_database_stops_no_job_that_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u@127.0.0.1:1/none")
    context = make_context()
    done = run_job(context, "x", lambda _inner: Outcome(result={"success": True}), origin=SHELL)
    assert (done.state, done.result) == ("succeeded", {"success": True})
    context.database.dispose()


def test_what_a_run_found_is_handed_over_with_its_job_and_told_in_its_result(context: Context) -> None:
    handed = []

    def hand_over(inner: Context, job: str, outcome: Outcome) -> dict[str, object]:
        handed.append((inner.run_id, job, outcome.observed))
        return {"alerts": 1}

    found = Outcome(result={"success": True}, observed={"disk": {"mounts": []}})
    done = run_job(context, "x", lambda _i: found, origin=SHELL, hand_over=hand_over)
    assert handed == [(done.run_id, "x", {"disk": {"mounts": []}})]
    assert done.result == {"success": True, "alerts": 1}


def test_results_hold_only_what_json_has() -> None:
    value = {"nan": float("nan"), "path": Path("/数据"), "pair": (1, 2), 3: {"inner": float("inf")}}
    assert plain(value) == {"nan": None, "path": "/数据", "pair": [1, 2], "3": {"inner": None}}


def test_latest_gives_the_newest_run_of_each_job(context: Context, clock: ManualClock) -> None:
    for name in ("a", "a", "b"):
        clock.advance(timedelta(seconds=1))
        last = run_job(context, name, lambda _inner: Outcome(result={"success": True}), origin=SHELL)
    latest = context.history.latest()
    assert set(latest) == {"a", "b"}
    assert latest["b"].id == last.run_id
    assert len(context.history.recent(job="a")) == 2
