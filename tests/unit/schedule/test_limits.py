"""Limits of runs: both sides of each, and what must not alarm."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.alerts.rules.readings import Reading, read_facts
from app.alerts.settings import AlertSettings
from app.core.database import Database, DatabaseSettings
from app.core.migrate import upgrade
from app.schedule.leadership import BEAT, LIFE
from app.schedule.leases import LeaseHolder, Leases
from app.schedule.ledger import Ledger
from app.schedule.limits import (
    SeenRun,
    SeenSlot,
    beat_down,
    missed_slots,
    run_grace_s,
    run_too_long,
    run_too_often,
    run_too_short,
    schedule_facts,
    start_grace,
)

NOW = datetime(2026, 3, 10, 18, 0, tzinfo=UTC)
JOB = "清理过期任务"
TICK = timedelta(microseconds=1)


@pytest.fixture
def ledger_file(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'l.db'}", DatabaseSettings())
    upgrade(opened)
    yield opened
    opened.dispose()


def slot(due_at: datetime, state: str = "planned", attempt: int = 0) -> SeenSlot:
    return SeenSlot(job=JOB, due_at=due_at, state=state, attempt=attempt)


def a_run(
    seconds: float | None = 10, *, ago: float = 60, state: str = "succeeded", trigger: str = "schedule"
) -> SeenRun:
    return SeenRun(job=JOB, state=state, trigger=trigger, started_at=NOW - timedelta(seconds=ago), seconds=seconds)


@pytest.mark.parametrize(("minutes", "grace_s"), [(1, 60), (20, 60), (21, 63), (60, 180), (1440, 4320)])
def test_start_grace_is_a_twentieth_of_the_interval_and_at_least_a_minute(minutes: int, grace_s: int) -> None:
    assert start_grace(timedelta(minutes=minutes)) == timedelta(seconds=grace_s)


@pytest.mark.parametrize(
    ("seconds", "grace"), [([], 600), ([200.0], 600), ([201.0], 603), ([*range(1, 20), 5000], 600), ([300] * 20, 900)]
)
def test_run_grace_is_three_times_the_p95_and_at_least_ten_minutes(seconds: list[float], grace: float) -> None:
    assert run_grace_s(seconds) == grace


def test_a_waiting_slot_is_missed_after_its_grace_and_not_before() -> None:
    ahead = slot(NOW + timedelta(hours=1))
    due = NOW - timedelta(seconds=180)  # hourly: three minutes
    assert missed_slots([ahead, slot(due)], NOW - timedelta(seconds=0)) == []
    late = missed_slots([slot(NOW + timedelta(minutes=57) - TICK), slot(due - TICK)], NOW)
    assert late == [{"fact": "ScheduleMissed", "job": JOB, "count": 1, "slot": (due - TICK).isoformat()}]


@pytest.mark.parametrize("state", ["running", "succeeded", "failed", "skipped", "interrupted"])
def test_a_slot_that_somebody_saw_to_was_not_missed(state: str) -> None:
    assert missed_slots([slot(NOW - timedelta(hours=5), state)], NOW) == []


def test_a_slot_that_is_tried_again_was_not_missed() -> None:
    assert missed_slots([slot(NOW - timedelta(hours=5), "planned", attempt=1)], NOW) == []


def test_slots_closed_as_missed_are_counted_by_job() -> None:
    first, other = slot(NOW - timedelta(hours=2), "missed"), slot(NOW - timedelta(hours=1), "missed")
    facts = missed_slots([first, other, replace(first, job="b")], NOW)
    assert {fact["job"]: fact["count"] for fact in facts} == {JOB: 2, "b": 1}


@pytest.mark.parametrize(("seconds", "found"), [(900.0, False), (900.1, True)])
def test_a_run_is_too_long_beyond_its_grace(seconds: float, *, found: bool) -> None:
    fact = run_too_long(JOB, [a_run(seconds), *[a_run(300, ago=9000)] * 20], NOW)
    assert (fact is not None) is found


def test_a_run_at_work_is_measured_up_to_now() -> None:
    assert run_too_long(JOB, [a_run(None, ago=600, state="running")], NOW) is None
    fact = run_too_long(JOB, [a_run(None, ago=601, state="running")], NOW)
    assert fact == {"fact": "RunTooLong", "job": JOB, "seconds": 601.0, "allowed_s": 600.0}


def test_a_crashed_run_and_no_run_are_not_too_long() -> None:
    assert run_too_long(JOB, [a_run(None, ago=9000, state="interrupted")], NOW) is None
    assert run_too_long(JOB, [], NOW) is None


def test_a_run_is_too_short_below_its_minimum_and_only_if_it_succeeded() -> None:
    assert run_too_short(JOB, [a_run(5)], 5) is None
    assert run_too_short(JOB, [a_run(4.9)], 5) == {"fact": "RunTooShort", "job": JOB, "seconds": 4.9, "minimum_s": 5}
    assert run_too_short(JOB, [a_run(0, state="failed")], 5) is None
    assert run_too_short(JOB, [a_run(0)], 0) is None


@pytest.mark.parametrize(("runs", "expected", "found"), [(36, 24, False), (37, 24, True), (2, 1, False), (3, 1, True)])
def test_more_than_one_and_a_half_times_the_expected_runs_are_too_many(
    runs: int, expected: int, *, found: bool
) -> None:
    assert (run_too_often(JOB, [a_run()] * runs, expected) is not None) is found


def test_retries_shell_runs_and_a_job_that_was_never_due_are_not_too_often() -> None:
    runs = [a_run(trigger="shell"), a_run(state="failed"), a_run(state="interrupted")] * 20
    assert run_too_often(JOB, runs, 1) is None
    assert run_too_often(JOB, [a_run()] * 20, 0) is None


def test_beat_is_down_when_nobody_led_for_a_minute() -> None:
    leader = LeaseHolder(owner="a", host="h", pid=1, term=1, since=NOW, until=NOW)
    assert beat_down(None, NOW) is None
    assert beat_down(leader, NOW + timedelta(seconds=60)) is None
    fact = beat_down(leader, NOW + timedelta(seconds=61))
    assert fact == {"fact": "BeatDown", "seconds": 61.0, "since": NOW.isoformat()}


def bad(facts: list[dict[str, Any]]) -> list[Reading]:
    """What the default rules find wrong in these facts."""
    readings = read_facts("schedule", {"facts": facts}, AlertSettings().rules, {})
    return [reading for reading in readings if reading.level is not None]


def test_facts_become_alerts_of_the_rules(ledger_file: Database) -> None:
    assert schedule_facts(ledger_file, NOW, {}) == []
    Leases(ledger_file, LIFE).take(BEAT, "a", host="h", pid=1, now=NOW - timedelta(hours=2))
    Ledger(ledger_file).plan([(JOB, NOW - timedelta(hours=1)), (JOB, NOW + timedelta(hours=1))], NOW)
    facts = schedule_facts(ledger_file, NOW, {})
    assert [fact["fact"] for fact in facts] == ["BeatDown", "ScheduleMissed"]
    alerts = bad(facts)
    assert {alert.rule_id for alert in alerts} == {"beat_down", "schedule_missed"}
    assert any(JOB in alert.message for alert in alerts)


def test_each_fact_has_a_rule() -> None:
    facts: list[dict[str, Any]] = [
        {"fact": "ScheduleMissed", "job": JOB, "count": 1, "slot": "2026"},
        {"fact": "RunTooLong", "job": JOB, "seconds": 601.0, "allowed_s": 600.0},
        {"fact": "RunTooShort", "job": JOB, "seconds": 1.0, "minimum_s": 5.0},
        {"fact": "RunTooOften", "job": JOB, "runs": 40, "expected": 24},
        {"fact": "BeatDown", "seconds": 61.0, "since": "2026"},
    ]
    rules = AlertSettings().rules
    assert {rules[alert.rule_id].alertname for alert in bad(facts)} == {fact["fact"] for fact in facts}
    assert bad([]) == []
