"""Real beats and workers that are killed, frozen and cut off from their broker: every slot has one run."""

import signal
import subprocess
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from home import Home, kill_family
from processes import run, wait_until

_DISK = "disk-space-check"
_CLEANUP = "cleanup-expired-tasks"
_EVERY_S = 1
_LIFE_S = 15


@pytest.fixture
def two(home: Home) -> "dict[int, subprocess.Popen[bytes]]":
    """Two beats of one home, by process id, and a worker."""
    home.configure(f'[schedule.jobs.{_DISK}]\ncron = "@every {_EVERY_S}s"\n')
    home.broker()
    home.worker()
    beats = {beat.pid: beat for beat in (home.beat("first"), home.beat("second"))}
    _more_done(home, 2, "the leading beat's slots are run")
    assert home.leader() in beats
    return beats


def test_a_killed_leader_is_followed_and_no_slot_has_two_runs(
    home: Home, two: "dict[int, subprocess.Popen[bytes]]"
) -> None:
    leader = home.leader()
    (other,) = set(two) - {leader}
    assert home.term() == 1
    two[leader].kill()
    two[leader].wait()
    home.let_leases_of_the_dead_end()
    wait_until(lambda: home.leader() == other, "the other beat leads")
    _more_done(home, 2, "the new leader's slots are run")
    assert home.term() == 2
    assert _without_one_run(home) == []
    assert _gaps(home) == []


def test_a_leader_that_was_frozen_and_goes_on_sends_nothing(
    home: Home, two: "dict[int, subprocess.Popen[bytes]]"
) -> None:
    frozen = home.leader()
    (other,) = set(two) - {frozen}
    two[frozen].send_signal(signal.SIGSTOP)
    try:
        # The lease's life, the stand-by's look every two seconds, and what a busy machine takes.
        wait_until(lambda: home.leader() == other, "the other beat leads", within_s=_LIFE_S + 5)
    finally:
        two[frozen].send_signal(signal.SIGCONT)
    wait_until(lambda: "leadership_lost" in home.log("celerybeat.log"), "the frozen one has seen it", within_s=20)
    _more_done(home, 3, "the new leader's slots are run")
    assert home.leader() == other
    assert home.term() == 2
    assert _without_one_run(home) == []
    assert _gaps(home) == []


def test_slots_that_fell_due_without_a_broker_are_run_once_each_when_it_is_back(home: Home) -> None:
    home.configure(f'[schedule.jobs.{_DISK}]\ncron = "@every {_EVERY_S}s"\n')
    home.broker()
    home.worker()
    home.beat()
    _more_done(home, 1, "a slot is run")
    home.stop_broker()
    wait_until(lambda: len(_waiting(home)) >= 3, "three slots wait for the broker", within_s=60)
    held_up = _waiting(home)
    home.broker()
    wait_until(lambda: _all_done(home, held_up), "what waited is run", within_s=60)
    _more_done(home, 1, "and the schedule goes on")
    assert _without_one_run(home) == []
    assert _gaps(home) == []


def test_slots_of_two_leaders_that_fell_due_without_a_broker_are_run_once_each_when_it_is_back(
    home: Home, two: "dict[int, subprocess.Popen[bytes]]"
) -> None:
    home.stop_broker()
    wait_until(lambda: len(_waiting(home)) >= 2, "slots of the first leader wait", within_s=60)
    of_the_first = len(_waiting(home))
    leader = home.leader()
    (other,) = set(two) - {leader}
    two[leader].kill()
    two[leader].wait()
    home.let_leases_of_the_dead_end()
    wait_until(lambda: home.leader() == other, "the other beat leads")
    wait_until(lambda: len(_waiting(home)) >= of_the_first + 2, "slots of the second leader wait", within_s=60)
    held_up = _waiting(home)
    home.broker()
    wait_until(lambda: _all_done(home, held_up), "what waited is run", within_s=60)
    _more_done(home, 1, "and the schedule goes on")
    assert _without_one_run(home) == []
    assert _gaps(home) == []


def test_a_slot_whose_worker_was_killed_in_the_middle_is_offered_again_and_closed_once(home: Home) -> None:
    home.configure(f'[schedule.jobs.{_CLEANUP}]\ncron = "0 0 1 1 *"\n')
    home.more = {"GENGFU_RETENTION__BATCH_SIZE": "100"}
    assert run("-m", "app", "demo", "create", "--tasks", "2500", env=home.env).returncode == 0
    home.broker()
    victim = home.worker("victim")
    home.plan(_CLEANUP)
    before = _tasks(home)
    home.beat("beat")
    wait_until(lambda: _tasks(home) < before, "the clean-up deletes rows")
    kill_family(victim.pid)
    stopped_at = _tasks(home)
    assert home.slots(_CLEANUP) == [("running", 1)]
    home.let_leases_of_the_dead_end()
    home.worker("heir")
    wait_until(lambda: home.slots(_CLEANUP) == [("succeeded", 2)], "the slot is run again and closed", within_s=60)
    assert _tasks(home) < stopped_at, "the kill came too late to be in the middle"
    ended = "SELECT count(*) FROM gengfu_run WHERE job = ? AND state = 'succeeded'"
    assert home.rows(ended, _CLEANUP) == [(1,)]


def _waiting(home: Home) -> list[object]:
    """Due slots that no broker took."""
    query = "SELECT due_at FROM gengfu_slot WHERE job = ? AND state = 'planned' AND due_at < datetime('now')"
    return [due for (due,) in home.rows(query, _DISK)]


def _all_done(home: Home, slots: list[object]) -> bool:
    marks = ", ".join("?" * len(slots))
    query = f"SELECT count(*) FROM gengfu_slot WHERE state = 'succeeded' AND job = ? AND due_at IN ({marks})"
    return home.number(query, _DISK, *slots) == len(slots)


def _done(home: Home) -> int:
    """How many slots of the frequent job were run to their end."""
    return home.number("SELECT count(*) FROM gengfu_slot WHERE job = ? AND state = 'succeeded'", _DISK)


def _more_done(home: Home, slots: int, why: str) -> None:
    goal = _done(home) + slots
    wait_until(lambda: _done(home) >= goal, why, within_s=60)


def _without_one_run(home: Home) -> list[tuple[object, ...]]:
    """Slots that were run, but not once; the newest may be in work."""
    return home.rows(
        "SELECT s.due_at, s.state, s.term, count(r.id) FROM gengfu_slot s "
        "LEFT JOIN gengfu_run r ON r.job = s.job AND r.slot = s.due_at "
        "WHERE s.job = ? AND s.state = 'succeeded' GROUP BY s.due_at HAVING count(r.id) <> 1 OR s.term <> 1",
        _DISK,
    )


def _tasks(home: Home) -> int:
    return home.number("SELECT count(*) FROM tasks")


def _gaps(home: Home) -> list[str]:
    """Instants between the first and the last slot at which none is in the ledger."""
    texts = [str(row[0]) for row in home.rows("SELECT due_at FROM gengfu_slot WHERE job = ? ORDER BY due_at", _DISK)]
    times = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in texts]
    step = timedelta(seconds=_EVERY_S)
    return [str(a) for a, b in pairwise(times) if b - a != step]


pytestmark = pytest.mark.slow
