"""`clear`: what waits or was missed is not run any more, and the next slot still is."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from app.core.clock import ManualClock
from app.core.database import Database
from app.schedule.backlog import close_backlog
from app.schedule.job_spec import JobSpec
from app.schedule.ledger import Ledger
from app.schedule.planner import plan_job
from tests.steps import Steps

SHANGHAI = ZoneInfo("Asia/Shanghai")
SLOT = datetime(2026, 3, 9, 18, 0, tzinfo=UTC)  # 02:00 of the 10th in Shanghai
DAY = timedelta(days=1)


def spec(**changes: Any) -> JobSpec:
    values: dict[str, Any] = {"name": "夜", "task_name": "t", "cron": "0 2 * * *", "queue": "file", "priority": 1}
    return JobSpec(soft_time_limit=1, time_limit=2, **values | changes)


def test_a_slot_that_passed_while_no_beat_was_there_is_not_caught_up_after_it(database: Database) -> None:
    ledger, now = Ledger(database), SLOT + 2 * DAY + timedelta(hours=1)
    ledger.plan([("夜", SLOT)], SLOT - DAY)
    assert plan_job(spec(), SHANGHAI, SLOT, now).send == (SLOT + 2 * DAY, SLOT + 3 * DAY)
    assert close_backlog(ledger, [spec()], SHANGHAI, now) == 3
    assert ledger.due(now) == []
    assert plan_job(spec(), SHANGHAI, ledger.last_due(until=now)["夜"], now).send == (SLOT + 3 * DAY,)


def test_a_slot_planned_ahead_does_not_hide_the_ones_that_passed(database: Database) -> None:
    ledger, now = Ledger(database), SLOT + 2 * DAY + timedelta(hours=1)
    ledger.plan([("夜", SLOT), ("夜", SLOT + 9 * DAY)], SLOT - DAY)
    assert close_backlog(ledger, [spec()], SHANGHAI, now) == 3
    assert ledger.last_due(until=now) == {"夜": SLOT + 2 * DAY}
    missed, ahead = (ledger.get("夜", due) for due in (SLOT + DAY, SLOT + 9 * DAY))
    assert missed is not None
    assert ahead is not None
    assert (missed.state, ahead.state) == ("missed", "planned")


def test_a_slot_in_work_and_the_next_one_are_left_alone(database: Database) -> None:
    ledger, now = Ledger(database), SLOT + timedelta(seconds=5)
    ledger.plan([("夜", SLOT), ("夜", SLOT + DAY)], SLOT - DAY)
    steps = Steps(database, ManualClock(now))
    claim = steps.claim("夜", SLOT, "worker", "run")
    assert claim is not None
    assert close_backlog(ledger, [spec()], SHANGHAI, now) == 0
    assert steps.close(claim, "succeeded")
    upcoming = ledger.get("夜", SLOT + DAY)
    assert upcoming is not None
    assert upcoming.state == "planned"


def test_a_job_that_was_never_planned_has_no_backlog(database: Database) -> None:
    assert close_backlog(Ledger(database), [spec()], SHANGHAI, SLOT) == 0
