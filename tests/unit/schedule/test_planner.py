"""Which slots are planned, which are sent late, and which are only told as missed."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.schedule.job_spec import JobSpec
from app.schedule.planner import MOST_SLOTS, plan_job

SHANGHAI = ZoneInfo("Asia/Shanghai")
SLOT = datetime(2026, 3, 9, 18, 0, tzinfo=UTC)  # 02:00 of the 10th in Shanghai
DAY = timedelta(days=1)


def spec(**changes: Any) -> JobSpec:
    values: dict[str, Any] = {
        "name": "x",
        "task_name": "t",
        "cron": "0 2 * * *",
        "queue": "file",
        "priority": 1,
        "soft_time_limit": 1,
        "time_limit": 2,
    }
    return JobSpec(**values | changes)


def test_a_new_job_starts_from_now_and_catches_nothing_up() -> None:
    plan = plan_job(spec(), SHANGHAI, None, SLOT + timedelta(hours=3))
    assert (plan.send, plan.missed) == ((SLOT + DAY,), ())


def test_the_next_slot_is_planned_before_it_is_due_and_only_once() -> None:
    assert plan_job(spec(), SHANGHAI, SLOT - DAY, SLOT - timedelta(hours=1)).send == (SLOT,)
    assert plan_job(spec(), SHANGHAI, SLOT, SLOT - timedelta(hours=1)).send == ()


@pytest.mark.parametrize(("late_s", "sent"), [(0, True), (60, True), (61, False)])
def test_a_slot_within_its_grace_was_not_missed_even_where_missed_ones_are_skipped(late_s: int, *, sent: bool) -> None:
    plan = plan_job(spec(missed="skip"), SHANGHAI, SLOT - DAY, SLOT + timedelta(seconds=late_s))
    assert (SLOT in plan.send) is sent
    assert (SLOT in plan.missed) is not sent


def test_of_three_missed_nights_only_the_last_is_run_and_the_others_are_told() -> None:
    now = SLOT + timedelta(hours=5)
    plan = plan_job(spec(), SHANGHAI, SLOT - 3 * DAY, now)
    assert plan.send == (SLOT, SLOT + DAY)
    assert plan.missed == (SLOT - 2 * DAY, SLOT - DAY)


def test_run_each_runs_every_missed_slot_that_is_young_enough() -> None:
    plan = plan_job(spec(missed="run_each", max_age_s=3 * 86_400), SHANGHAI, SLOT - 5 * DAY, SLOT + timedelta(hours=1))
    assert plan.send == (SLOT - 2 * DAY, SLOT - DAY, SLOT, SLOT + DAY)
    assert plan.missed == (SLOT - 4 * DAY, SLOT - 3 * DAY)


@pytest.mark.parametrize(("age_s", "sent"), [(20 * 3600, True), (20 * 3600 + 1, False)])
def test_a_missed_night_is_run_up_to_its_greatest_age(age_s: int, *, sent: bool) -> None:
    plan = plan_job(spec(), SHANGHAI, SLOT - DAY, SLOT + timedelta(seconds=age_s))
    assert (SLOT in plan.send) is sent


def test_a_job_switched_off_or_without_a_time_plans_nothing() -> None:
    for off in (spec(enabled=False), spec(cron=None)):
        plan = plan_job(off, SHANGHAI, SLOT - DAY, SLOT + DAY)
        assert (plan.send, plan.missed) == ((), ())


def test_a_year_without_beat_is_bounded_and_the_newest_slot_still_runs() -> None:
    every_minute = spec(cron="* * * * *", max_age_s=3600)
    now = SLOT + timedelta(seconds=30)
    plan = plan_job(every_minute, SHANGHAI, SLOT - timedelta(days=365), now)
    assert len(plan.missed) <= MOST_SLOTS
    assert plan.send == (SLOT, SLOT + timedelta(minutes=1))


def test_a_clock_that_was_set_back_plans_nothing_a_second_time() -> None:
    assert plan_job(spec(), SHANGHAI, SLOT + DAY, SLOT - DAY).send == ()
