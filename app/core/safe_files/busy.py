"""Files that some process holds open or locked, as far as Linux tells this user."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

_LOCKED = re.compile(r" ([0-9a-f]+):([0-9a-f]+):(\d+) ")


def open_files() -> frozenset[tuple[int, int]]:
    """Return (device, inode) of every file open or locked right now; empty where there is no /proc.

    Best effort: other users' processes hide their open files unless we are privileged, though not their locks.
    It reads every process once, so take one snapshot per run, not one per file.
    """
    return frozenset((*_held_open(), *locked_in(_text("/proc/locks"))))


def _held_open() -> Iterator[tuple[int, int]]:
    for process in filter(str.isdecimal, _names("/proc")):
        folder = f"/proc/{process}/fd"
        for descriptor in _names(folder):
            # Links to sockets and pipes are followed too: their keys match no file.
            try:
                status = os.stat(f"{folder}/{descriptor}")  # noqa: PTH116 - thousands of them: a Path each costs twice
            except OSError:
                continue
            yield status.st_dev, status.st_ino


def locked_in(lines: str) -> Iterator[tuple[int, int]]:
    """Yield (device, inode) of every lock in the text of /proc/locks."""
    for major, minor, inode in _LOCKED.findall(lines):
        yield os.makedev(int(major, 16), int(minor, 16)), int(inode)


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii")
    except OSError:
        return ""


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names are wanted, not thousands of Path objects
    except OSError:
        return []
