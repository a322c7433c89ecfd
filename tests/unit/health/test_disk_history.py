"""What was used is kept in the database, or in the day's reports, and read back from both."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert

from app.core.clock import ManualClock
from app.core.database import Database, DatabaseSettings
from app.core.own_tables import metric_sample
from app.health.disk_history import DiskHistory, _values
from app.health.disk_report import append_disk_report, disk_report_path
from app.health.samples import SampleStore

GIB = 1024**3
ZONE = ZoneInfo("Asia/Shanghai")
HOUR = timedelta(hours=1)


def checked(
    used_gb: float, *, mount: str = "/数据", size_gb: float = 1000, inodes: int | None = 1000, read_only: bool = False
) -> dict[str, Any]:
    """The part of a disk check's result that matters here."""
    found = {
        "mount": mount,
        "read_only": read_only,
        "used_bytes": round(used_gb * GIB),
        "free_bytes": round((size_gb - used_gb) * GIB),
        "inodes_used": inodes,
        "inodes_free": None if inodes is None else 100_000 - inodes,
    }
    return {"success": True, "status": "normal", "disk_info": found, "mounts": [found], "errors": []}


@pytest.fixture
def history(database: Database, clock: ManualClock, tmp_path: Path) -> DiskHistory:
    return DiskHistory(store=SampleStore(database=database, clock=clock), reports=tmp_path / "daily", zone=ZONE)


@pytest.fixture
def cut_off(clock: ManualClock, tmp_path: Path) -> Iterator[DiskHistory]:
    """The same history while its database does not answer."""
    dead = Database("postgresql://app:geheim@127.0.0.1:1/app", DatabaseSettings())
    yield DiskHistory(store=SampleStore(database=dead, clock=clock), reports=tmp_path / "daily", zone=ZONE)
    dead.dispose()


def fill(history: DiskHistory, clock: ManualClock, results: list[dict[str, Any]]) -> None:
    """Keep the results hour by hour, the last one an hour ago; in one transaction, where keeping commits each."""
    rows = [
        {"series": series, "at": clock.now() + hour * HOUR, "value": value}
        for hour, result in enumerate(results)
        for series, value in _values(result).items()
    ]
    with history.store.database.write() as connection:
        connection.execute(insert(metric_sample), rows)
    clock.advance(len(results) * HOUR)


def leak(history: DiskHistory, clock: ManualClock, *, days: int, **how: Any) -> dict[str, Any]:
    """Keep a leak of 1 GB an hour; return what is found now."""
    fill(history, clock, [checked(100 + hour, **how) for hour in range(24 * days)])
    return checked(100 + 24 * days, **how)


def test_a_leak_is_told_with_its_hour_rate_and_reason(history: DiskHistory, clock: ManualClock) -> None:
    now = leak(history, clock, days=9)
    result = history.with_forecasts(now, clock.now())
    told = result["mounts"][0]["forecast"]
    left = 1000 - 100 - 24 * 9
    assert told == {
        "full_at": (clock.now() + left * HOUR).astimezone(ZONE).isoformat(timespec="minutes"),
        "hours_left": float(left),
        "rate_bytes_per_hour": GIB,
        "method": "slow",
        "confidence": 1.0,
        "samples": 24 * 9 + 1,
        "verdict": "filling",
        "reason": told["reason"],
    }
    assert told["reason"].startswith("24.0 GB a day (median of 168 hours against the day before); 684.0 GB free, ")
    assert result["disk_info"] is result["mounts"][0]
    assert result["history_errors"] == []
    assert json.loads(json.dumps(result)) == result


def test_inodes_have_a_forecast_of_their_own(history: DiskHistory, clock: ManualClock) -> None:
    fill(history, clock, [checked(500, inodes=1000 + 100 * hour) for hour in range(24 * 9)])
    mount = history.with_forecasts(checked(500, inodes=1000 + 100 * 24 * 9), clock.now())["mounts"][0]
    assert mount["forecast"]["verdict"] == "steady"
    told = mount["inode_forecast"]
    assert (told["verdict"], told["rate_inodes_per_hour"], told["method"]) == ("filling", 100, "slow")
    assert told["hours_left"] == (100_000 - 1000 - 100 * 24 * 9) / 100
    assert told["reason"].startswith("2,400 inodes a day")


def test_a_file_system_without_inode_numbers_has_no_forecast_of_them(history: DiskHistory, clock: ManualClock) -> None:
    history.keep(checked(1, inodes=None), clock.now())
    mount = history.with_forecasts(checked(1, inodes=None), clock.now())["mounts"][0]
    assert mount["inode_forecast"] is None
    assert mount["forecast"]["verdict"] == "insufficient data"


def test_a_read_only_mount_does_not_fill(history: DiskHistory, clock: ManualClock) -> None:
    now = leak(history, clock, days=5, read_only=True)
    told = history.with_forecasts(now, clock.now())["mounts"][0]["forecast"]
    assert (told["verdict"], told["hours_left"]) == ("steady", None)
    assert "read-only" in told["reason"]


def test_without_a_database_the_days_reports_serve(cut_off: DiskHistory, clock: ManualClock) -> None:
    for hour in range(24 * 5):
        local = clock.now().astimezone(ZONE)
        append_disk_report(disk_report_path(cut_off.reports, local), checked(100 + hour), local)
        clock.advance(HOUR)
    now = checked(100 + 24 * 5)
    away = cut_off.keep(now, clock.now())
    assert away is not None
    assert "geheim" not in away
    result = cut_off.with_forecasts(now, clock.now(), away=away)
    told = result["mounts"][0]["forecast"]
    assert (told["verdict"], told["rate_bytes_per_hour"], told["samples"]) == ("filling", GIB, 24 * 5 + 1)
    assert result["history_errors"] == [away]


def test_a_sample_that_the_database_does_not_take_stands_in_the_days_report(
    cut_off: DiskHistory, clock: ManualClock
) -> None:
    cut_off.keep_anywhere(checked(5), clock.now())
    document = json.loads(disk_report_path(cut_off.reports, clock.now().astimezone(ZONE)).read_text("utf-8"))
    assert [sample["mounts"][0]["used_bytes"] for sample in document["samples"]] == [5 * GIB]


def test_a_sample_that_the_database_took_is_not_written_twice(history: DiskHistory, clock: ManualClock) -> None:
    history.keep_anywhere(checked(5), clock.now())
    assert not history.reports.exists()


def test_an_outage_of_the_database_leaves_no_gap(
    history: DiskHistory, cut_off: DiskHistory, clock: ManualClock
) -> None:
    leak(history, clock, days=5)
    for hour in range(5):
        cut_off.keep_anywhere(checked(100 + 24 * 5 + hour), clock.now() + timedelta(milliseconds=250))
        clock.advance(HOUR)
    told = history.with_forecasts(checked(100 + 24 * 5 + 5), clock.now())["mounts"][0]["forecast"]
    assert (told["samples"], told["rate_bytes_per_hour"]) == (24 * 5 + 5 + 1, GIB)


def test_a_sample_in_both_places_counts_once(history: DiskHistory, clock: ManualClock) -> None:
    local = (clock.now() + timedelta(milliseconds=700)).astimezone(ZONE)
    history.keep(checked(5), local)
    append_disk_report(disk_report_path(history.reports, local), checked(5), local)
    clock.advance(HOUR)
    assert history.with_forecasts(checked(5), clock.now())["mounts"][0]["forecast"]["samples"] == 2


@pytest.mark.parametrize(
    "damage", ["{", "[]", '{"samples": [{"at": "2026-03-10T12:00:00", "mounts": []}]}', '{"samples": [{"at": "x"}]}']
)
def test_a_damaged_report_is_named_and_the_others_are_read(
    history: DiskHistory, clock: ManualClock, damage: str
) -> None:
    local = clock.now().astimezone(ZONE)
    append_disk_report(disk_report_path(history.reports, local - timedelta(days=1)), checked(5), local - HOUR)
    path = disk_report_path(history.reports, local)
    path.write_text(damage)
    result = history.with_forecasts(checked(5), local)
    assert [str(path) in line for line in result["history_errors"]] == [True]
    assert result["mounts"][0]["forecast"]["samples"] == 2
    assert path.read_text() == damage


def test_reports_of_other_mounts_and_without_figures_in_bytes_are_passed_over(
    history: DiskHistory, clock: ManualClock
) -> None:
    local = clock.now().astimezone(ZONE)
    path = disk_report_path(history.reports, local)
    append_disk_report(path, checked(5, mount="/other"), local - HOUR)
    append_disk_report(path, {"mounts": [{"mount": "/数据", "used_gb": 5}]}, local - HOUR)
    result = history.with_forecasts(checked(5), local)
    assert result["history_errors"] == []
    assert result["mounts"][0]["forecast"]["samples"] == 1


@pytest.mark.parametrize("mount", ["/" + "长" * 4000, "/a\udcff\udcfe", "/x\n\x1b[31m"])
def test_any_name_of_a_mount_keeps_its_samples(history: DiskHistory, clock: ManualClock, mount: str) -> None:
    assert history.keep(checked(5, mount=mount), clock.now()) is None
    assert history.keep(checked(5, mount=mount + "b"), clock.now()) is None
    clock.advance(HOUR)
    assert history.with_forecasts(checked(6, mount=mount), clock.now())["mounts"][0]["forecast"]["samples"] == 2


def test_nothing_measured_keeps_nothing_and_still_has_the_keys(history: DiskHistory, clock: ManualClock) -> None:
    nothing: dict[str, Any] = {"success": False, "disk_info": None, "mounts": [], "errors": [], "error": "why"}
    assert history.keep(nothing, clock.now()) is None
    result = history.with_forecasts(nothing, datetime.now(ZONE))
    assert (result["mounts"], result["disk_info"], result["history_errors"]) == ([], None, [])
