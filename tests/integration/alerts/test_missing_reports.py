"""Which daily reports are missing, and how the runs of a day ended: on every database."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert

from app.context import Context, make_context
from app.core.clock import ManualClock
from app.core.own_tables import run
from app.reporting.report_files import report_name
from app.reporting.rollups import Rollups
from app.schedule import limits, pauses
from app.schedule.in_force import Schedules
from app.schedule.job_spec import JobSpec
from app.settings import load
from app.watch.sampling import ended_today, missing_reports

JOB = "generate-daily-statistics"
SHANGHAI = ZoneInfo("Asia/Shanghai")
NIGHT = datetime(2026, 3, 10, 2, 0, tzinfo=SHANGHAI)
"""When the report of March 9 is due."""
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def spec(**changed: Any) -> JobSpec:
    given: dict[str, Any] = {"name": JOB, "task_name": "t", "cron": "0 2 * * *", "queue": "receipt", "priority": 3}
    return JobSpec(**given | {"soft_time_limit": 60, "time_limit": 120} | changed)


def at(database_url: str, now: datetime, monkeypatch: pytest.MonkeyPatch) -> Context:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("GENGFU_GENERAL__TIMEZONE", SHANGHAI.key)
    return make_context(load(), ManualClock(now))


@pytest.fixture
def context(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    """On the night of March 10, at two; beats have known the schedule since the day before."""
    made = at(database_url, NIGHT, monkeypatch)
    take_up(made, NIGHT - DAY + HOUR)
    yield made
    made.database.dispose()


def take_up(context: Context, since: datetime, *specs: JobSpec) -> None:
    Schedules(context.database).take_up(specs or (spec(),), SHANGHAI, {}, since.astimezone(UTC))


def later(context: Context, **time: float) -> Context:
    assert isinstance(context.clock, ManualClock)
    context.clock.advance(timedelta(**time))
    return context


def missing(context: Context) -> dict[str, float]:
    return {one["date"]: one["late_h"] for one in missing_reports(context)["missing"]}


def store(context: Context, day: date, zone: ZoneInfo = SHANGHAI) -> None:
    Rollups(database=context.database, zone=zone, clock=context.clock).store(day, {"total_tasks": 7})


def test_a_report_is_missing_from_its_time_on_and_late_by_the_hours_since(context: Context) -> None:
    assert missing(context) == {"2026-03-09": 0.0}
    assert missing(later(context, hours=1, minutes=30)) == {"2026-03-09": 1.5}


def test_a_report_that_is_not_due_yet_is_not_missing(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    early = at(database_url, NIGHT - timedelta(seconds=1), monkeypatch)
    take_up(early, NIGHT - DAY + HOUR)
    assert missing(early) == {}
    assert missing(later(early, seconds=1)) == {"2026-03-09": 0.0}
    early.database.dispose()


def test_figures_in_the_store_are_enough_and_those_of_another_day_or_zone_are_not(context: Context) -> None:
    later(context, hours=2)
    store(context, date(2026, 3, 8))
    store(context, date(2026, 3, 9), ZoneInfo("UTC"))
    assert missing(context) == {"2026-03-09": 2.0}
    store(context, date(2026, 3, 9))
    assert missing(context) == {}


def test_a_file_is_enough(context: Context) -> None:
    later(context, hours=2)
    folder = context.settings.paths.daily_reports
    folder.mkdir(parents=True)
    (folder / report_name(date(2026, 3, 9))).write_text("{}")
    assert missing(context) == {}


def test_a_paused_job_writes_nothing_and_is_not_missed(context: Context) -> None:
    later(context, hours=2)
    pauses.pause(context.database, JOB, context.clock.now())
    assert missing(context) == {}
    pauses.resume(context.database, JOB)
    assert missing(context) == {"2026-03-09": 2.0}


def test_another_job_that_is_paused_changes_nothing(context: Context) -> None:
    pauses.pause(context.database, "cleanup-expired-tasks", context.clock.now())
    assert missing(context) == {"2026-03-09": 0.0}


def test_a_job_that_is_off_is_not_missed_and_one_that_is_on_again_only_from_then_on(context: Context) -> None:
    later(context, hours=2)
    take_up(context, context.clock.now(), spec(name="cleanup-expired-tasks"))
    assert missing(context) == {}
    later(context, hours=1)
    take_up(context, context.clock.now())
    assert missing(context) == {}
    assert missing(later(context, hours=23)) == {"2026-03-10": 2.0}


def test_nothing_is_missing_on_the_first_day_of_an_installation(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = at(database_url, NIGHT + 10 * HOUR, monkeypatch)
    assert missing(fresh) == {}
    take_up(fresh, fresh.clock.now())
    assert missing(later(fresh, hours=13, minutes=59)) == {}
    assert missing(later(fresh, minutes=1)) == {"2026-03-10": 0.0}
    fresh.database.dispose()


def test_what_is_missing_stays_so_for_a_week_whatever_is_written_after_it(context: Context) -> None:
    later(context, days=1)
    store(context, date(2026, 3, 10))
    assert missing(context) == {"2026-03-09": 24.0}
    assert missing(later(context, days=5, hours=21, minutes=59))["2026-03-09"] == pytest.approx(165.98)
    found = missing(later(context, minutes=1))
    assert sorted(found) == ["2026-03-11", "2026-03-12", "2026-03-13", "2026-03-14", "2026-03-15"]


def test_the_jobs_own_zone_says_when_and_the_general_one_which_day(context: Context) -> None:
    take_up(context, NIGHT, spec(timezone="UTC"))
    # At 02:00 in UTC it is ten in Shanghai.
    assert missing(later(context, hours=7, minutes=59)) == {}
    assert missing(later(context, minutes=1)) == {"2026-03-09": 0.0}


@pytest.mark.parametrize(("cron", "late_h"), [("0 * * * *", 5.0), ("@every 1800s", 5.0), ("0 0 * * *", 5.0)])
def test_of_several_slots_of_a_day_the_first_counts(
    database_url: str, monkeypatch: pytest.MonkeyPatch, cron: str, late_h: float
) -> None:
    often = at(database_url, NIGHT + 3 * HOUR, monkeypatch)
    take_up(often, NIGHT - 2.5 * HOUR, spec(cron=cron))
    assert missing(often) == {"2026-03-09": late_h}
    often.database.dispose()


def test_a_job_of_mondays_is_missed_on_mondays_only(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    weekly = at(database_url, NIGHT + HOUR, monkeypatch)  # a Tuesday
    take_up(weekly, NIGHT - 14 * DAY, spec(cron="0 2 * * 1"))
    assert missing(weekly) == {"2026-03-08": 25.0}
    weekly.database.dispose()


# How runs ended


def a_run(number: int, job: str, state: str, ago: timedelta) -> dict[str, Any]:
    started = NIGHT.astimezone(UTC) - ago
    times = {"started_at": started, "heartbeat_at": started}
    return {"id": f"{number:032d}", "job": job, "trigger": "schedule", "attempt": 1, "state": state, **times}


def test_runs_of_a_day_are_counted_by_how_they_ended(context: Context) -> None:
    ends = ["succeeded"] * 3 + ["failed"] * 2 + ["skipped", "interrupted", "running"]
    rows = [a_run(number, "disk-space-check", state, HOUR) for number, state in enumerate(ends)]
    rows += [
        a_run(20, "cleanup-logs", "failed", DAY - timedelta(seconds=1)),
        a_run(21, "cleanup-logs", "failed", DAY),
        a_run(22, "backup-database", "succeeded", 2 * DAY),
        a_run(23, "check-pending-tasks", "skipped", HOUR),
    ]
    assert ended_today(context) == {"jobs": []}
    with context.database.write() as connection:
        connection.execute(insert(run), rows)
    assert ended_today(context) == {
        "jobs": [
            {"job": "cleanup-logs", "succeeded": 0, "failed": 1},
            {"job": "disk-space-check", "succeeded": 3, "failed": 2},
        ]
    }


def test_runs_are_counted_by_the_index(context: Context) -> None:
    if context.database.dialect != "sqlite":
        pytest.skip("a plan of PostgreSQL depends on its statistics")
    with context.database.read() as connection:
        values = {"jobs": ["disk-space-check"], "after": context.clock.now()}
        text = str(limits._ENDED.params(values).compile(connection, compile_kwargs={"render_postcompile": True}))
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", ("a", "b", "c", "d")).all()
    assert "USING INDEX ix_gengfu_run_job_started_at (job=? AND started_at>?)" in str(plan)
