"""The disk check as a job, on both databases: samples, forecast, alerts, report."""

import json
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from app import jobs
from app.context import Context, make_context
from app.core.clock import ManualClock
from app.core.migrate import upgrade
from app.core.own_tables import metric_sample
from app.settings import load

MIB = 1024**2


@pytest.fixture
def context(database_url: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("GENGFU_GENERAL__TIMEZONE", "Asia/Shanghai")
    made = make_context(load(), clock)
    upgrade(made.database)
    yield made
    made.database.dispose()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The one file system there is, of 1,000 GB; `used` can be changed."""
    state = {"used": 100}

    def status(_path: Path) -> os.statvfs_result:
        free = 1000 - state["used"]
        return os.statvfs_result((1024 * MIB, 1024 * MIB, 1000, free, free, 10**6, 10**6 - 500, 10**6 - 500, 0, 255))

    monkeypatch.setattr("app.health.checks.disk.os.statvfs", status)
    return state


def samples(context: Context) -> list[tuple[str, float]]:
    query = select(metric_sample.c.series, metric_sample.c.value).order_by(metric_sample.c.at, metric_sample.c.series)
    with context.database.read() as connection:
        return [(str(row.series), float(row.value)) for row in connection.execute(query)]


def leaked(context: Context, clock: ManualClock, *, hours: int, per_hour: int) -> None:
    """A history of `hours` hours in which 100 GB grew by so many GB each hour."""
    mount = jobs.look_at_disks(context)["disk_info"]["mount"]
    rows = [
        {"series": f"disk.used_bytes:{mount}", "at": clock.now() + timedelta(hours=hour), "value": used * 1024.0 * MIB}
        for hour, used in enumerate(range(100, 100 + hours * per_hour, per_hour))
    ]
    with context.database.write() as connection:
        connection.execute(insert(metric_sample), rows)
    clock.advance(timedelta(hours=hours))


@pytest.mark.parametrize("job", ["disk-space-check", "system-health-check"])
def test_both_the_hourly_and_the_five_minute_check_keep_a_sample(
    context: Context, disk: dict[str, int], job: str
) -> None:
    jobs.run_here(context, job)
    mount = jobs.look_at_disks(context)["disk_info"]["mount"]
    used = disk["used"] * 1024.0 * MIB
    assert samples(context) == [(f"disk.used_bytes:{mount}", used), (f"disk.used_inodes:{mount}", 500.0)]


def test_looking_keeps_nothing(context: Context) -> None:
    jobs.look_at_disks(context)
    assert samples(context) == []
    assert not context.settings.paths.daily_reports.exists()


def test_a_disk_that_fills_is_told_in_result_report_and_alert(
    context: Context, disk: dict[str, int], clock: ManualClock
) -> None:
    leaked(context, clock, hours=24 * 9, per_hour=3)
    disk["used"] = 100 + 24 * 9 * 3
    done = jobs.run_here(context, "disk-space-check")
    left = (1000 - disk["used"]) / 3
    found = done.result["disk_info"]["forecast"]
    assert (found["verdict"], found["hours_left"]) == ("filling", round(left, 1))
    (report,) = context.settings.paths.daily_reports.glob("disk_report_*.json")
    assert json.loads(report.read_text("utf-8"))["samples"][-1]["mounts"] == done.result["mounts"]
    lines = (context.settings.paths.logs / "warning_alerts.log").read_text("utf-8").splitlines()
    alerts = [json.loads(line) for line in lines]
    (alert,) = [alert for alert in alerts if alert["alertname"] == "DiskWillFill"]
    assert (alert["value"], alert["threshold"], alert["labels"]["of"]) == (round(left, 1), 168.0, "space")


def test_a_disk_that_does_not_fill_is_quiet(context: Context, disk: dict[str, int], clock: ManualClock) -> None:
    leaked(context, clock, hours=24 * 9, per_hour=1)
    disk["used"] = 100 + 24 * 9
    assert jobs.run_here(context, "disk-space-check").result["alerts"] == 0


def test_a_database_that_is_away_costs_neither_the_check_nor_the_sample(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch, disk: dict[str, int]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://app:geheim@127.0.0.1:1/app")
    context = make_context(load(), clock)
    first = jobs.run_here(context, "disk-space-check").result
    clock.advance(timedelta(minutes=5))
    jobs.run_here(context, "system-health-check")
    clock.advance(timedelta(minutes=5))
    disk["used"] += 1
    last = jobs.run_here(context, "disk-space-check").result
    assert (first["success"], len(first["history_errors"])) == (True, 1)
    assert "geheim" not in str(first)
    assert [result["disk_info"]["forecast"]["samples"] for result in (first, last)] == [1, 3]
