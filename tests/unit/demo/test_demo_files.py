import gzip
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from app.core.errors import OutputUnwritable
from app.demo.create import ROOT_NAMES, generate
from app.demo.files import FileWriter, write_files_of
from app.demo.leftovers import write_old_logs, write_temp_files
from app.demo.tasks import Story

NOW = datetime(2026, 3, 10, 4, 0, tzinfo=UTC)


def _story(**paths: str) -> Story:
    story = next(iter(generate(1, seed=1, now=NOW, zone=ZoneInfo("Asia/Shanghai"))))
    task = story.task._replace(image_path=None, document_path=None, screenshot_path=None)
    return Story(task._replace(**paths), None, on_disk=True)


def _roots(folder: Path) -> dict[str, Path]:
    return {name: folder / name for name in ROOT_NAMES}


def _below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_file_is_small_and_as_old_as_its_task(tmp_path: Path) -> None:
    writer = FileWriter()
    story = _story(image_path="2026/03/09/回证照片.jpg")
    write_files_of(story, _roots(tmp_path), writer)
    file = tmp_path / "uploads/2026/03/09/回证照片.jpg"
    assert 40 <= file.stat().st_size <= 440
    assert file.stat().st_mtime == pytest.approx(story.task.updated_at.timestamp(), abs=1e-3)
    assert (writer.files, writer.bytes) == (1, file.stat().st_size)
    assert file.read_bytes().startswith(b"\xff\xd8\xff")


def test_every_column_has_its_root(tmp_path: Path) -> None:
    write_files_of(
        _story(image_path="a.jpg", document_path="b.docx", screenshot_path="c.png"), _roots(tmp_path), FileWriter()
    )
    assert _below(tmp_path) == {"uploads/a.jpg", "documents/b.docx", "screenshots/c.png"}


@pytest.mark.parametrize("path", ["../outside.docx", "/srv/gengfu-outside/合同.docx", "2026//./x.docx", "a/../b.docx"])
def test_a_hostile_path_is_never_written(tmp_path: Path, path: str) -> None:
    writer = FileWriter()
    write_files_of(_story(document_path=path), _roots(tmp_path / "roots"), writer)
    assert _below(tmp_path) == set()
    assert writer.files == 0


def test_a_file_that_stands_there_is_left_alone_and_not_counted(tmp_path: Path) -> None:
    (tmp_path / "合同.docx").write_text("somebody's")
    writer = FileWriter()
    assert not writer.write(tmp_path, "合同.docx", NOW)
    assert (tmp_path / "合同.docx").read_text() == "somebody's"
    assert (writer.files, writer.bytes) == (0, 0)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a.docx").symlink_to(tmp_path / "target")
    assert not FileWriter().write(tmp_path, "a.docx", NOW)
    assert not (tmp_path / "target").exists()


def test_an_unwritable_place_is_told_by_name(tmp_path: Path) -> None:
    (tmp_path / "2026").write_text("a file where a folder should be")
    with pytest.raises(OutputUnwritable, match=r"2026/x\.png"):
        FileWriter().write(tmp_path, "2026/x.png", NOW)


def test_temp_files_lie_on_both_sides_of_24_hours(tmp_path: Path) -> None:
    leftovers = write_temp_files(tmp_path, NOW)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    ages = [NOW.timestamp() - path.stat().st_mtime for path in files]
    assert leftovers.files == len(files)
    assert leftovers.expired == sum(age > 24 * 3600 for age in ages)
    assert 5 < leftovers.expired < leftovers.files - 5
    assert all(path.stat().st_atime == path.stat().st_mtime for path in files)


def test_temp_files_have_names_that_careless_cleaners_stumble_over(tmp_path: Path) -> None:
    write_temp_files(tmp_path, NOW)
    names = os.listdir(os.fsencode(tmp_path))  # noqa: PTH208 - names as bytes
    assert b"-rf.tmp" in names
    assert "临时文件.tmp".encode("gbk") in names
    assert "预览_回证.tmp".encode() in names


def test_logs_lie_on_both_sides_of_30_days(tmp_path: Path) -> None:
    leftovers = write_old_logs(tmp_path / "logs", NOW)
    ages = [NOW.timestamp() - path.stat().st_mtime for path in (tmp_path / "logs").iterdir()]
    assert leftovers.files == len(ages)
    assert leftovers.expired == sum(age > timedelta(days=30).total_seconds() for age in ages)
    assert 0 < leftovers.expired < leftovers.files


def test_active_logs_are_neither_made_nor_touched(tmp_path: Path) -> None:
    active = ("app.log", "celery_worker.log", "celerybeat.log", "critical_alerts.log", "access.log")
    (tmp_path / "app.log").write_text("活动日志\n")
    write_old_logs(tmp_path, NOW)
    assert (tmp_path / "app.log").read_text() == "活动日志\n"
    assert [name for name in active if (tmp_path / name).exists()] == ["app.log"]


def test_old_logs_are_compressed_as_a_rotation_does_it(tmp_path: Path) -> None:
    write_old_logs(tmp_path, NOW)
    old = tmp_path / "app.log.2025-12-05.gz"
    assert "示例日志".encode() in gzip.decompress(old.read_bytes())


def test_leftovers_that_stand_there_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "app.log.2025-12-05.gz").write_text("somebody's")
    (tmp_path / "-rf.tmp").write_text("somebody's")
    first = write_temp_files(tmp_path, NOW)
    write_old_logs(tmp_path, NOW)
    assert (tmp_path / "app.log.2025-12-05.gz").read_text() == "somebody's"
    assert (tmp_path / "-rf.tmp").read_text() == "somebody's"
    assert write_temp_files(tmp_path, NOW).files == 0
    assert first.files > 0
