"""The use cases on both databases, wired as in production."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from app import jobs
from app.context import Context, make_context, open_context
from app.core.clock import ManualClock
from app.core.errors import BadArgument, ExitCode, SchemaMismatch
from app.core.migrate import upgrade
from app.demo.create import create_demo
from app.retention.roots import init_roots
from app.schedule.ledger import Ledger
from app.settings import load


@pytest.fixture
def context(database_url: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("GENGFU_GENERAL__TIMEZONE", "Asia/Shanghai")
    # The database's clock stands still with ours: a guard holds what it would delete while the two disagree.
    for module in ("cleanup", "guards"):
        monkeypatch.setattr(f"app.retention.{module}.frozen_now", lambda _: clock.now())
    made = make_context(load(), clock)
    yield made
    made.database.dispose()


@pytest.fixture
def night(context: Context) -> Context:
    upgrade(context.database)
    create_demo(
        context.database,
        context.roots,
        context.settings.paths.logs,
        tasks=1200,
        now=context.clock.now(),
        zone=context.zone,
    )
    init_roots(context.database, context.folders, context.clock)
    return context


def test_a_night_writes_its_reports_and_tells_its_alerts(night: Context) -> None:
    for name in ("generate-daily-statistics", "disk-space-check", "cleanup-expired-tasks"):
        done = jobs.run_here(night, name)
        assert done.result["success"] is True, done.result
    reports = {path.name for path in night.settings.paths.daily_reports.glob("*.json")}
    assert reports == {"daily_report_20260309.json", "disk_report_20260310.json", "cleanup_report_20260310.json"}
    # Hostile paths of the sample data are refused, and people are told.
    assert "CleanupRefusedPaths" in (night.settings.paths.logs / "error_alerts.log").read_text(encoding="utf-8")


def test_the_cleanup_counts_what_is_really_gone(night: Context) -> None:
    roots = list(night.roots.values())
    before = sum(path.is_file() for root in roots for path in root.rglob("*"))
    result = jobs.run_here(night, "cleanup-expired-tasks").result
    after = sum(path.is_file() for root in roots for path in root.rglob("*"))
    assert before - after == result["files_cleaned"] > 0


def test_temp_files_and_logs_have_jobs_of_their_own_that_touch_no_row(night: Context) -> None:
    temp = jobs.run_here(night, "cleanup-temp-files").result
    logs = jobs.run_here(night, "cleanup-logs").result
    assert temp["temp_files_cleaned"] > 0
    assert temp["logs_cleaned"] == 0
    assert logs["logs_cleaned"] > 0
    assert temp["tasks_cleaned"] == logs["tasks_cleaned"] == 0


def test_a_slot_of_yesterday_reports_the_day_before_yesterday(night: Context, clock: ManualClock) -> None:
    from app.execution.runner import run_job
    from app.schedule.runs import Origin

    slot = clock.now() - timedelta(days=1)
    done = run_job(
        night,
        "generate-daily-statistics",
        jobs.generate_daily_statistics,
        origin=Origin(trigger="schedule", slot=slot),
    )
    assert done.result["date"] == "2026-03-08"


@pytest.mark.parametrize("day", ["gestern", "2026-13-01", 5, "2026-03-11"])
def test_a_day_that_is_none_or_not_yet_is_refused(context: Context, day: object) -> None:
    with pytest.raises(BadArgument):
        jobs.generate_daily_statistics(context, day=day)  # type: ignore[arg-type]


def test_unmarked_roots_hold_the_cleanup_and_nothing_goes(night: Context) -> None:
    marker = night.roots["uploads"] / ".gengfu-root"
    marker.rename(marker.with_name("moved"))
    done = jobs.run_here(night, "cleanup-expired-tasks")
    assert done.exit_code == ExitCode.HELD
    assert done.result["tasks_cleaned"] == done.result["files_cleaned"] - done.result["temp_files_cleaned"] == 0


def test_without_application_tables_a_job_says_which_one_is_missing(context: Context) -> None:
    upgrade(context.database)
    done = jobs.run_here(context, "check-pending-tasks")
    assert "'tasks' is not in the database" in done.result["error"]
    assert done.result["error_type"] == "SchemaMismatch"


def test_a_servers_own_tables_are_the_operators_to_create(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    with open_context() as context, pytest.raises(SchemaMismatch, match="gengfu db upgrade"):
        context.prepare_own_tables()


def test_the_health_check_tells_a_dead_broker_and_succeeds(night: Context) -> None:
    result = jobs.run_here(night, "system-health-check").result
    assert result["success"] is True
    assert result["checks"]["database"]["status"] == "ok"
    assert result["checks"]["broker"]["status"] == "critical"
    assert result["status"] == "critical"


@pytest.mark.parametrize("told_by", ["the settings", "the registry", "nobody"])
def test_the_health_check_tells_a_run_that_was_too_short_for_its_minimum(
    night: Context, monkeypatch: pytest.MonkeyPatch, told_by: str
) -> None:
    name = "disk-space-check"
    assert jobs.run_here(night, name).result["success"] is True
    Ledger(night.database).plan([(name, night.clock.now() + timedelta(hours=1))], night.clock.now())
    context = night
    if told_by == "the settings":
        monkeypatch.setenv("GENGFU_SCHEDULE__JOBS", json.dumps({name: {"minimum_s": 3600}}))
        context = replace(night, settings=load())
    declared = {name: 3600.0} if told_by == "the registry" else None
    facts = jobs.system_health_check(context, minimum_s=declared).result["schedule"]
    short = [(fact["job"], fact["minimum_s"]) for fact in facts if fact["fact"] == "RunTooShort"]
    assert short == ([] if told_by == "nobody" else [(name, 3600.0)])


def test_two_cleanups_of_a_day_stand_in_one_report(night: Context) -> None:
    first = jobs.run_here(night, "cleanup-expired-tasks").result
    jobs.run_here(night, "cleanup-expired-tasks")
    report = json.loads(Path(first["report_path"]).read_text(encoding="utf-8"))
    assert report["tasks_cleaned"] == first["tasks_cleaned"]
    assert len(report["runs"]) == 2
