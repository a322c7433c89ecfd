"""A process's mark: death is told only where it is certain."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from app.service import process_mark
from app.service.process_mark import own_mark, provably_gone

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells enough of a process")
TELL = "from app.service.process_mark import own_mark; import sys; print(own_mark(), flush=True); sys.stdin.read()"


@pytest.fixture
def other() -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-c", TELL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    with process:
        yield process
        process.kill()


@pytest.fixture
def mark(other: "subprocess.Popen[str]") -> str:
    assert other.stdout is not None
    return other.stdout.readline().strip()


def test_a_living_process_is_never_gone(other: "subprocess.Popen[str]", mark: str) -> None:
    assert mark
    assert not provably_gone(mark, other.pid)
    assert not provably_gone(own_mark(), os.getpid())


def test_a_killed_process_is_gone_once_its_parent_has_taken_note_and_not_before(
    other: "subprocess.Popen[str]", mark: str
) -> None:
    other.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
    assert not provably_gone(mark, other.pid)
    other.wait()
    assert provably_gone(mark, other.pid)


def test_a_pid_that_is_another_process_by_now_is_gone(mark: str) -> None:
    assert provably_gone(mark, os.getpid()) == (mark != own_mark())
    ground, _, _ = own_mark().rpartition(".")
    assert provably_gone(f"{ground}.1", os.getpid())


@pytest.mark.parametrize("foreign", ["", "没有", "x.1", ".1", "0" * 32 + ".1"])
def test_nothing_is_known_of_another_machines_process(other: "subprocess.Popen[str]", foreign: str) -> None:
    other.kill()
    other.wait()
    assert not provably_gone(foreign, other.pid)


def test_nothing_is_known_where_the_system_tells_too_little(
    other: "subprocess.Popen[str]", mark: str, monkeypatch: pytest.MonkeyPatch, tmp_path: "os.PathLike[str]"
) -> None:
    other.kill()
    other.wait()
    monkeypatch.setattr(process_mark, "_NAME_SPACES", (f"{tmp_path}/none",))
    process_mark._ground.cache_clear()
    assert not provably_gone(mark, other.pid)
    process_mark._ground.cache_clear()


@pytest.mark.parametrize("pid", [0, -1, 2**70])
def test_what_is_no_pid_is_no_dead_process(pid: int) -> None:
    assert not provably_gone(own_mark(), pid)


def test_a_forked_child_has_a_mark_of_its_own() -> None:
    code = (
        "import os; from app.service.process_mark import own_mark; a = own_mark(); r, w = os.pipe(); p = os.fork()\n"
        "if not p: os.write(w, own_mark().encode()); os._exit(0)\n"
        "os.waitpid(p, 0); assert a and os.read(r, 200).decode() != a"
    )
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False).returncode == 0
