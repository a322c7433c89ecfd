"""A main loop that stands still is told by how long it does; one that has a reason is not."""

import threading
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from celery.bootsteps import CLOSE, RUN, TERMINATE
from celery.concurrency import prefork, solo
from celery.utils.log import in_sighandler
from celery.worker import state
from structlog.testing import capture_logs

from app.core.clock import ManualClock
from tasks import main_loop
from tasks.main_loop import HANGS_AFTER_S, MainLoop

_HOURS = timedelta(hours=3)


class Consumer:
    """What a main loop is asked about: connected, serving, with children."""

    def __init__(self) -> None:
        self.connection: object = object()
        self.blueprint = SimpleNamespace(state=RUN)
        self.pool = prefork.TaskPool.__new__(prefork.TaskPool)


@pytest.fixture
def consumer() -> Consumer:
    return Consumer()


@pytest.fixture
def loop(consumer: Consumer, clock: ManualClock) -> MainLoop:
    return MainLoop(consumer, clock.monotonic)


@pytest.fixture
def running_job(monkeypatch: pytest.MonkeyPatch) -> set[Any]:
    """The jobs that Celery has begun and not ended."""
    jobs: set[Any] = {"任务"}
    monkeypatch.setattr(state, "active_requests", jobs)
    return jobs


def test_a_loop_stands_still_since_it_last_turned(loop: MainLoop, clock: ManualClock) -> None:
    clock.advance(timedelta(seconds=4))
    assert loop.still_s() == 4
    loop.turned()
    assert loop.still_s() == 0
    clock.advance(_HOURS)
    assert loop.still_s() == _HOURS.total_seconds()


def test_asking_does_not_make_a_loop_turn(loop: MainLoop, clock: ManualClock) -> None:
    for _ in range(3):
        clock.advance(timedelta(seconds=30))
        loop.still_s()
    assert loop.still_s() == 90


def test_a_worker_that_looks_for_its_broker_does_not_hang(
    loop: MainLoop, consumer: Consumer, clock: ManualClock
) -> None:
    consumer.connection = None
    clock.advance(_HOURS)
    assert loop.still_s() == 0


def test_after_a_reason_is_gone_the_loop_has_the_time_it_needs_to_turn(
    loop: MainLoop, consumer: Consumer, clock: ManualClock
) -> None:
    consumer.connection = None
    clock.advance(_HOURS)
    loop.still_s()
    clock.advance(timedelta(seconds=30))
    consumer.connection = object()
    assert loop.still_s() == 30


@pytest.mark.parametrize("ending", [CLOSE, TERMINATE])
def test_a_worker_that_was_told_to_end_may_wait_for_its_jobs(
    loop: MainLoop, consumer: Consumer, clock: ManualClock, ending: int
) -> None:
    consumer.blueprint.state = ending
    clock.advance(_HOURS)
    assert loop.still_s() == 0


def test_a_soft_shutdown_waits_within_the_handler_of_its_signal(loop: MainLoop, clock: ManualClock) -> None:
    clock.advance(_HOURS)
    with in_sighandler():
        assert loop.still_s() == 0


@pytest.mark.usefixtures("running_job")
def test_a_worker_without_children_is_busy_with_its_job(loop: MainLoop, consumer: Consumer, clock: ManualClock) -> None:
    consumer.pool = solo.TaskPool()
    clock.advance(_HOURS)
    assert loop.still_s() == 0


def test_a_worker_without_children_that_has_no_job_either_hangs(
    loop: MainLoop, consumer: Consumer, clock: ManualClock, running_job: set[Any]
) -> None:
    consumer.pool = solo.TaskPool()
    running_job.clear()
    clock.advance(_HOURS)
    assert loop.still_s() == _HOURS.total_seconds()


@pytest.mark.usefixtures("running_job")
def test_a_job_in_a_child_is_no_reason_for_its_parent_to_stand_still(loop: MainLoop, clock: ManualClock) -> None:
    clock.advance(_HOURS)
    assert loop.still_s() == _HOURS.total_seconds()


def test_where_the_loop_stands_is_logged_once_and_that_it_goes_on(loop: MainLoop, clock: ManualClock) -> None:
    with capture_logs() as logs:
        clock.advance(timedelta(seconds=HANGS_AFTER_S))
        loop.still_s()
        assert logs == []
        for _ in range(3):
            clock.advance(timedelta(seconds=1))
            loop.still_s()
        loop.turned()
        loop.still_s()
    assert [line["event"] for line in logs] == ["main_loop_stands_still", "main_loop_turns_again"]
    assert logs[0]["seconds"] == HANGS_AFTER_S + 1


def test_it_is_the_line_of_the_thread_in_which_the_loop_was_made(clock: ManualClock) -> None:
    at_work, end = threading.Event(), threading.Event()
    made: list[MainLoop] = []

    def stand_still() -> None:
        made.append(MainLoop(Consumer(), clock.monotonic))
        at_work.set()
        end.wait(10)

    thread = threading.Thread(target=stand_still)
    thread.start()
    at_work.wait(10)
    clock.advance(_HOURS)
    with capture_logs() as logs:
        made[0].still_s()
    end.set()
    thread.join()
    assert any(line.endswith(" stand_still") for line in logs[0]["at"])
    assert len(logs[0]["at"]) <= main_loop._FRAMES
