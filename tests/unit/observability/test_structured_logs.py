"""Log lines are whole, true JSON and free of secrets; a dead sink stops nothing."""

import json
import logging
import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from app.observability import structured_logs
from app.observability.log_view import at_least, follow, last_lines, readable
from app.observability.settings import LoggingSettings
from app.observability.structured_logs import LineFile, configure_logs


@pytest.fixture(autouse=True)
def put_logging_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structured_logs._sinks.close()
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_bound_ids_data_and_chinese_text_stand_in_one_json_line(tmp_path: Path) -> None:
    configure_logs("app", LoggingSettings(), tmp_path)
    with structlog.contextvars.bound_contextvars(run_id="r1"):
        structlog.get_logger("gengfu.test").info("task_failed", category="二维码识别错误", count=3)
    (line,) = lines_of(tmp_path / "app.log")
    assert list(line)[:4] == ["timestamp", "level", "event", "logger"]
    assert {"run_id": "r1", "category": "二维码识别错误", "count": 3, "logger": "gengfu.test"}.items() <= line.items()


def test_a_workers_own_events_stand_in_both_files_and_library_records_in_its_own(tmp_path: Path) -> None:
    configure_logs("worker", LoggingSettings(), tmp_path)
    structlog.get_logger("gengfu.test").info("ours")
    logging.getLogger("celery.worker").warning("theirs %s", "值")
    assert [line["event"] for line in lines_of(tmp_path / "celery_worker.log")] == ["ours", "theirs 值"]
    assert [line["event"] for line in lines_of(tmp_path / "app.log")] == ["ours"]


def test_passwords_newlines_and_terminal_codes_do_no_harm(tmp_path: Path) -> None:
    configure_logs("app", LoggingSettings(), tmp_path)
    structlog.get_logger("gengfu.test").info("x", url="redis://:geheim@h/0", text="a\nb\x1b[31m", raw="\udcff")
    content = (tmp_path / "app.log").read_bytes()
    assert b"geheim" not in content
    assert content.count(b"\n") == 1
    assert b"\x1b" not in content


def test_an_error_keeps_its_stack(tmp_path: Path) -> None:
    configure_logs("app", LoggingSettings(), tmp_path)
    try:
        int("坏值")
    except ValueError:
        structlog.get_logger("gengfu.test").exception("broke")
    assert "坏值" in str(lines_of(tmp_path / "app.log")[0]["exception"])


def test_a_level_below_the_setting_is_not_written(tmp_path: Path) -> None:
    configure_logs("app", LoggingSettings(level="WARNING"), tmp_path)
    structlog.get_logger("gengfu.test").info("quiet")
    structlog.get_logger("gengfu.test").warning("loud")
    assert [line["event"] for line in lines_of(tmp_path / "app.log")] == ["loud"]


def test_a_huge_record_becomes_one_bounded_line(tmp_path: Path) -> None:
    configure_logs("app", LoggingSettings(), tmp_path)
    structlog.get_logger("gengfu.test").info("big", text="字" * 100_000)
    content = (tmp_path / "app.log").read_bytes()
    assert len(content) <= 16 * 1024 + 1
    assert json.loads(content)["cut"] is True


def test_a_rotated_file_is_opened_again(tmp_path: Path) -> None:
    file = LineFile(tmp_path / "a.log")
    file.write(b"one\n")
    (tmp_path / "a.log").rename(tmp_path / "a.log.1")
    file.write(b"two\n")
    file.close()
    assert (tmp_path / "a.log.1").read_bytes() == b"one\n"
    assert (tmp_path / "a.log").read_bytes() == b"two\n"


def test_an_unwritable_log_is_counted_and_told_once_and_raises_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "logs").write_text("a file, not a folder")
    file = LineFile(tmp_path / "logs" / "a.log")
    for _ in range(100):
        file.write(b"x\n")
    assert file.lost == 100
    assert capsys.readouterr().err.count("\n") == 1


def _write_many(path: Path, who: int) -> None:
    file = LineFile(path)
    for number in range(2_000):
        file.write(json.dumps({"who": who, "n": number, "filler": "字" * 50}).encode() + b"\n")
    file.close()


def test_processes_that_share_a_file_lose_and_tear_nothing(tmp_path: Path) -> None:
    path = tmp_path / "shared.log"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(path, who)) for who in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    seen = {(line["who"], line["n"]) for line in lines_of(path)}
    assert len(seen) == 6_000


def test_the_last_lines_are_read_from_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("".join(f"行 {n}\n" for n in range(50_000)), encoding="utf-8")
    assert last_lines(path, 2) == ["行 49998", "行 49999"]
    assert last_lines(path, 0) == []
    assert last_lines(tmp_path / "none.log", 5) == []
    assert len(last_lines(path, 100_000)) == 50_000


def test_following_goes_on_in_the_new_file_after_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("old\n")

    def append(text: str) -> None:
        with path.open("a") as log:
            log.write(text)

    def rotate() -> None:
        path.rename(tmp_path / "a.log.1")
        path.write_text("three\n")

    steps = iter([lambda: append("one\ntw"), lambda: append("o\n"), rotate])
    lines = follow(path, pause=lambda _seconds: next(steps)())
    assert [next(lines) for _ in range(3)] == ["one", "two", "three"]


def test_a_json_line_reads_as_text_and_control_characters_are_escaped() -> None:
    line = json.dumps({"timestamp": "2026-03-10T04:00:00Z", "level": "info", "event": "e\x1b[2J", "n": 1})
    assert readable(line) == "2026-03-10 04:00:00 INFO     e\\x1b[2J  n=1"
    assert readable("plain \x07") == "plain \\x07"
    assert at_least(line, "info")
    assert not at_least(line, "warning")
