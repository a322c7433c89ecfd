"""Whatever happens, in whatever order: who hears an end has heard the beginning, and nobody hears a thing too soon."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alert_lab import NOON, Lab, Target, alert, settings
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from app.alerts.alert import RANK
from app.alerts.channel import Notification, Told
from app.alerts.life import instance_rows
from app.alerts.life.acknowledgements import Acknowledgements
from app.alerts.notices import groups
from app.alerts.notices.grouping import GROUP_WAIT
from app.alerts.notices.matchers import parse_matchers
from app.alerts.notices.silences import Silences
from app.alerts.rules.rule_parts import Repeat
from app.core.clock import ManualClock
from app.core.database import Database, DatabaseSettings

NAMES = st.sampled_from(["a", "b", "c"])
FIVE_MINUTES = timedelta(minutes=5)
LEVELS = st.sampled_from(["warning", "error", "critical"])


class Ear(Target):
    """A target that checks what it hears."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__("ops")
        self._clock = clock
        self.knows: dict[str, tuple[str, datetime]] = {}
        """Fingerprint -> level and time of the last that was told."""
        self.meanwhile: Callable[[], object] = lambda: None
        """What happens while the next message is on its way."""
        self.complaints: list[str] = []
        """What must not have been said; raised here, it would only be a channel that fails."""
        self.silent: Callable[[str], bool] = lambda _what: False
        """Whether somebody wants to hear nothing of what is called so."""
        self.held: Callable[[str], bool] = lambda _fingerprint: False
        """Whether an alert flaps and has not kept its level for five minutes."""
        self.acked: dict[str, tuple[str, datetime]] = {}
        """Fingerprint -> at which level, and until when, somebody takes care of it."""
        self._keys: set[str] = set()

    def _expect(self, right: bool, complaint: str) -> None:  # noqa: FBT001 - reads like assert
        if not right:
            self.complaints.append(complaint)

    def send(self, notification: Notification) -> None:
        if notification.kind == "group":
            self._expect_patience(notification)
            for one in notification.alerts:
                self._expect_peace(one)
        happens, self.meanwhile = self.meanwhile, lambda: None
        happens()
        super().send(notification)
        self._expect(notification.idempotency_key not in self._keys, "told twice though it said yes")
        self._keys.add(notification.idempotency_key)
        if notification.kind == "group":
            for one in notification.alerts:
                self._hear(one.alert.fingerprint, one.event, one.status, one.alert.severity)

    def _expect_patience(self, notification: Notification) -> None:
        """The first message of all waits for what comes with the first alert, save a critical one."""
        if not self.tried and all(one.alert.severity != "critical" for one in notification.alerts):
            waited = self._clock.now() - min(one.fired_at for one in notification.alerts)
            self._expect(waited >= GROUP_WAIT, f"a first message after {waited}")

    def _expect_peace(self, one: Told) -> None:
        """What is silenced, flaps or is taken care of is not told, but for what must be told all the same."""
        name, level = one.alert.fingerprint, one.alert.severity
        if one.event != "resolved":
            self._expect(not self.silent(one.alert.labels["what"]), f"{one.event} in silence")
        if one.event not in {"flapping", "escalated"}:
            self._expect(not self.held(name), f"{one.event} of what flaps")
        if one.event == "repeat" and name in self.acked:
            at_level, until = self.acked[name]
            cared_for = self._clock.now() < until and RANK[level] <= RANK[at_level]
            self._expect(not cared_for, "a repeat of what somebody takes care of")

    def _hear(self, name: str, event: str, status: str, level: str) -> None:
        now, known = self._clock.now(), self.knows.get(name)
        if event == "firing":
            self._expect(known is None, "a beginning after a beginning")
        elif event != "flapping":
            self._expect(known is not None, f"{event} without a beginning")
        if known is not None:
            before, at = known
            self._expect(event != "escalated" or RANK[level] > RANK[before], f"escalated from {before} to {level}")
            self._expect(event != "eased" or RANK[level] < RANK[before], f"eased from {before} to {level}")
            soon = now - at < Repeat().of(level)  # type: ignore[arg-type]
            self._expect(event != "repeat" or not soon, f"a repeat after {now - at}")
        if event in {"firing", "escalated"}:
            self.acked.pop(name, None)
        if status == "resolved" and event != "flapping":
            self.knows.pop(name, None)
        else:
            worst = max(level, known[0], key=RANK.__getitem__) if known and event == "flapping" else level
            self.knows[name] = (worst, now)


class Telling(RuleBasedStateMachine):
    """One target through everything that can happen to it."""

    template: Path
    folder: Path

    @initialize()
    def start(self) -> None:
        file = self.folder / "model.db"
        for old in self.folder.glob("model.db*"):
            old.unlink()
        shutil.copy(self.template, file)
        self.clock = ManualClock(NOON)
        self.ear = Ear(self.clock)
        self.database = Database(f"sqlite:///{file}", DatabaseSettings())
        self.ear.silent = self._is_silent
        self.ear.held = self._is_held
        self.silences: list[tuple[str, datetime, datetime]] = []
        self.lab = self._lab({})

    def _is_silent(self, what: str) -> bool:
        now = self.clock.now()
        return any(what == named and start <= now < end for named, start, end in self.silences)

    def _is_held(self, fingerprint: str) -> bool:
        with self.database.read() as connection:
            one = instance_rows.by_fingerprint(connection, [fingerprint])[fingerprint]
        return one.flapping_since is not None and self.clock.now() < one.changes[-1] + FIVE_MINUTES

    def _lab(self, wrong: dict[str, Any]) -> Lab:
        targets: dict[str, Target] = {"ops": self.ear}
        made = Lab(database=self.database, clock=self.clock, settings=settings(), targets=targets)
        made.wrong = wrong
        return made

    @rule(what=NAMES, level=LEVELS)
    def begins_or_changes(self, what: str, level: Any) -> None:
        self.lab.fire(alert(what, level))

    @rule(what=NAMES)
    def ends(self, what: str) -> None:
        self.lab.end(alert(what))

    @rule(minutes=st.sampled_from([0.25, 0.45, 0.5, 1, 5, 30]))
    def time_passes(self, minutes: float) -> None:
        self.clock.advance(timedelta(minutes=minutes))
        self.lab.watch()

    @rule(hours=st.sampled_from([4, 13, 25]))
    def long_time_passes(self, hours: int) -> None:
        self.lab.wait(hours=hours, every=timedelta(hours=hours) / 8)

    @rule(permanent=st.booleans(), retry_after_s=st.sampled_from([None, 120.0]))
    def target_goes_away(self, *, permanent: bool, retry_after_s: float | None) -> None:
        self.ear.refuse(permanent=permanent, retry_after_s=retry_after_s)

    @rule(what=NAMES, level=LEVELS, ends=st.booleans())
    def something_happens_while_a_message_is_on_its_way(self, what: str, level: Any, *, ends: bool) -> None:
        changed = alert(what, level)
        self.ear.meanwhile = lambda: self.lab.end(changed) if ends else self.lab.fire(changed)

    @rule()
    def target_comes_back(self) -> None:
        self.ear.accept()

    @rule(what=NAMES, minutes=st.sampled_from([1, 20, 400]))
    def somebody_silences(self, what: str, minutes: int) -> None:
        now = self.clock.now()
        self.silences.append((what, now, now + timedelta(minutes=minutes)))
        Silences(self.database, self.clock).create(
            parse_matchers([f"what={what}"]),
            starts_at=now,
            ends_at=now + timedelta(minutes=minutes),
            author="王伟",
            comment="换盘",
        )

    @rule()
    def somebody_takes_care(self) -> None:
        acks = Acknowledgements(self.database, self.clock, self.lab.announcer.announce)
        for one in self._open():
            acks.ack(one.fingerprint, by="李娜")
            self.ear.acked[one.fingerprint] = (one.level, self.clock.now() + timedelta(hours=24))

    @rule()
    def the_process_starts_anew(self) -> None:
        self.lab = self._lab(self.lab.wrong)

    @invariant()
    def nothing_was_said_that_must_not_be(self) -> None:
        assert not hasattr(self, "ear") or self.ear.complaints == []

    def _open(self) -> list[Any]:
        with self.database.read() as connection:
            return instance_rows.open_instances(connection)

    def teardown(self) -> None:
        """In the end everybody knows what is true, save what was given up."""
        if not hasattr(self, "lab"):
            return
        self.ear.accept()
        self.ear.meanwhile = lambda: None
        # Silences of 400 minutes end by themselves, as does the care of a day; an alert may be held for an hour because
        # it flaps, a target left alone for fifteen minutes. Every warning is then told once more.
        self.lab.wait(hours=8, every=timedelta(minutes=40))
        self.lab.wait(hours=44, every=timedelta(hours=2))
        expected = {one.fingerprint: one.level for one in self._open()}
        lost = self._given_up()
        told = {name: level for name, (level, _) in self.ear.knows.items()}
        assert {name: told.get(name) for name in expected if name not in lost} == {
            name: level for name, level in expected.items() if name not in lost
        }
        assert set(told) <= set(expected)
        for level, at in self.ear.knows.values():
            since = self.clock.now() - at
            assert since <= Repeat().of(level) + timedelta(hours=2), f"not told for {since}"  # type: ignore[arg-type]
        assert self.ear.complaints == []
        self.database.dispose()

    def _given_up(self) -> set[str]:
        with self.database.write() as connection:
            keys = [row.group_key for row in connection.execute(groups.notify_group.select())]
            found = groups.lock_known(connection, "ops", keys).values()
            return {name for group in found for name, mark in group.told.items() if mark.lost}


@contextmanager
def in_memory() -> Iterator[Path]:
    """A folder that never reaches a disk, where there is one: thousands of commits are not what is tested."""
    shared = Path("/dev/shm")  # noqa: S108 - a folder of its own is made there
    folder = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def test_whatever_happens_people_are_told_what_is_true_and_once(migrated_sqlite: Path) -> None:
    with in_memory() as folder:
        machine = type("Machine", (Telling,), {"template": migrated_sqlite, "folder": folder})
        run_state_machine_as_test(  # type: ignore[no-untyped-call]
            machine,
            settings=hypothesis_settings(
                max_examples=400 if os.environ.get("TEST_FULL") else 15,
                stateful_step_count=25,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                derandomize=True,
            ),
        )


@pytest.mark.parametrize("event", ["resolved", "escalated", "repeat", "eased"])
def test_the_ear_notices_what_must_not_be_said(event: str) -> None:
    ear = Ear(ManualClock(NOON))
    ear._hear("x", event, "firing", "warning")
    assert ear.complaints == [f"{event} without a beginning"]
    ear._hear("x", "repeat", "firing", "warning")
    ear._hear("x", "firing", "firing", "warning")
    assert ear.complaints[1:] == ["a repeat after 0:00:00", "a beginning after a beginning"]
