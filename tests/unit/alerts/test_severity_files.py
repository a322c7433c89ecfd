"""The severity files on a disk that is full, linked elsewhere, rotated, or written by many at once; and the console."""

import io
import json
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alert_messages import a_notification, told

from app.alerts.channel import ChannelContext, DeliveryError, Notification
from app.alerts.channels import open_channel


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def one(level: str = "warning", **alert: Any) -> Notification:
    return a_notification(told(alert={"severity": level, **alert}), kind="event")


def write(logs: Path, notification: Notification) -> None:
    open_channel("log_files", ChannelContext(logs=logs, stderr=None)).send(notification)


def shown(console: io.StringIO, notification: Notification) -> str:
    open_channel("console", ChannelContext(logs=Path("/nowhere"), stderr=console)).send(notification)
    return console.getvalue()


def test_a_log_file_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("untouched")
    (tmp_path / "warning_alerts.log").symlink_to(target)
    with pytest.raises(DeliveryError, match=r"warning_alerts\.log"):
        write(tmp_path, one())
    assert target.read_text() == "untouched"


def test_a_log_file_rotated_away_is_begun_anew(tmp_path: Path) -> None:
    write(tmp_path, one(value=1.0))
    path = tmp_path / "warning_alerts.log"
    path.rename(path.with_suffix(".log.1"))
    write(tmp_path, one(value=2.0))
    assert [json.loads(line)["value"] for line in path.read_bytes().splitlines()] == [2.0]


def test_a_full_disk_is_said_and_the_next_line_starts_on_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_write = os.write

    def short_write(descriptor: int, content: bytes) -> int:
        return really_write(descriptor, content[:10])

    with monkeypatch.context() as patch:
        patch.setattr("app.alerts.channels.log_files.os.write", short_write)
        with pytest.raises(DeliveryError, match="No space left"):
            write(tmp_path, one("error"))
    write(tmp_path, one("error", message="磁盘已满"))
    torn, whole = (tmp_path / "error_alerts.log").read_bytes().splitlines()
    assert len(torn) == 10
    assert json.loads(whole)["message"] == "磁盘已满"


def test_the_console_has_colours_on_a_terminal_only() -> None:
    assert "\x1b[" not in shown(io.StringIO(), one("critical"))
    assert "\x1b[" in shown(Terminal(), one("critical"))


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_hostile_text_is_shown_escaped_on_the_console(stream: type[io.StringIO]) -> None:
    text = shown(stream(), one(message="\x1b]0;owned\x07\r\n2026 FAKE \x9b2J \u202e[red]x[/red]"))
    assert text.count("\n") == 1
    assert "\\x1b]0;owned\\x07\\x0d\\x0a2026 FAKE \\x9b2J \\u202e[red]x[/red]" in text
    assert not {"\x07", "\r", "\x9b", "\u202e"} & set(text)


def _write_many(logs: Path, number: int) -> None:
    for count in range(25):
        write(logs, one("critical" if count % 5 == 4 else "warning", value=float(number * 100 + count)))


@pytest.fixture
def writers(tmp_path: Path) -> Iterator[list[Any]]:
    context = multiprocessing.get_context("spawn")
    running = [context.Process(target=_write_many, args=(tmp_path, number)) for number in range(3)]
    yield running
    for process in running:
        if process.is_alive():
            process.kill()
        process.join()
        process.close()


@pytest.mark.slow
def test_processes_that_write_at_once_lose_no_line(tmp_path: Path, writers: list[Any]) -> None:
    for process in writers:
        process.start()
    for process in writers:
        process.join(120)
        assert process.exitcode == 0
    files = [tmp_path / f"{level}_alerts.log" for level in ("warning", "critical")]
    values = [json.loads(line)["value"] for file in files for line in file.read_bytes().splitlines()]
    assert sorted(values) == sorted(number * 100 + count for number in range(3) for count in range(25))
