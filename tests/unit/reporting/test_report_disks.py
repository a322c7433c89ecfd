"""The disks of a day on its page and in the terminal: what is used, and when it will be full."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from app.cli import gengfu
from app.reporting.page import Links, report_page
from app.reporting.page_disks import DiskLine, disk_lines
from app.reporting.page_files import write_page
from app.reporting.words import Words

EN, ZH = Words("en"), Words("zh")
STEADY = {"verdict": "steady", "method": None, "full_at": None, "hours_left": None}
FILLING = {"verdict": "filling", "method": "slow", "full_at": "2026-03-20T04:30+08:00", "hours_left": 252.5}


def mount(name: str = "/srv/数据", **more: Any) -> dict[str, Any]:
    sizes = {"total_gb": 100.0, "used_gb": 61.5, "free_gb": 38.5, "usage_percent": 61.5}
    inodes = {"inodes_used": 900, "inodes_free": 100, "inodes_percent": 90.0, "inode_forecast": STEADY}
    return {"mount": name, **sizes, **inodes, "forecast": STEADY} | more


def sample(*mounts: dict[str, Any]) -> dict[str, Any]:
    return {"at": "2026-03-09T23:15:00+08:00", "mounts": list(mounts)}


def lines(*samples: dict[str, Any], words: Words = EN) -> list[DiskLine]:
    return list(disk_lines({}, samples, words))


def test_a_disk_that_fills_says_when_and_how_that_is_known() -> None:
    [one] = lines(sample(mount(forecast=FILLING)))
    assert one == DiskLine(
        name="/srv/数据",
        size="100 GB",
        used="61.5 GB",
        share="61.5 %",
        free="38.5 GB",
        full_at="2026-03-20 04:30 (in 11 days)",
        method="growth of seven days",
    )


@pytest.mark.parametrize(("hours", "told"), [(47.9, "in 48 hours"), (48.0, "in 2 days"), (9.9, "in 10 hours")])
def test_hours_are_told_up_to_two_days(hours: float, told: str) -> None:
    fast = FILLING | {"verdict": "filling fast", "method": "fast", "hours_left": hours}
    [one] = lines(sample(mount(forecast=fast)))
    assert one.full_at == f"2026-03-20 04:30 ({told})"
    assert one.method == "pace of three hours"


@pytest.mark.parametrize(
    ("forecast", "english", "chinese"),
    [
        (STEADY, "does not fill", "不会写满"),
        ({"verdict": "insufficient data"}, "insufficient data", "数据不足"),
        ({"verdict": "full", "hours_left": 0.0}, "full", "已写满"),
        (None, "–", "–"),
        ({"verdict": "filling", "hours_left": "bald"}, "filling", "filling"),
    ],
)
def test_every_other_verdict_has_its_words(forecast: Any, english: str, chinese: str) -> None:
    told = [lines(sample(mount(forecast=forecast)), words=words)[0].full_at for words in (EN, ZH)]
    assert told == [english, chinese]


def test_inodes_have_a_line_only_where_they_run_out() -> None:
    assert len(lines(sample(mount()))) == 1
    [_, inodes] = lines(sample(mount(inode_forecast=FILLING)))
    assert (inodes.name, inodes.size, inodes.used) == ("/srv/数据 (inodes)", "1,000", "900")
    assert (inodes.free, inodes.full_at) == ("100", "2026-03-20 04:30 (in 11 days)")


def test_each_disk_is_told_once_as_measured_last_with_its_last_forecast() -> None:
    early, late = mount(forecast=FILLING), mount(used_gb=62.0, usage_percent=62.0)
    del late["forecast"]  # a health check measures and forecasts nothing
    found = lines(sample(early, mount("/")), sample(late))
    assert [(one.name, one.used) for one in found] == [("/", "61.5 GB"), ("/srv/数据", "62 GB")]
    assert found[1].full_at == "2026-03-20 04:30 (in 11 days)"


def test_without_a_disk_check_the_disk_of_the_report_is_told_and_without_any_nothing() -> None:
    [one] = disk_lines({"system_statistics": {"disk_usage": mount("/")}}, [], EN)
    assert one.name == "/"
    assert list(disk_lines({"system_statistics": {"disk_usage": None}}, [], EN)) == []


def test_a_hostile_disk_report_breaks_nothing_and_is_shown_as_text() -> None:
    odd = [{"mounts": "x"}, {"mounts": [None, {"mount": "<b>\x1b[31m", "forecast": [1], "used_gb": "much"}]}, {}]
    [one] = lines(*odd)
    assert (one.name, one.used, one.full_at) == ("<b>\\x1b[31m", "–", "–")
    page = report_page({"date": "2026-03-09"}, "en", Links(json="x.json"), odd)
    assert "&lt;b&gt;" in page
    assert "<b>" not in page


def test_page_and_terminal_read_the_disk_report_of_the_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENGFU_HOME", str(tmp_path))
    folder = tmp_path / "reports" / "daily"
    folder.mkdir(parents=True)
    report = folder / "daily_report_20260309.json"
    report.write_text(json.dumps({"date": "2026-03-09", "task_statistics": {"total_tasks": 1}}), encoding="utf-8")
    day = {"date": "2026-03-09", "samples": [sample(mount(forecast=FILLING))]}
    (folder / "disk_report_20260309.json").write_text(json.dumps(day), encoding="utf-8")
    assert "2026-03-20 04:30 (11 天后)" in write_page(report, "zh").read_text(encoding="utf-8")
    shown = CliRunner().invoke(gengfu, ["report", "show"], env={"COLUMNS": "120"}).output
    assert "/srv/数据" in shown
    assert "2026-03-20 04:30 (in 11 days)   growth of seven days" in shown
