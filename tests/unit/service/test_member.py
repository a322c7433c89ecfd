import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.core.clock import ManualClock
from app.service.children import Child
from app.service.member import Backoff, ChildPhase, Member

NOW = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


def member(tmp_path: Path, clock: ManualClock, **fields: object) -> Member:
    given = {"name": "worker", "command": [sys.executable, "-c", ""], "log_file": tmp_path / "log", **fields}
    return Member(Child(**given), clock, Backoff())  # type: ignore[arg-type]


def live(one: Member, clock: ManualClock, seconds: float) -> float:
    """Let a member live and die once; return the delay before its next start."""
    one.start()
    clock.advance(timedelta(seconds=seconds))
    one.kill()
    one.wait_dead()
    return one.back_off()


def test_delays_double_up_to_the_longest() -> None:
    assert [Backoff().delay_s(n) for n in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]
    assert Backoff().delay_s(10_000) == 30


def test_a_life_just_short_of_a_minute_keeps_the_record(tmp_path: Path, clock: ManualClock) -> None:
    one = member(tmp_path, clock)
    assert [live(one, clock, seconds) for seconds in (0, 0, 59.9)] == [1, 2, 4]


def test_a_life_of_a_minute_clears_the_record(tmp_path: Path, clock: ManualClock) -> None:
    one = member(tmp_path, clock)
    assert [live(one, clock, seconds) for seconds in (0, 0, 60)] == [1, 2, 1]


def test_the_next_start_is_due_when_the_delay_is_over(tmp_path: Path, clock: ManualClock) -> None:
    one = member(tmp_path, clock)
    delay = live(one, clock, 5)
    assert one.phase is ChildPhase.BACKOFF
    assert one.next_look_at(0.05) == one.due_at == clock.monotonic() + delay


def test_a_child_is_late_from_its_limit_on_and_not_before(tmp_path: Path, clock: ManualClock) -> None:
    one = member(tmp_path, clock, ready=lambda: False, ready_within_s=10)
    one.start()
    clock.advance(timedelta(seconds=9.9))
    one.check_ready()
    assert not one.late
    clock.advance(timedelta(seconds=0.1))
    one.check_ready()
    assert one.late
    assert not one.ever_ready
    one.kill()
    one.wait_dead()


def test_the_state_of_a_running_child_is_told_in_plain_values(tmp_path: Path, clock: ManualClock) -> None:
    one = member(tmp_path, clock)
    assert one.state().pid is None
    assert one.state().phase == "pending"
    one.start()
    one.check_ready()
    state = one.state()
    assert (state.phase, state.pid, state.restarts) == ("running", one.pid, 0)
    assert state.since == NOW.isoformat()
    one.kill()
    one.wait_dead()
    one.start()
    assert one.state().restarts == 1
    one.kill()
    one.wait_dead()


def test_only_one_stop_signal_is_sent_and_the_kill_comes_when_the_grace_is_over(
    tmp_path: Path, clock: ManualClock
) -> None:
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); signal.pause()"
    )
    one = member(tmp_path, clock, command=[sys.executable, "-c", stubborn], stop_grace_s=5)
    one.start()
    assert one.stop()
    clock.advance(timedelta(seconds=4.9))
    assert not one.stop()
    assert one.alive
    clock.advance(timedelta(seconds=0.1))
    assert one.stop()
    one.wait_dead()
    assert not one.stop()
