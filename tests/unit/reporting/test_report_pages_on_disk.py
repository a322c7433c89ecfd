"""Pages beside the stored reports, and how they lead to each other."""

from pathlib import Path

import pytest
from report_documents import document

from app.core.atomic_json import write_json
from app.core.errors import GengfuError
from app.reporting.page_files import page_path, write_page


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "daily"


def stored(folder: Path, day: str) -> Path:
    path = folder / f"daily_report_{day}.json"
    write_json(path, document(f"{day[:4]}-{day[4:6]}-{day[6:]}"))
    return path


def leads_to(report: Path, day: str) -> bool:
    return f'href="daily_report_{day}.html"' in page_path(report).read_text(encoding="utf-8")


def test_a_page_stands_beside_its_report_and_leads_to_the_days_around_it(folder: Path) -> None:
    reports = {day: stored(folder, day) for day in ("20260308", "20260309", "20260311")}
    for report in reports.values():
        write_page(report, "en")
    assert leads_to(reports["20260309"], "20260308")
    assert leads_to(reports["20260309"], "20260311")
    assert leads_to(reports["20260308"], "20260309")
    assert not leads_to(reports["20260308"], "20260311")


def test_a_page_that_comes_between_two_is_linked_by_both(folder: Path) -> None:
    first, last = stored(folder, "20260308"), stored(folder, "20260310")
    for report in (first, last):
        write_page(report, "en")
    write_page(stored(folder, "20260309"), "en")
    assert leads_to(first, "20260309")
    assert leads_to(last, "20260309")


def test_no_page_leads_to_a_report_that_has_none(folder: Path) -> None:
    stored(folder, "20260308")
    report = stored(folder, "20260309")
    write_page(report, "en")
    assert not leads_to(report, "20260308")


def test_a_page_drawn_again_leaves_its_neighbours_alone(folder: Path) -> None:
    first, second = stored(folder, "20260308"), stored(folder, "20260309")
    for report in (first, second):
        write_page(report, "en")
    page_path(first).write_text("as it was", encoding="utf-8")
    write_page(second, "zh")
    assert page_path(first).read_text(encoding="utf-8") == "as it was"


def test_a_neighbour_whose_report_is_broken_keeps_its_page_and_costs_nothing(folder: Path) -> None:
    first = stored(folder, "20260308")
    write_page(first, "en")
    before = page_path(first).read_bytes()
    first.write_text("{half", encoding="utf-8")
    assert write_page(stored(folder, "20260309"), "en").exists()
    assert page_path(first).read_bytes() == before


def test_a_broken_report_has_no_page_and_is_told_by_name(folder: Path) -> None:
    report = stored(folder, "20260309")
    report.write_text("[]", encoding="utf-8")
    with pytest.raises(GengfuError, match="daily_report_20260309"):
        write_page(report, "en")
    assert list(folder.glob("*.html")) == []


def test_other_files_of_the_folder_are_no_pages(folder: Path) -> None:
    report = stored(folder, "20260309")
    for name in ("daily_report_x.html", "daily_report_20260308.html.bak", "weekly_report_2026-W10.html"):
        (folder / name).write_text("fremd", encoding="utf-8")
    write_page(report, "en")
    assert 'rel="prev"' not in page_path(report).read_text(encoding="utf-8")


def test_the_days_disk_checks_are_drawn_and_a_damaged_file_of_them_is_passed_over(folder: Path) -> None:
    report = stored(folder, "20260309")
    checks = folder / "disk_report_20260309.json"
    sample = {"at": "2026-03-09T10:15:00+08:00", "mounts": [{"mount": "/数据", "usage_percent": 61.5}]}
    write_json(checks, {"date": "2026-03-09", "samples": [sample, sample | {"at": "2026-03-09T11:15:00+08:00"}]})
    assert "/数据" in write_page(report, "en").read_text(encoding="utf-8")
    checks.write_text("{half", encoding="utf-8")
    assert "/数据" not in write_page(report, "en").read_text(encoding="utf-8")
