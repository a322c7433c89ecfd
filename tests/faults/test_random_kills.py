"""Beats, workers and their children killed at random over many slots: each slot is closed once, none is lost.

`TEST_FULL=1` takes 1,000 slots and 60 kills instead.
"""

import os
import random
import signal
import subprocess
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress

import psutil
import pytest
from home import Home, kill_family, owner_pid
from processes import wait_until

_IS_FULL = bool(os.environ.get("TEST_FULL"))
_SLOTS, _KILLS, _PATIENCE_S = (1_000, 60, 900) if _IS_FULL else (120, 10, 90)
_OPEN = "('planned', 'sent', 'running')"
_AUDIT = f"""
CREATE TABLE IF NOT EXISTS closings AS SELECT job, due_at, state FROM gengfu_slot WHERE 0;
CREATE TRIGGER IF NOT EXISTS closed AFTER UPDATE OF state ON gengfu_slot WHEN NEW.state NOT IN {_OPEN}
BEGIN INSERT INTO closings VALUES (NEW.job, NEW.due_at, NEW.state); END
"""


class Crowd:
    """Two beats and two workers that are started again whenever one is killed."""

    def __init__(self, home: Home, seed: int) -> None:
        self.home = home
        self.chance = random.Random(seed)
        self.killed: set[int] = set()
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._start: dict[str, Callable[[str], subprocess.Popen[bytes]]] = {
            "beat-1": home.beat,
            "beat-2": home.beat,
            "worker-1": lambda name: home.worker(name, children=2),
            "worker-2": lambda name: home.worker(name, children=2),
        }
        for name in self._start:
            self.start(name)

    def start(self, name: str) -> None:
        self.running[name] = self._start[name](name)

    def kill_one(self) -> None:
        """Kill the leading beat, a worker with its pool, or - most often, for it costs least - a child of a pool."""
        what = self.chance.choice(("beat", "worker", "idle child", "busy child", "busy child"))
        if what.endswith("child"):
            self._kill_child(busy=what.startswith("busy"))
            return
        leader = self.home.leader()
        chosen = [name for name, process in self.running.items() if name.startswith(what)]
        name = self.chance.choice([name for name in chosen if self.running[name].pid == leader] or chosen)
        self.killed.update(kill_family(self.running[name].pid))
        self.running[name].wait()
        self.start(name)

    def _kill_child(self, *, busy: bool) -> None:
        workers = [psutil.Process(process.pid) for name, process in self.running.items() if name.startswith("worker")]
        children = {child.pid for worker in workers for child in worker.children()}
        at_work = {line.pid for line in self.home.effects()[-1:] if line.what == "begun"}
        pids = sorted(children & at_work if busy and children & at_work else children)
        if pids:
            pid = self.chance.choice(pids)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            self.killed.add(pid)


@pytest.mark.parametrize("seed", [20261122])
def test_every_slot_is_closed_once_whoever_is_killed_whenever(counted: Home, seed: int) -> None:
    home = counted
    home.more |= {"CRON": "@every 3s", "JOBS": "24"}
    home.broker()
    crowd = Crowd(home, seed)
    wait_until(home.effects, "the first slot is run")
    for statement in _AUDIT.strip().split(";\n", 1):
        home.rows(statement)
    for _ in range(_KILLS):
        goal = len(home.effects()) + crowd.chance.randrange(5, 32)
        wait_until(lambda goal=goal: _passing(home) and len(home.effects()) >= goal, "work goes on", within_s=30)
        crowd.kill_one()
    due = "SELECT count(*) FROM gengfu_slot WHERE job LIKE 'count-%' AND due_at <= datetime('now')"
    wait_until(lambda: _passing(home) and home.number(due) >= _SLOTS, "enough slots were due", within_s=_PATIENCE_S)
    end = str(home.rows("SELECT datetime('now')")[0][0])
    left = f"SELECT count(*) FROM gengfu_slot WHERE state IN {_OPEN} AND due_at <= ? AND job LIKE 'count-%'"
    wait_until(lambda: _passing(home) and not home.number(left, end), "every slot is closed", within_s=60)
    _check(home, end, crowd.killed)


def _passing(home: Home) -> bool:
    """Let pass what time would: leases of the dead, messages that dead workers took along, pauses before a new try."""
    home.let_leases_of_the_dead_end()
    home.rows(
        "UPDATE gengfu_slot SET sent_at = '2000-01-01 00:00:00' "
        "WHERE state = 'sent' AND sent_at < datetime('now', '-5 seconds')"
    )
    home.rows(
        "UPDATE gengfu_slot SET not_before = NULL WHERE state = 'planned' AND not_before IS NOT NULL AND NOT EXISTS "
        "(SELECT 1 FROM gengfu_slot o WHERE o.job = gengfu_slot.job AND (o.state IN ('running', 'sent') "
        "OR (o.state = 'planned' AND o.not_before IS NOT NULL AND o.due_at < gengfu_slot.due_at)))"
    )
    return True


def _check(home: Home, end: str, killed: set[int]) -> None:
    slots = home.rows("SELECT job, due_at, state, owner FROM gengfu_slot WHERE job LIKE 'count-%' AND due_at <= ?", end)
    assert len(slots) >= _SLOTS
    assert {state for _, _, state, _ in slots} == {"succeeded"}
    assert home.rows("SELECT job, due_at FROM closings GROUP BY job, due_at HAVING count(*) > 1") == []
    runs = (
        "SELECT s.job, s.due_at, count(r.id) FROM gengfu_slot s LEFT JOIN gengfu_run r ON r.job = s.job "
        "AND r.slot = s.due_at AND r.state = 'succeeded' WHERE s.state = 'succeeded' "
        "GROUP BY 1, 2 HAVING count(r.id) <> 1"
    )
    assert home.rows(runs) == []
    by_slot = defaultdict(list)
    for line in home.effects():
        by_slot[line.job, line.slot].append(line)
    for job, due, _, owner in slots:
        wrote = by_slot[str(job), str(due)[:19]]
        # Whoever began before the last one had been killed, and the last one, who closed the slot, did its work once.
        begun = [line.pid for line in wrote if line.what == "begun"]
        assert set(begun[:-1]) <= killed, (job, due, wrote)
        assert [line.what for line in wrote if line.pid == owner_pid(str(owner))] == ["begun", "done"], (
            job,
            due,
            wrote,
        )


pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600 if _IS_FULL else 240)]
