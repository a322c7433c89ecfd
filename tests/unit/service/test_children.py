import os
import signal
import sys
from pathlib import Path

import pytest

from app.core.errors import GengfuError, OutputUnwritable
from app.service.children import Child, describe_end, last_lines, log_size, spawn


def child(log_file: Path, *command: str, **env: str) -> Child:
    return Child(name="工人", command=command, log_file=log_file, env=env)


def test_output_of_both_kinds_is_appended_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "worker.log"
    log.parent.mkdir()
    log.write_text("before\n")
    script = "import sys; print('更夫', flush=True); print('err', file=sys.stderr)"
    assert spawn(child(log, sys.executable, "-c", script, PYTHONUTF8="1")).wait() == 0
    assert log.read_text() == "before\n更夫\nerr\n"


def test_the_log_folder_is_made(tmp_path: Path) -> None:
    log = tmp_path / "new" / "worker.log"
    assert spawn(child(log, sys.executable, "-c", "print(1)")).wait() == 0
    assert log.read_text() == "1\n"


def test_the_environment_is_ours_and_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENGFU_A", "ours")
    script = "import os; print(os.environ['GENGFU_A'], os.environ['GENGFU_B'])"
    assert spawn(child(tmp_path / "log", sys.executable, "-c", script, GENGFU_B="its")).wait() == 0
    assert (tmp_path / "log").read_text() == "ours its\n"


def test_a_child_has_a_session_of_its_own_and_no_input(tmp_path: Path) -> None:
    script = "import os, sys; print(os.getsid(0) == os.getpid() == os.getpgid(0), repr(sys.stdin.read()))"
    assert spawn(child(tmp_path / "log", sys.executable, "-c", script)).wait() == 0
    assert (tmp_path / "log").read_text() == "True ''\n"


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(GengfuError, match="can't start 工人: /nowhere/celery: No such file"):
        spawn(child(tmp_path / "log", "/nowhere/celery"))


def test_a_program_that_may_not_be_executed_is_named(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("#!/bin/sh\n")
    with pytest.raises(GengfuError, match="Permission denied"):
        spawn(child(tmp_path / "log", str(tmp_path / "plain")))


def test_an_unwritable_log_is_named(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(OutputUnwritable, match=r"worker\.log"):
        spawn(child(tmp_path / "logs" / "worker.log", sys.executable))


@pytest.mark.parametrize(
    ("status", "words"), [(0, "exit code 0"), (3, "exit code 3"), (-9, "signal SIGKILL"), (-40, "signal 40")]
)
def test_ends_are_told_in_words(status: int, words: str) -> None:
    assert describe_end(status) == words


def test_last_lines_leave_out_what_stood_there_before(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("old\n")
    start = log_size(log)
    with log.open("a") as sink:
        sink.write("一\n\n二\n")
    assert last_lines(log, start) == "一 | 二"
    assert last_lines(log) == "old | 一 | 二"


def test_last_lines_of_a_long_log_are_few_and_whole_text(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes("更夫\n".encode() * 100_000 + b"\xff\xfe\nlast")
    words = last_lines(log).split(" | ")
    assert words[-1] == "last"
    assert len(words) <= 6


def test_last_lines_of_no_log_are_empty(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "none") == ""
    assert log_size(tmp_path / "none") == 0


@pytest.mark.skipif(sys.platform != "linux", reason="parent-death signals are Linux's")
def test_the_stop_signal_is_what_comes_when_the_parent_dies(tmp_path: Path) -> None:
    pr_get_pdeathsig = 2
    script = (
        "import ctypes; number = ctypes.c_int();"
        f"ctypes.CDLL(None).prctl({pr_get_pdeathsig}, ctypes.byref(number)); print(number.value)"
    )
    asked = Child(
        name="x", command=[sys.executable, "-c", script], log_file=tmp_path / "log", stop_signal=signal.SIGQUIT
    )
    assert spawn(asked).wait() == 0
    assert (tmp_path / "log").read_text() == f"{int(signal.SIGQUIT)}\n"


def test_no_descriptor_leaks_into_a_child(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    script = f"import os\ntry:\n os.fstat({writing}); print('leaked')\nexcept OSError: print('closed')"
    assert spawn(child(tmp_path / "log", sys.executable, "-c", script)).wait() == 0
    assert (tmp_path / "log").read_text() == "closed\n"
    os.close(reading)
    os.close(writing)
