"""A change of files is told once, by content, when they have come to rest."""

from datetime import timedelta
from pathlib import Path

import pytest

from app.core.clock import ManualClock
from app.core.file_watch import LOOK_EVERY_S, FileWatch

STEP = timedelta(seconds=LOOK_EVERY_S)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "设置.toml"


def looks(watch: FileWatch, clock: ManualClock, count: int) -> list[bool]:
    found = []
    for _ in range(count):
        found.append(watch.changed())
        clock.advance(STEP)
    return found


def test_each_content_is_told_once_when_it_was_the_same_at_two_looks(file: Path, clock: ManualClock) -> None:
    file.write_text("a")
    watch = FileWatch([file], clock)
    assert looks(watch, clock, 4) == [False, True, False, False]
    file.write_text("b")
    assert looks(watch, clock, 4) == [False, True, False, False]


def test_a_file_that_an_editor_empties_or_moves_before_it_writes_it_is_not_told_in_between(
    file: Path, clock: ManualClock
) -> None:
    file.write_text("a")
    watch = FileWatch([file], clock)
    assert looks(watch, clock, 2) == [False, True]
    file.write_text("")
    assert looks(watch, clock, 1) == [False]
    file.unlink()
    assert looks(watch, clock, 1) == [False]
    file.write_text("a")
    assert looks(watch, clock, 3) == [False, False, False]


def test_a_file_that_comes_goes_or_can_not_be_read_is_a_change(file: Path, clock: ManualClock) -> None:
    watch = FileWatch([file], clock)
    assert looks(watch, clock, 3) == [False, True, False]
    file.mkdir()
    assert looks(watch, clock, 3) == [False, True, False]
    file.rmdir()
    assert looks(watch, clock, 3) == [False, True, False]


def test_between_two_looks_the_disk_is_left_alone(file: Path, clock: ManualClock) -> None:
    watch = FileWatch([file], clock)
    assert looks(watch, clock, 2) == [False, True]
    file.write_text("a")
    assert not watch.changed()
    clock.advance(STEP - timedelta(microseconds=1))
    assert not watch.changed()
    file.write_text("b")  # never seen beside "a": the look above was too early
    clock.advance(timedelta(microseconds=1))
    assert looks(watch, clock, 2) == [False, True]
