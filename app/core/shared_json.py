"""JSON files that several processes add to: they take turns, and a damaged file is kept under another name."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from app.core.atomic_json import write_json
from app.core.errors import OutputUnwritable

Known = TypeVar("Known")


def update_json(
    path: Path, read: Callable[[bytes], Known], change: Callable[[Known | None], Any], at: datetime
) -> Path | None:
    """Replace `path` by what `change` makes of its content, while no other process does; return where damage was kept.

    `read` turns the content into what `change` takes and raises ValueError, KeyError or TypeError where it is damaged;
    the damaged file is then moved to `<name>.corrupt-<time>` and `change` gets None, as for a file that does not exist.
    Raises OutputUnwritable; the file is then as before.
    """
    try:
        with _turn(path.parent):
            known, aside = _known(path, read, at)
            write_json(path, change(known))
            return aside
    except OSError as error:
        raise OutputUnwritable(f"can't update {path}: {error.strerror}; free space or fix its permissions") from error


def _known(path: Path, read: Callable[[bytes], Known], at: datetime) -> tuple[Known | None, Path | None]:
    try:
        return read(path.read_bytes()), None
    except FileNotFoundError:
        return None, None
    except (ValueError, KeyError, TypeError):
        return None, _set_aside(path, at)


def _set_aside(path: Path, at: datetime) -> Path:
    wanted = path.with_name(f"{path.name}.corrupt-{at:%Y%m%dT%H%M%S}")
    other, number = wanted, 2
    while other.exists():
        other, number = wanted.with_name(f"{wanted.name}-{number}"), number + 1
    return path.rename(other)


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    # A file of its own: the report itself is replaced by each write, and a lock would stay on the old one.
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".turn.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
