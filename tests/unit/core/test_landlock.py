"""The kernel's own confinement: for real where it has Landlock, and against its documentation where it has not."""

import ctypes
import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.core.errors import RootRefused, SettingsError
from app.core.safe_files import create_marker, landlock, open_root, view_root

PROJECT = Path(__file__).resolve().parents[3]
needs_landlock = pytest.mark.skipif(not landlock.abi_version(), reason="this kernel offers no Landlock")

# In a process of its own: it holds for ever.
CONFINED = """
import os, subprocess, sys, threading
from pathlib import Path
from app.core.safe_files import create_marker, landlock, open_root

base = Path(sys.argv[1])
inside, outside = base / "里", base / "外"
for folder in (inside, outside):
    folder.mkdir()
    (folder / "f").write_text("alive")
create_marker(inside)
state = landlock.confine([inside, base / "missing"], "required")
assert state.state == "active", state
assert landlock.confine([outside]) is state

def refused(action):
    try:
        action()
    except PermissionError:
        return True
    return False

def attempts():
    for action in (
        lambda: (outside / "f").unlink(),
        lambda: (outside / "new").write_text("x"),
        lambda: (outside / "folder").mkdir(),
        lambda: outside.rmdir(),
        lambda: (outside / "link").symlink_to("f"),
        lambda: (outside / "f").rename(inside / "taken"),
        lambda: (inside / "f").rename(outside / "f"),
        lambda: (outside / "f").rename(outside / "g"),
    ):
        assert refused(action)

attempts()
worker = threading.Thread(target=attempts)
worker.start()
worker.join()
assert subprocess.run(["rm", "-f", str(outside / "f")], stderr=subprocess.DEVNULL).returncode == 1
assert (outside / "f").read_text() == "alive"
with open_root("里", inside) as root:
    assert root.remove(b"f", None) is not None
(inside / "new").write_text("x")
print("confined")
"""


@needs_landlock
def test_a_confined_process_removes_inside_and_nothing_outside(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CONFINED, tmp_path], check=False, capture_output=True, text=True, cwd=PROJECT, timeout=60
    )
    assert (done.stdout, done.stderr) == ("confined\n", "")


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """A kernel that is told and does nothing; the calls it got, its version first in `version`."""
    calls: list[tuple[Any, ...]] = []

    def call(number: int, *arguments: Any) -> int:
        calls.append((number, *arguments))
        if number == 444:
            return os.open("/", os.O_RDONLY)
        return 0

    monkeypatch.setattr(landlock, "_system_call", call)
    monkeypatch.setattr(landlock, "_current", [])
    monkeypatch.setattr(landlock, "_give_up_privileges", lambda: None)
    monkeypatch.setattr(landlock, "abi_version", lambda: 1)
    return calls


@pytest.mark.parametrize(("version", "rights"), [(1, 0x1FF0), (2, 0x3FF0), (3, 0x7FF0), (7, 0x7FF0)])
def test_each_version_of_the_kernel_is_asked_for_what_it_knows(
    kernel: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: int, rights: int
) -> None:
    monkeypatch.setattr(landlock, "abi_version", lambda: version)
    asked: list[int] = []
    monkeypatch.setattr(landlock, "_Ruleset", lambda value: asked.append(value) or ctypes.c_uint64(value))
    state = landlock.confine([tmp_path, tmp_path / "missing"])
    assert (state.state, asked) == ("active", [rights])
    assert [call[0] for call in kernel] == [444, 445, 446]


def test_a_kernel_without_it_is_told_and_nothing_is_confined(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(landlock, "abi_version", lambda: 0)
    assert landlock.current().state == "unavailable"
    assert landlock.confine([tmp_path]).state == "unavailable"
    with pytest.raises(SettingsError, match="landlock = required, but this kernel offers no Landlock"):
        landlock.confine([tmp_path], "required")


def test_switched_off_it_asks_the_kernel_nothing(kernel: list[Any], tmp_path: Path) -> None:
    assert landlock.confine([tmp_path], "off").state == "off"
    assert kernel == []


def test_a_refusal_of_the_kernel_is_not_taken_for_confinement(
    kernel: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refusing(*_call: Any) -> int:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(landlock, "_system_call", refusing)
    assert landlock.confine([tmp_path]).state == "unavailable"
    with pytest.raises(SettingsError, match="Landlock refused: Operation not permitted"):
        landlock.confine([tmp_path], "required")
    assert landlock.current().state == "available"
    assert kernel == []


def test_a_root_that_came_after_the_confinement_is_held_and_can_still_be_looked_at(
    kernel: list[Any], tmp_path: Path
) -> None:
    create_marker(tmp_path / "a" / "early")
    landlock.confine([tmp_path / "a"])
    create_marker(tmp_path / "late")
    with open_root("early", tmp_path / "a" / "early"):
        pass
    with pytest.raises(RootRefused, match="was not there when this process confined itself; restart the worker"):
        open_root("late", tmp_path / "late")
    view_root("late", tmp_path / "late").close()
    assert kernel
