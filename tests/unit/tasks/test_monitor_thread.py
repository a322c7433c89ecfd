"""The monitor's thread: turns one after another, forks kept out of them, an end that gives everything back."""

import os
import threading
from collections.abc import Iterator

import pytest

from app.context import Context, make_context
from app.core.errors import SettingsError
from app.settings import load
from app.watch.watchman import WorkerFacts
from tasks import monitor_thread
from tasks.monitor_thread import MonitorThread

FACTS = WorkerFacts(name="night@vm", queues=("file",), still_s=lambda: 0.0)


class FakeWatchman:
    """Counts its turns; `ended` once it gave everything back."""

    def __init__(self, turns: int) -> None:
        self.enough = threading.Event()
        self.ended = False
        self._left = turns

    def turn(self) -> bool:
        self._left -= 1
        if not self._left:
            self.enough.set()
        return True

    def end(self) -> None:
        self.ended = True


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.setenv("GENGFU_HEALTH__INTERVAL_S", "1")
    made = make_context()
    yield made
    made.database.dispose()


@pytest.fixture(autouse=True)
def none_left() -> Iterator[None]:
    yield
    monitor_thread.stop()
    assert monitor_thread._running == []


def exit_code_of(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_it_takes_its_first_turn_at_once_and_gives_everything_back_at_its_end(context: Context) -> None:
    watchman = FakeWatchman(turns=2)
    thread = MonitorThread(watchman, context)  # type: ignore[arg-type]
    thread.start()
    assert watchman.enough.wait(10)
    assert not watchman.ended
    thread.stop()
    assert watchman.ended


def test_no_worker_signs_more_rarely_than_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONITORING_INTERVAL", "60")
    assert load().health.interval_s == 60
    monkeypatch.setenv("MONITORING_INTERVAL", "61")
    with pytest.raises(SettingsError, match="interval_s"):
        load()


def test_a_process_has_one_thread_at_most() -> None:
    monitor_thread.start(worker=FACTS)
    monitor_thread.start()
    assert len(monitor_thread._running) == 1


def test_alerts_that_are_switched_off_need_no_monitor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERT_ENABLED", "false")
    monitor_thread.start(worker=FACTS)
    assert monitor_thread._running == []


def test_a_forked_child_knows_nothing_of_its_parents_thread() -> None:
    monitor_thread.start(worker=FACTS)
    if not (child := os.fork()):
        monitor_thread.forget()
        os._exit(7 if not monitor_thread._running else 1)
    assert exit_code_of(child) == 7
    assert len(monitor_thread._running) == 1


def test_a_fork_waits_for_the_end_of_a_turn() -> None:
    at_work, forked, order = threading.Event(), threading.Event(), []

    def turn() -> None:
        with monitor_thread._between_forks:
            at_work.set()
            # Long enough for the fork to come, if it did not wait.
            forked.wait(0.3)
            order.append("turn")

    thread = threading.Thread(target=turn)
    thread.start()
    at_work.wait(10)
    if not (child := os.fork()):
        os._exit(0)
    order.append("fork")
    forked.set()
    thread.join()
    assert exit_code_of(child) == 0
    assert order == ["turn", "fork"]


def test_a_child_may_take_a_turn_and_fork_itself() -> None:
    if not (child := os.fork()):
        with monitor_thread._between_forks:
            pass
        if not (grandchild := os.fork()):
            os._exit(3)
        os._exit(exit_code_of(grandchild))
    assert exit_code_of(child) == 3


def test_a_turn_that_does_not_end_keeps_no_child_from_being_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor_thread, "_LONGEST_WAIT_S", 0.01)
    at_work, end = threading.Event(), threading.Event()

    def turn() -> None:
        with monitor_thread._between_forks:
            at_work.set()
            end.wait(10)

    thread = threading.Thread(target=turn)
    thread.start()
    at_work.wait(10)
    if not (child := os.fork()):
        os._exit(5)
    end.set()
    thread.join()
    assert exit_code_of(child) == 5
