"""Real beats and workers that are killed, frozen and cut off from their broker: every slot has one run."""

import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from processes import environment, free_port, run, started, valkey, wait_until

_BEAT = ("-m", "celery", "-A", "tasks", "beat")
_WORKER = ("-m", "celery", "-A", "tasks", "worker", "-Q", "receipt,file,high_priority,low_priority", "-c", "1")
_DISK = "disk-space-check"
_CLEANUP = "cleanup-expired-tasks"
_EVERY_S = 2
_LIFE_S = 15


@dataclass(kw_only=True)
class Home:
    """One GENGFU_HOME with a job due every two seconds, and what runs on it."""

    folder: Path
    stack: ExitStack
    port: int = field(default_factory=free_port)
    more: dict[str, str] = field(default_factory=dict)

    def configure(self, toml: str) -> None:
        (self.folder / "config").mkdir()
        (self.folder / "config" / "settings.toml").write_text(toml)

    @property
    def env(self) -> dict[str, str]:
        return environment(
            self.folder / "home",
            GENGFU_CONFIG=str(self.folder / "config"),
            CELERY_BROKER_URL=f"redis://127.0.0.1:{self.port}/0",
            **self.more,
        )

    def broker(self) -> "subprocess.Popen[bytes]":
        return self.stack.enter_context(valkey(self.folder / "valkey", self.port))

    def worker(self, name: str = "worker") -> "subprocess.Popen[bytes]":
        command = (*_WORKER, "-n", f"{name}@%h")
        return self.stack.enter_context(started(*command, env=self.env, log=self.folder / f"{name}.out"))

    def beat(self, name: str) -> "subprocess.Popen[bytes]":
        return self.stack.enter_context(started(*_BEAT, env=self.env, log=self.folder / f"{name}.out"))

    def rows(self, query: str, *values: object) -> list[tuple[object, ...]]:
        file = self.folder / "home" / "var" / "gengfu.db"
        if not file.exists():
            return []
        with closing(sqlite3.connect(file, timeout=20)) as database, database:
            try:
                return database.execute(query, values).fetchall()
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):
                    return []
                raise

    def leader(self) -> int:
        """The process that holds the lease, or held it last."""
        found = self.rows("SELECT pid FROM gengfu_lease WHERE name = 'beat'")
        return int(str(found[0][0])) if found else 0

    def term(self) -> int:
        found = self.rows("SELECT term FROM gengfu_lease WHERE name = 'beat'")
        return int(str(found[0][0])) if found else 0

    def done(self) -> int:
        """How many slots of the frequent job were run to their end."""
        counted = self.rows("SELECT count(*) FROM gengfu_slot WHERE job = ? AND state = 'succeeded'", _DISK)
        return int(str(counted[0][0])) if counted else 0

    def more_done(self, slots: int, why: str) -> None:
        goal = self.done() + slots
        wait_until(lambda: self.done() >= goal, why, within_s=60)

    def slots_without_one_run(self) -> list[tuple[object, ...]]:
        """Slots that were run, but not once; the newest may be in work."""
        return self.rows(
            "SELECT s.due_at, s.state, s.term, count(r.id) FROM gengfu_slot s "
            "LEFT JOIN gengfu_run r ON r.job = s.job AND r.slot = s.due_at "
            "WHERE s.job = ? AND s.state = 'succeeded' GROUP BY s.due_at HAVING count(r.id) <> 1 OR s.term <> 1",
            _DISK,
        )


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with ExitStack() as stack:
        made = Home(folder=tmp_path, stack=stack)
        yield made


@pytest.fixture
def two(home: Home) -> "dict[int, subprocess.Popen[bytes]]":
    """Two beats of one home, by process id, and a worker."""
    home.configure(f'[schedule.jobs.{_DISK}]\ncron = "@every {_EVERY_S}s"\n')
    home.broker()
    home.worker()
    beats = {beat.pid: beat for beat in (home.beat("first"), home.beat("second"))}
    home.more_done(2, "the leading beat's slots are run")
    assert home.leader() in beats
    return beats


def test_a_killed_leader_is_followed_and_no_slot_has_two_runs(
    home: Home, two: "dict[int, subprocess.Popen[bytes]]"
) -> None:
    leader = home.leader()
    (other,) = set(two) - {leader}
    assert home.term() == 1
    two[leader].kill()
    # The lease's life, the stand-by's look every two seconds, and what a busy machine takes.
    wait_until(lambda: home.leader() == other, "the other beat leads", within_s=_LIFE_S + 5)
    home.more_done(2, "the new leader's slots are run")
    assert home.term() == 2
    assert home.slots_without_one_run() == []
    assert _gaps(home) == []


def test_a_leader_that_was_frozen_and_goes_on_sends_nothing(
    home: Home, two: "dict[int, subprocess.Popen[bytes]]"
) -> None:
    frozen = home.leader()
    (other,) = set(two) - {frozen}
    two[frozen].send_signal(signal.SIGSTOP)
    try:
        wait_until(lambda: home.leader() == other, "the other beat leads", within_s=_LIFE_S + 5)
    finally:
        two[frozen].send_signal(signal.SIGCONT)
    log = home.folder / "home" / "logs" / "celerybeat.log"
    wait_until(lambda: "leadership_lost" in log.read_text(), "the frozen one has seen it", within_s=20)
    home.more_done(3, "the new leader's slots are run")
    assert home.leader() == other
    assert home.term() == 2
    assert home.slots_without_one_run() == []


def test_slots_that_fell_due_without_a_broker_are_run_once_each_when_it_is_back(home: Home) -> None:
    home.configure(f'[schedule.jobs.{_DISK}]\ncron = "@every {_EVERY_S}s"\n')
    broker = home.broker()
    home.worker()
    home.beat("beat")
    home.more_done(1, "a slot is run")
    broker.kill()
    broker.wait()
    waiting = "SELECT count(*) FROM gengfu_slot WHERE job = ? AND state = 'planned' AND due_at < datetime('now')"
    wait_until(lambda: home.rows(waiting, _DISK)[0][0] in range(3, 99), "three slots wait for the broker", within_s=60)
    held_up = [row[0] for row in home.rows(waiting.replace("count(*)", "due_at"), _DISK)]
    home.broker()
    again = (
        f"SELECT count(*) FROM gengfu_slot WHERE state = 'succeeded' AND due_at IN ({', '.join('?' * len(held_up))})"
    )
    wait_until(lambda: home.rows(again, *held_up)[0][0] == len(held_up), "what waited is run", within_s=60)
    home.more_done(1, "and the schedule goes on")
    assert home.slots_without_one_run() == []
    assert _gaps(home) == []


def test_a_slot_whose_worker_was_killed_in_the_middle_is_offered_again_and_closed_once(home: Home) -> None:
    home.configure(f'[schedule.jobs.{_CLEANUP}]\ncron = "0 0 1 1 *"\n')
    home.more = {"GENGFU_RETENTION__BATCH_SIZE": "100"}
    assert run("-m", "app", "demo", "create", "--tasks", "3000", env=home.env).returncode == 0
    home.broker()
    victim = home.worker("victim")
    home.rows(
        "INSERT INTO gengfu_slot (job, due_at, state, attempt, term, planned_at) "
        "VALUES (?, datetime('now'), 'planned', 0, 0, datetime('now'))",
        _CLEANUP,
    )
    before = _tasks(home)
    home.beat("beat")
    wait_until(lambda: _tasks(home) < before, "the clean-up deletes rows")
    _kill_family(victim.pid)
    stopped_at = _tasks(home)
    assert _cleanup(home) == [("running", 1)]
    # The test need not wait two minutes for leases whose owner it knows to be dead.
    home.rows("UPDATE gengfu_lease SET until = '2000-01-01 00:00:00' WHERE name <> 'beat'")
    home.rows("UPDATE gengfu_slot SET lease_until = '2000-01-01 00:00:00' WHERE job = ?", _CLEANUP)
    home.worker("heir")
    wait_until(lambda: _cleanup(home) == [("succeeded", 2)], "the slot is run again and closed", within_s=60)
    assert _tasks(home) < stopped_at, "the kill came too late to be in the middle"
    ended = "SELECT count(*) FROM gengfu_run WHERE job = ? AND state = 'succeeded'"
    assert home.rows(ended, _CLEANUP) == [(1,)]


def _cleanup(home: Home) -> list[tuple[object, ...]]:
    return home.rows(
        "SELECT state, term FROM gengfu_slot WHERE job = ? AND due_at <= datetime('now') ORDER BY due_at", _CLEANUP
    )


def _tasks(home: Home) -> int:
    return int(str(home.rows("SELECT count(*) FROM tasks")[0][0]))


def _kill_family(pid: int) -> None:
    """As the kernel does when memory runs out: nobody in the worker gets to say a word."""
    worker = psutil.Process(pid)
    family = [worker, *worker.children(recursive=True)]
    for process in family:
        os.kill(process.pid, signal.SIGKILL)
    psutil.wait_procs(family, timeout=10)


def _gaps(home: Home) -> list[str]:
    """Instants between the first and the last slot at which none is in the ledger."""
    texts = [str(row[0]) for row in home.rows("SELECT due_at FROM gengfu_slot WHERE job = ? ORDER BY due_at", _DISK)]
    times = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in texts]
    step = timedelta(seconds=_EVERY_S)
    return [str(a) for a, b in pairwise(times) if b - a != step]


pytestmark = pytest.mark.slow
