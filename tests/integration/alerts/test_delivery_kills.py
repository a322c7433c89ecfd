"""SIGKILL at every step between figure, transaction, send and mark: nothing is lost, and only one message doubled."""

import json
import os
import signal
import warnings
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from alert_lab import NOON, Lab, alert, settings, words
from sqlalchemy import delete

from app.alerts.channel import Notification
from app.core.clock import ManualClock
from app.core.database import Database
from app.core.own_tables import alert_event, alert_instance, alert_outbox, notify_group, service_state

A = alert("a", "critical")
NAMES = ("log_files", "ops")
# Begun, announced, committed, and for each of two targets: taken, sent, marked.
BEGINNING = END = 3 + 2 * 3


class Written:
    """A target whose messages outlive the process that sent them."""

    grouped = True

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.file = folder / f"{name}.jsonl"

    def send(self, notification: Notification) -> None:
        with self.file.open("a") as file:
            file.write(json.dumps(notification.to_json()) + "\n")

    def test(self) -> str:
        return "tested"

    def got(self) -> list[Notification]:
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        return [Notification.from_json(json.loads(line)) for line in lines]


class Steps:
    """Kills this process at a counted step."""

    def __init__(self, stop_at: int) -> None:
        self.seen = 0
        self._stop_at = stop_at

    def __call__(self, _point: str) -> None:
        self.seen += 1
        if self.seen == self._stop_at:
            os.kill(os.getpid(), signal.SIGKILL)


class Killed:
    """A lab on one database whose steps can be cut short."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.targets = {name: Written(name, folder) for name in NAMES}
        self.lab = self._new(NOON)

    def _new(self, now: Any) -> Lab:
        opened: Callable[[str], Any] = self.targets.__getitem__
        return Lab(
            database=self.database,
            clock=ManualClock(now),
            targets={},
            settings=settings(NAMES),
            open_target=opened,
        )

    def start_anew(self) -> None:
        with self.database.write() as connection:
            for table in (alert_event, alert_instance, alert_outbox, notify_group, service_state):
                connection.execute(delete(table))
        for target in self.targets.values():
            target.file.unlink(missing_ok=True)
        self.lab = self._new(NOON)

    def killed_at(self, step: int, say: Callable[[Lab], object]) -> None:
        """Judge and deliver in a child that gets SIGKILL at `step`."""
        # SQLite must not be carried over a fork.
        self.database.dispose()
        with warnings.catch_warnings():
            # Threads of the test runner, which the child never uses.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            try:
                self._act(Steps(step), say)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), f"step {step} was not reached"

    def _act(self, checkpoint: Steps, say: Callable[[Lab], object]) -> None:
        desk = self._new(self.lab.clock.now())
        desk.wrong = dict(self.lab.wrong)
        desk.deliverer = desk.new_deliverer(checkpoint=checkpoint)
        announce = desk.announcer.announce

        def announced(connection: Any, transitions: Any, at: Any) -> None:
            checkpoint("judged")
            announce(connection, transitions, at)
            checkpoint("announced")

        desk.evaluator._announce = announced
        say(desk)
        checkpoint("committed")
        # One target after the other, so that the steps come in one order.
        for name in NAMES:
            desk.deliverer.deliver(only={name})

    def stories(self) -> dict[str, list[tuple[str, str]]]:
        """What each target heard, a message that came twice under one key counted once."""
        return {
            name: [said for one in {one.idempotency_key: one for one in target.got()}.values() for said in words(one)]
            for name, target in self.targets.items()
        }

    def doubled(self) -> int:
        keys = Counter((name, one.idempotency_key) for name, target in self.targets.items() for one in target.got())
        return sum(count - 1 for count in keys.values())


@pytest.fixture
def killed(database: Database, tmp_path: Path) -> Killed:
    return Killed(database, tmp_path)


def test_the_beginning_of_an_alert_survives_a_kill_at_every_step(killed: Killed) -> None:
    doubled = []
    for step in range(1, BEGINNING + 1):
        killed.start_anew()
        killed.killed_at(step, lambda desk: desk.fire(A))
        killed.lab.clock.advance(timedelta(seconds=1))
        killed.lab.fire(A)
        killed.lab.wait(minutes=2)
        assert killed.stories() == {name: [("firing", "a")] for name in NAMES}, f"killed at step {step}"
        doubled.append(killed.doubled())
    # Only what was sent and not marked comes twice.
    assert doubled == [0, 0, 0, 0, 1, 0, 0, 1, 0]


def test_the_end_of_an_alert_survives_a_kill_at_every_step(killed: Killed) -> None:
    doubled = []
    for step in range(1, END + 1):
        killed.start_anew()
        killed.lab.fire(A)
        killed.lab.watch()
        killed.lab.wait(minutes=6, every=timedelta(minutes=6))
        killed.killed_at(step, lambda desk: desk.end(A))
        killed.lab.clock.advance(timedelta(seconds=1))
        killed.lab.end(A)
        killed.lab.wait(minutes=2)
        story = [("firing", "a"), ("resolved", "a")]
        assert killed.stories() == {name: story for name in NAMES}, f"killed at step {step}"  # noqa: C420 - as above
        doubled.append(killed.doubled())
    assert doubled == [0, 0, 0, 0, 1, 0, 0, 1, 0]
