"""What stands in the severity files and on the console."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alert_messages import a_notification, told

from app.alerts.channel import ChannelContext, DeliveryError
from app.alerts.channels import open_channel
from app.alerts.channels.log_files import LONGEST_LINE

PROJECT = Path(__file__).resolve().parents[3]
IN_READING_ORDER = [
    *("timestamp", "level", "event", "message", "alertname", "value", "threshold", "labels", "fingerprint"),
    *("fired_at", "duration_s"),
]


def lines(logs: Path, severity: str) -> list[dict[str, Any]]:
    path = logs / f"{severity}_alerts.log"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def log(logs: Path, *alerts: Any) -> None:
    channel = open_channel("log_files", ChannelContext(logs=logs, stderr=None))
    for alert in alerts:
        channel.send(a_notification(alert, kind="event"))


def test_the_line_has_its_keys_in_reading_order_and_local_time(tmp_path: Path) -> None:
    log(tmp_path, told())
    (line,) = lines(tmp_path, "critical")
    assert list(line)[: len(IN_READING_ORDER)] == IN_READING_ORDER
    assert (line["timestamp"], line["duration_s"]) == ("2026-03-10T14:05:00.000+08:00", 7500.0)


def test_an_end_stands_in_the_file_of_the_level_that_fired(tmp_path: Path) -> None:
    log(tmp_path, told(alert={"severity": "warning"}), told(event="escalated"), told(status="resolved"))
    assert [line["event"] for line in lines(tmp_path, "warning")] == ["firing"]
    assert [line["event"] for line in lines(tmp_path, "critical")] == ["escalated", "resolved"]


def test_a_group_that_failed_midway_is_whole_after_the_second_attempt(tmp_path: Path) -> None:
    """At least once: the line that was written the first time may stand there twice."""
    channel = open_channel("log_files", ChannelContext(logs=tmp_path, stderr=None))
    both = a_notification(told(alert={"severity": "warning"}), told())
    (tmp_path / "critical_alerts.log").mkdir()
    with pytest.raises(DeliveryError, match=r"critical_alerts\.log"):
        channel.send(both)
    (tmp_path / "critical_alerts.log").rmdir()
    channel.send(both)
    assert (len(lines(tmp_path, "warning")), len(lines(tmp_path, "critical"))) == (2, 1)


@pytest.mark.parametrize("character", ["长", "\x01", "\U000e0041"])
def test_the_longest_alert_fits_one_write(tmp_path: Path, character: str) -> None:
    labels = {f"{number:02}" + character * 62: character * 256 for number in range(16)}
    names = dict.fromkeys(("alertname", "type", "rule"), character * 100)
    log(tmp_path, told(alert={"message": character * 2000, "labels": labels, **names}))
    assert len((tmp_path / "critical_alerts.log").read_bytes()) <= LONGEST_LINE
    (line,) = lines(tmp_path, "critical")
    assert line["message"].startswith(character * 500)


def test_trying_the_files_writes_nothing_that_looks_like_an_alert(tmp_path: Path) -> None:
    open_channel("log_files", ChannelContext(logs=tmp_path / "logs", stderr=None)).test()
    assert {file.name: file.read_bytes() for file in (tmp_path / "logs").iterdir()} == {
        f"{severity}_alerts.log": b"" for severity in ("critical", "warning", "error")
    }


def test_a_log_file_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    target = tmp_path / "precious"
    target.write_text("untouched")
    (tmp_path / "logs" / "critical_alerts.log").symlink_to(target)
    with pytest.raises(DeliveryError):
        log(tmp_path / "logs", told())
    assert target.read_text() == "untouched"


def test_a_log_file_that_nobody_reads_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "critical_alerts.log")
    with pytest.raises(DeliveryError):
        log(tmp_path, told())


def test_a_log_file_rotated_away_is_begun_anew(tmp_path: Path) -> None:
    log(tmp_path, told())
    path = tmp_path / "critical_alerts.log"
    path.rename(path.with_suffix(".log.1"))
    log(tmp_path, told(event="repeat"))
    assert [line["event"] for line in lines(tmp_path, "critical")] == ["repeat"]


def test_a_full_disk_is_told_and_the_next_line_starts_on_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, content: really_write(descriptor, content[:10]))
        with pytest.raises(DeliveryError, match="No space left"):
            log(tmp_path, told())
    log(tmp_path, told())
    torn, whole = (tmp_path / "critical_alerts.log").read_bytes().splitlines()
    assert len(torn) == 10
    assert json.loads(whole)["event"] == "firing"


_WRITES_LINES = """
import sys
from pathlib import Path
from alert_messages import a_notification, told
from app.alerts.channel import ChannelContext
from app.alerts.channels import open_channel
channel = open_channel("log_files", ChannelContext(logs=Path(sys.argv[1]), stderr=None))
for count in range(200):
    channel.send(a_notification(told(alert={"value": float(sys.argv[2]) * 1000 + count, "message": "长" * 2000})))
"""


@pytest.mark.slow
def test_processes_that_write_at_once_neither_lose_nor_mix_lines(tmp_path: Path) -> None:
    paths = {"PYTHONPATH": os.pathsep.join(str(PROJECT / folder) for folder in (".", "tests"))}
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITES_LINES, str(tmp_path), str(number)], env=os.environ | paths)
        for number in range(3)
    ]
    assert [writer.wait(120) for writer in writers] == [0, 0, 0]
    values = [line["value"] for line in lines(tmp_path, "critical")]
    assert sorted(values) == sorted(n * 1000 + c for n in range(3) for c in range(200))


def console(*alerts: Any) -> list[str]:
    stream = io.StringIO()
    channel = open_channel("console", ChannelContext(logs=Path(), stderr=stream))
    channel.send(a_notification(*alerts, kind="event"))
    return stream.getvalue().splitlines()


def test_the_console_tells_what_fires_and_what_is_over() -> None:
    assert console(told(event="repeat"), told(status="resolved")) == [
        "2026-03-10 14:05:00 CRITICAL DiskUsageHigh (repeat): /数据 已用 95 %",
        "2026-03-10 14:05:00 RESOLVED DiskUsageHigh: over after 2 h 5 min; it was: /数据 已用 95 %",
    ]


def test_without_a_console_somebody_must_change_something() -> None:
    channel = open_channel("console", ChannelContext(logs=Path(), stderr=None))
    with pytest.raises(DeliveryError) as caught:
        channel.send(a_notification())
    assert caught.value.permanent
