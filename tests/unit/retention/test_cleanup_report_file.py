"""The day's clean-ups in one file: sums on top, every run below."""

import json
import os
import threading
from datetime import UTC, datetime
from errno import EDQUOT, EFBIG, ENOSPC
from pathlib import Path
from typing import Any

import pytest

from app.core.errors import OutputUnwritable
from app.retention.report_file import add_to_report, cleanup_report_path

AT = datetime(2026, 3, 10, 4, 0, tzinfo=UTC)


def _run(tasks: int, megabytes: float, errors: list[str] | None = None) -> dict[str, Any]:
    counts = dict.fromkeys(("files_cleaned", "receipts_cleaned", "logs_cleaned", "temp_files_cleaned"), 1)
    return {
        **counts,
        "success": True,
        "tasks_cleaned": tasks,
        "files_missing": 0,
        "bytes_freed": int(megabytes * (1 << 20)),
        "disk_space_freed_mb": megabytes,
        "errors": errors or [],
    }


def test_the_name_is_the_local_days(tmp_path: Path) -> None:
    assert cleanup_report_path(tmp_path, AT).name == "cleanup_report_20260310.json"


def test_a_second_run_does_not_hide_what_the_first_one_deleted(tmp_path: Path) -> None:
    path = cleanup_report_path(tmp_path, AT)
    add_to_report(path, _run(150, 2.5, ["拒绝"]), AT)
    add_to_report(path, _run(0, 0.5), AT)
    report = json.loads(path.read_bytes())
    assert (report["tasks_cleaned"], report["files_cleaned"], report["disk_space_freed_mb"]) == (150, 2, 3.0)
    assert report["errors"] == ["拒绝"]
    assert [run["tasks_cleaned"] for run in report["runs"]] == [150, 0]
    assert report["runs_of_the_day"] == 2


def test_what_a_run_carried_forward_is_counted_by_the_next_one_only(tmp_path: Path) -> None:
    path = cleanup_report_path(tmp_path, AT)
    add_to_report(path, _run(150, 1.0) | {"carried_forward": True}, AT)
    add_to_report(path, _run(150, 1.0), AT)
    assert json.loads(path.read_bytes())["tasks_cleaned"] == 150


def test_a_damaged_report_is_kept_aside_and_told(tmp_path: Path) -> None:
    path = cleanup_report_path(tmp_path, AT)
    path.write_text('{"runs": 3}')
    aside = add_to_report(path, _run(1, 0), AT)
    assert aside is not None
    assert aside.read_text() == '{"runs": 3}'
    assert json.loads(path.read_bytes())["tasks_cleaned"] == 1


@pytest.mark.parametrize("number", [ENOSPC, EDQUOT, EFBIG])
@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_on_a_full_disk_the_report_of_before_stays_and_the_next_run_adds_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    path = cleanup_report_path(tmp_path, AT)
    add_to_report(path, _run(150, 2.5), AT)
    before = path.read_bytes()

    def full(*_args: object, **_options: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as disk, pytest.raises(OutputUnwritable, match=r"cleanup_report_20260310\.json"):
        disk.setattr(Path if step == "replace" else os, step, full)
        add_to_report(path, _run(1, 0), AT)
    assert path.read_bytes() == before
    add_to_report(path, _run(2, 0), AT)
    assert json.loads(path.read_bytes())["tasks_cleaned"] == 152


def test_a_reader_only_ever_sees_whole_reports_whose_sums_are_right(tmp_path: Path) -> None:
    path = cleanup_report_path(tmp_path, AT)
    add_to_report(path, _run(1, 0, ["拒绝" * 500]), AT)
    is_over = threading.Event()
    wrong: list[str] = []

    def read() -> None:
        while not is_over.is_set():
            try:
                report = json.loads(path.read_bytes())
            except (OSError, ValueError) as error:
                wrong.append(repr(error))
                continue
            if report["tasks_cleaned"] != sum(run["tasks_cleaned"] for run in report["runs"]):
                wrong.append(f"{report['tasks_cleaned']} of {report['runs_of_the_day']} runs")

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(60):
            add_to_report(path, _run(1, 0, ["拒绝" * 500]), AT)
    finally:
        is_over.set()
        reader.join()
    assert wrong == []
    assert json.loads(path.read_bytes())["tasks_cleaned"] == 61
