"""The bars of `gengfu retention run`, as a terminal of a given width gets them."""

import io
import re
from dataclasses import replace
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from app.cli import _retention_progress
from app.retention.workplace import Stage

ROWS = Stage(kind="rule", name="completed", counted=("rule.completed.rows",), before=100, total=120_000)
LONG = Stage(
    kind="rule", name="很久以前完成的订单及其所有照片", counted=("rule.x.rows",), before=0, total=1_234_567_890
)
FILES = Stage(kind="files", name="files", counted=("files", "referenced"), before=0, total=5_000)
FOLDERS = Stage(kind="folders", name="folders", counted=("temp", "logs"), before=7)
_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Screen:
    """What stands in the last frame."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
        self._file = io.StringIO()
        console = Console(file=self._file, force_terminal=True, width=width, height=30, color_system=None)
        monkeypatch.setattr(_retention_progress, "Console", lambda **_: console)

    def lines(self, bars: Any) -> list[str]:
        self._file.seek(0)
        self._file.truncate()
        bars._bars.refresh()
        return [line.rstrip() for line in re.split(r"[\r\n]+", _CODES.sub("", self._file.getvalue())) if line.strip()]


@pytest.mark.parametrize("width", [80, 120])
def test_no_bar_is_wider_than_the_window(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    screen = Screen(monkeypatch, width)
    with _retention_progress.shown() as bars:
        assert bars is not None
        for stage in (ROWS, LONG, FILES, FOLDERS):
            bars.begin(stage)
            bars.advance({"rule.completed.rows": 60_100, "rule.x.rows": 1_000_000_000, "files": 2_000, "temp": 9})
        lines = screen.lines(bars)
    assert len(lines) == 4
    assert max(map(cell_len, lines)) <= width
    completed, other, files, folders = lines
    assert (completed.split()[0], "60,000/120,000 rows" in completed) == ("completed", True)
    assert other.startswith("很久以前完成的订")
    assert "…" in other[:18]
    assert "1,000,000,000/1,234,567,890 rows" in other
    assert "2,000/5,000 files" in files
    assert (folders.split()[0], "2 files" in folders) == ("folders", True)


def test_until_the_first_stage_it_tells_that_something_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(monkeypatch, 80)
    with _retention_progress.shown() as bars:
        assert bars is not None
        bars.advance({"purged_rows": 5})
        assert [line.split()[0] for line in screen.lines(bars)] == ["looking"]
        bars.begin(ROWS)
        assert [line.split()[0] for line in screen.lines(bars)] == ["completed"]


def test_a_bar_that_ended_tells_what_it_took_and_never_less_than_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(monkeypatch, 80)
    with _retention_progress.shown() as bars:
        assert bars is not None
        bars.begin(FILES)
        bars.advance({"files": 5_400, "referenced": 100})
        bars.begin(FOLDERS)
        files, folders = screen.lines(bars)
    assert "5,500/5,500 files" in files
    assert files.endswith("in 0:00:00")
    assert folders.endswith("-:--:--")


@pytest.mark.parametrize(("kind", "sign"), [("bound", ">="), ("estimate", "~")])
def test_a_total_that_is_not_certain_is_told_as_what_it_is(
    monkeypatch: pytest.MonkeyPatch, kind: Any, sign: str
) -> None:
    screen = Screen(monkeypatch, 80)
    with _retention_progress.shown() as bars:
        assert bars is not None
        bars.begin(replace(ROWS, total=200_001, total_is=kind))
        bars.advance({"rule.completed.rows": 50_100})
        bars.advance({"rule.completed.rows": 100_100})
        (within,) = screen.lines(bars)
        bars.advance({"rule.completed.rows": 300_100})
        (beyond,) = screen.lines(bars)
        bars.begin(FOLDERS)
        ended = screen.lines(bars)[0]
    assert f"100,000/{sign}200,001 rows" in within
    assert f" {sign}0:00:0" in within, "what remains is told with the same sign"
    assert "300,000 rows" in beyond, "of a total that was passed nothing is told"
    assert beyond.endswith("-:--:--")
    assert "300,000/300,000 rows" in ended
    assert sign not in ended


def test_a_rate_is_told_from_the_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(monkeypatch, 80)
    with _retention_progress.shown() as bars:
        assert bars is not None
        bars.begin(ROWS)
        (line,) = screen.lines(bars)
    assert " 0/s " in line


def test_where_no_terminal_is_there_are_no_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_retention_progress, "Console", lambda **_: Console(file=io.StringIO()))
    with _retention_progress.shown() as bars:
        assert bars is None
