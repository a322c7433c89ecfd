"""`gengfu health disk`, as people and machines read it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app import jobs
from app.cli import gengfu
from app.health.disk_history import DiskHistory


def ask(*arguments: str) -> Result:
    return CliRunner().invoke(gengfu, ["health", "disk", *arguments], env={"COLUMNS": "80"})


def mounts(monkeypatch: pytest.MonkeyPatch, *paths: Path) -> None:
    monkeypatch.setenv("GENGFU_HEALTH__DISK__MOUNTS", json.dumps([str(path) for path in paths]))


def told(**values: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(("full_at", "hours_left", "method", "confidence"))
    return {**nothing, "samples": 200, "verdict": "steady", "reason": "1 GB a day", **values}


@pytest.fixture
def forecasts(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The forecasts that the command gets to see."""
    wanted: dict[str, Any] = {"forecast": told(), "inode_forecast": told()}
    monkeypatch.setattr(DiskHistory, "_judged", lambda _self, mount, *_more: {**mount, **wanted})
    return wanted


def test_a_machine_without_history_says_so_and_fits_into_eighty_columns() -> None:
    result = ask()
    assert result.exit_code == 0, result.output
    assert "insufficient data: 0 days can be compared with the day before, 3 are needed" in " ".join(
        result.stdout.split()
    )
    assert "█" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert result.stderr == ""


def test_json_is_the_result_of_the_job(tmp_path: Path) -> None:
    document = json.loads(ask("--json").stdout)
    assert document["success"] is True
    assert {"forecast", "inode_forecast", "read_only", "used_bytes"} <= set(document["disk_info"])
    assert document["history_errors"] == []
    assert not list((tmp_path / "home").rglob("disk_report_*.json"))


@pytest.mark.parametrize(
    ("space", "inodes", "shown"),
    [
        (told(), told(), "steady"),
        (told(verdict="insufficient data"), told(), "?"),
        (told(verdict="full", hours_left=0.0), told(), "full"),
        (told(verdict="filling fast", hours_left=5.6), told(), "in 6 h"),
        (told(hours_left=47.4), told(hours_left=300.0, full_at="2026-12-04T01:00+08:00"), "in 47 h"),
        (told(), told(hours_left=120.0, full_at="2026-11-27T08:00+08:00"), "in 5 d, 11-27"),
        (told(), None, "steady"),
    ],
)
def test_the_sooner_of_space_and_inodes_is_shown(
    forecasts: dict[str, Any], space: dict[str, Any], inodes: dict[str, Any] | None, shown: str
) -> None:
    forecasts |= {"forecast": space, "inode_forecast": inodes}
    row = ask().stdout.splitlines()[2]
    assert row.endswith(f" {shown}")


def test_inodes_that_run_out_have_a_line_of_their_own(forecasts: dict[str, Any]) -> None:
    forecasts["inode_forecast"] = told(verdict="filling", hours_left=10.0, reason="9,000 inodes a day")
    assert ", inodes: filling: 9,000 inodes a day" in ask().stdout


def test_a_missing_mount_is_told_on_the_other_stream_and_by_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mounts(monkeypatch, tmp_path, tmp_path / "没有")
    result = ask("--json")
    assert result.exit_code == 5
    assert json.loads(result.stdout)["success"] is True
    assert "没有: does not exist" in result.stderr


def test_nothing_measured_is_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mounts(monkeypatch, tmp_path / "gone")
    result = ask()
    assert (result.exit_code, result.stdout) == (1, "")
    assert "gone: does not exist" in result.stderr


def test_a_database_that_is_away_is_told_and_the_disks_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://app:geheim@127.0.0.1:1/app")
    result = ask("--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["disk_info"]["used_bytes"] > 0
    assert "not seen: earlier samples: " in result.stderr
    assert "geheim" not in result.output


def test_the_name_of_a_mount_can_not_act_on_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    really = jobs.look_at_disks

    def hostile(context: Any) -> dict[str, Any]:
        result = really(context)
        mount = {**result["mounts"][0], "mount": "/\x1b[2J\n数据\udcff", "read_only": True}
        return {**result, "mounts": [mount], "errors": [{"path": "/\x1b]0;x\x07", "why": "gone"}]}

    monkeypatch.setattr(jobs, "look_at_disks", hostile)
    result = ask()
    assert result.exit_code == 5, result.output
    assert "\x1b" not in result.output
    assert "数据" in result.stdout
    assert "(read-only)" in " ".join(result.stdout.split())


def test_a_bar_shows_something_as_soon_as_anything_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def status(used: int) -> os.statvfs_result:
        return os.statvfs_result((1, 1, 1000, 1000 - used, 1000 - used, 10, 9, 9, 0, 255))

    for used, bar in ((0, "░" * 10), (1, "█" + "░" * 9), (440, "█" * 4 + "░" * 6), (1000, "█" * 10)):
        monkeypatch.setattr("app.health.checks.disk.os.statvfs", lambda _path, used=used: status(used))
        assert bar in ask().stdout
