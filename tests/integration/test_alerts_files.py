"""Alerts from the list handed over to the files, the console and the day's summary."""

import io
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.alerts.channel import Channel, ChannelContext
from app.alerts.notify import send_alerts
from app.alerts.settings import AlertSettings
from app.core.clock import ManualClock

NOON = datetime(2026, 3, 10, 4, 0, tzinfo=UTC)
ZONE = ZoneInfo("Asia/Shanghai")
Send = Callable[..., dict[str, Any]]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class BrokenPipe(io.StringIO):
    def write(self, _text: str, /) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def alert(severity: str = "warning", kind: str = "failure_rate", **more: Any) -> dict[str, Any]:
    return {"type": kind, "message": "失败率 62.5 %", "severity": severity, **more}


def send_to(home: Path, items: object, **options: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"settings": AlertSettings(), "stderr": io.StringIO(), "clock": ManualClock(NOON)}
    return send_alerts(items, zone=ZONE, logs=home / "logs", reports=home / "reports" / "alerts", **(given | options))


@pytest.fixture
def send(tmp_path: Path) -> Send:
    return lambda items, **options: send_to(tmp_path, items, **options)


def lines(home: Path, severity: str) -> list[dict[str, Any]]:
    path = home / "logs" / f"{severity}_alerts.log"
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def entries(home: Path) -> list[dict[str, Any]]:
    document = json.loads((home / "reports" / "alerts" / "2026-03-10.json").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = document["alerts"]
    return found


def test_each_severity_goes_to_its_own_file(send: Send, tmp_path: Path) -> None:
    result = send([alert("critical", "a"), alert("warning", "b"), alert("error", "c"), alert("warning", "d")])
    assert result["success"] is True
    assert result["sent"] == 4
    assert result["by_severity"] == {"critical": 1, "warning": 2, "error": 1}
    assert result["channels"] == {"log_files": "ok", "console": "ok"}
    assert [line["type"] for line in lines(tmp_path, "critical")] == ["a"]
    assert [line["type"] for line in lines(tmp_path, "warning")] == ["b", "d"]
    assert [line["type"] for line in lines(tmp_path, "error")] == ["c"]


def test_a_line_has_its_keys_in_reading_order_and_local_time(send: Send, tmp_path: Path) -> None:
    send([alert("critical", value=62.5, threshold=50, labels={"app": "回证"}, alertname="TaskFailureRateHigh")])
    (line,) = lines(tmp_path, "critical")
    assert list(line) == [
        *("timestamp", "level", "event", "message", "alertname", "value", "threshold", "labels", "fingerprint"),
        *("fired_at", "type", "count"),
    ]
    assert line["timestamp"] == "2026-03-10T12:00:00.000+08:00"
    assert (line["level"], line["event"], line["value"]) == ("critical", "firing", 62.5)
    assert "失败率" in (tmp_path / "logs" / "critical_alerts.log").read_text(encoding="utf-8")


def test_an_escalation_is_one_alert_in_the_summary_and_one_line_in_each_file(send: Send, tmp_path: Path) -> None:
    send([alert("warning")])
    result = send([alert("critical")])
    assert result["events"] == {"escalated": 1}
    assert [line["event"] for line in lines(tmp_path, "warning")] == ["firing"]
    assert [line["event"] for line in lines(tmp_path, "critical")] == ["escalated"]
    assert [(entry["severity"], entry["count"]) for entry in entries(tmp_path)] == [("critical", 2)]


def test_malformed_alerts_are_refused_one_by_one_and_the_rest_is_sent(send: Send, tmp_path: Path) -> None:
    result = send([alert(), "no dict", alert("fatal"), alert("error")])
    assert result["success"] is False
    assert result["sent"] == 2
    assert [refusal["index"] for refusal in result["refused"]] == [1, 2]
    assert "fatal" in result["refused"][1]["why"]
    assert len(lines(tmp_path, "warning")) == len(lines(tmp_path, "error")) == 1


@pytest.mark.parametrize("items", [None, "text", alert(), 7])
def test_what_is_no_list_is_refused_and_nothing_written(send: Send, tmp_path: Path, items: object) -> None:
    result = send(items)
    assert (result["success"], result["sent"], len(result["refused"])) == (False, 0, 1)
    assert not (tmp_path / "logs").exists()
    assert not (tmp_path / "reports").exists()


def test_no_alerts_is_a_success_that_writes_nothing(send: Send, tmp_path: Path) -> None:
    result = send([])
    assert (result["success"], result["sent"]) == (True, 0)
    assert list(tmp_path.iterdir()) == []


def test_switched_off_alerts_say_so_and_write_nothing(send: Send, tmp_path: Path) -> None:
    result = send([alert()], settings=AlertSettings(enabled=False))
    assert result["success"] is True
    assert "switched off" in result["skipped"]
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_log_folder_does_not_stop_the_console(send: Send, tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file, no folder")
    console = io.StringIO()
    result = send([alert("critical", "a"), alert("critical", "b")], stderr=console)
    assert result["success"] is True
    assert "critical_alerts.log" in result["channels"]["log_files"]
    assert "(and 1 more)" in result["channels"]["log_files"]
    assert console.getvalue().count("CRITICAL") == 2


def test_a_broken_console_does_not_stop_the_files_or_the_process(send: Send, tmp_path: Path) -> None:
    result = send([alert()], stderr=BrokenPipe())
    assert result["success"] is True
    assert "Broken pipe" in result["channels"]["console"]
    assert len(lines(tmp_path, "warning")) == 1


def test_an_alert_that_reached_no_channel_is_no_success_and_named(send: Send, tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file, no folder")
    result = send([alert("critical", value=1)], stderr=BrokenPipe())
    assert (result["success"], result["sent"]) == (False, 0)
    assert [(lost["type"], lost["value"]) for lost in result["undelivered"]] == [("failure_rate", 1)]
    assert result["by_severity"] == {"critical": 0, "warning": 0, "error": 0}


def test_a_channel_that_is_not_there_does_not_stop_the_others(send: Send, tmp_path: Path) -> None:
    result = send([alert()], channels=["telegraph", "log_files"])
    assert result["success"] is True
    assert "telegraph" in result["channels"]["telegraph"]
    assert len(lines(tmp_path, "warning")) == 1


def test_a_channel_with_a_bug_does_not_stop_the_others(
    send: Send, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(name: str, context: ChannelContext) -> Channel:
        if name == "console":
            raise ZeroDivisionError("a bug")
        return really_open(name, context)

    from app.alerts.channels import open_channel as really_open

    monkeypatch.setattr("app.alerts.notify.open_channel", opened)
    result = send([alert()], channels=["console", "log_files"])
    assert result["channels"] == {"console": "ZeroDivisionError: a bug", "log_files": "ok"}
    assert len(lines(tmp_path, "warning")) == 1


def test_an_unwritable_summary_is_said_and_the_alert_still_sent(send: Send, tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("a file, no folder")
    result = send([alert()])
    assert (result["success"], result["sent"]) == (True, 1)
    assert "2026-03-10.json" in result["summary_error"]
    assert [line["event"] for line in lines(tmp_path, "warning")] == ["firing"]


def test_a_damaged_summary_is_said_in_the_result(send: Send, tmp_path: Path) -> None:
    folder = tmp_path / "reports" / "alerts"
    folder.mkdir(parents=True)
    (folder / "2026-03-10.json").write_text("{")
    result = send([alert()])
    assert result["success"] is True
    assert Path(result["summary_set_aside"]).read_text() == "{"


def test_the_console_has_no_colours_in_a_pipe_and_colours_on_a_terminal(send: Send) -> None:
    pipe, terminal = io.StringIO(), Terminal()
    send([alert("critical", alertname="DiskUsageHigh")], stderr=pipe)
    send([alert("critical", alertname="DiskUsageHigh")], stderr=terminal)
    assert pipe.getvalue() == "2026-03-10 12:00:00 CRITICAL DiskUsageHigh (firing): 失败率 62.5 %\n"
    assert "\x1b[" in terminal.getvalue()
    assert "DiskUsageHigh (repeat)" in terminal.getvalue()


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_hostile_text_is_shown_escaped_on_the_console(send: Send, stream: type[io.StringIO]) -> None:
    console = stream()
    send([alert(message="\x1b]0;owned\x07\r\n2026 FAKE \x9b2J \u202e[red]x[/red]")], stderr=console)
    text = console.getvalue()
    assert text.count("\n") == 1
    assert "\\x1b]0;owned\\x07\\x0d\\x0a2026 FAKE \\x9b2J \\u202e[red]x[/red]" in text
    assert not {"\x07", "\r", "\x9b", "\u202e"} & set(text)


def test_hostile_text_in_the_log_file_stays_one_printable_line(send: Send, tmp_path: Path) -> None:
    message = '\x1b[2J\r\n{"level": "critical"}\x9b\u2028'
    send([alert(message=message)])
    raw = (tmp_path / "logs" / "warning_alerts.log").read_bytes()
    assert raw.count(b"\n") == 1
    assert raw.rstrip(b"\n").decode().isprintable()
    assert lines(tmp_path, "warning")[0]["message"] == message


def test_the_longest_alert_still_fits_one_write(send: Send, tmp_path: Path) -> None:
    labels = {f"{number:02}" + "\x01" * 62: "\x01" * 256 for number in range(16)}
    send([alert("error", message="\x01" * 5000, labels=labels)])
    raw = (tmp_path / "logs" / "error_alerts.log").read_bytes()
    assert len(raw) <= 16 * 1024
    (line,) = lines(tmp_path, "error")
    assert len(line["message"]) == 2000
    assert line["labels_left_out"] == 16
    assert len(entries(tmp_path)[0]["labels"]) == 16


def test_a_log_file_that_is_a_link_is_not_followed(send: Send, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    target = tmp_path / "precious"
    target.write_text("untouched")
    (tmp_path / "logs" / "warning_alerts.log").symlink_to(target)
    result = send([alert()])
    assert result["channels"]["log_files"] != "ok"
    assert target.read_text() == "untouched"


def test_a_log_file_rotated_away_is_begun_anew(send: Send, tmp_path: Path) -> None:
    send([alert()])
    path = tmp_path / "logs" / "warning_alerts.log"
    path.rename(path.with_suffix(".log.1"))
    send([alert()])
    assert [line["event"] for line in lines(tmp_path, "warning")] == ["repeat"]


def test_a_full_disk_is_counted_and_the_next_line_starts_on_its_own(
    send: Send, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_write = os.write

    def short_write(descriptor: int, content: bytes) -> int:
        torn = b'"type":"a"' in content
        return really_write(descriptor, content[:10] if torn else content)

    with monkeypatch.context() as patch:
        patch.setattr("app.alerts.channels.log_files.os.write", short_write)
        result = send([alert("error", "a"), alert("error", "b")], channels=["log_files"])
    assert "No space left" in result["channels"]["log_files"]
    assert (result["success"], result["sent"]) == (False, 1)
    torn, whole = (tmp_path / "logs" / "error_alerts.log").read_bytes().splitlines()
    assert len(torn) == 10
    assert json.loads(whole)["type"] == "b"


def _send_many(home: Path, number: int) -> None:
    for count in range(25):
        send_to(home, [alert("critical" if count % 5 == 4 else "warning", value=number * 100 + count)])


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[list[Any]]:
    context = multiprocessing.get_context("spawn")
    running = [context.Process(target=_send_many, args=(tmp_path, number)) for number in range(3)]
    yield running
    for process in running:
        if process.is_alive():
            process.kill()
        process.join()
        process.close()


@pytest.mark.slow
def test_processes_that_send_at_once_lose_neither_lines_nor_counts(tmp_path: Path, workers: list[Any]) -> None:
    for process in workers:
        process.start()
    for process in workers:
        process.join(120)
        assert process.exitcode == 0
    told = lines(tmp_path, "warning") + lines(tmp_path, "critical")
    assert sorted(line["value"] for line in told) == sorted(n * 100 + c for n in range(3) for c in range(25))
    (entry,) = entries(tmp_path)
    assert (entry["count"], entry["severity"]) == (75, "critical")
    assert [line["event"] for line in told].count("firing") == 1
    assert [line["event"] for line in told].count("escalated") == 1
