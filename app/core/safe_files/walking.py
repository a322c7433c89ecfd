"""Every regular file below a root, without recursion: one folder open at a time, its files never held."""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from app.core.errors import PathRefused
from app.core.safe_files.folders import Folders
from app.core.safe_files.paths import MARKER, refused_by_system
from app.core.safe_files.status import Entry, newest_ns

OnRefused = Callable[[PathRefused], None]


@dataclass(kw_only=True, slots=True)
class _Level:
    """A folder on the way down. The memory held is the names of the folders along one branch, nothing else."""

    relative: bytes
    waiting: list[bytes] = field(default_factory=list)  # folders in it that are still to be visited


def walk(folders: Folders, on_refused: OnRefused, before_ns: int | None = None) -> Iterator[Entry]:
    """Yield the regular files below the root of `folders`; see `ReadOnlyRoot.walk`."""
    top = _Level(relative=b"")
    yield from _files(folders, top, on_refused, before_ns)
    branch = [top]
    while branch:
        if not branch[-1].waiting:
            branch.pop()
            continue
        level = _Level(relative=_join(branch[-1].relative, branch[-1].waiting.pop()))
        yield from _files(folders, level, on_refused, before_ns)
        branch.append(level)


def _files(folders: Folders, level: _Level, on_refused: OnRefused, before_ns: int | None) -> Iterator[Entry]:
    """Yield the files right in one folder and note its folders in `level.waiting`."""
    try:
        descriptor = folders.open(level.relative, readable=True)
    except FileNotFoundError:
        return
    except OSError as error:
        on_refused(refused_by_system(error, level.relative or b"."))
        return
    try:
        with os.scandir(descriptor) as listing:
            yield from _listed(listing, level, on_refused, before_ns)
    except OSError as error:
        on_refused(refused_by_system(error, level.relative or b"."))
    finally:
        os.close(descriptor)


def _listed(
    listing: Iterator[os.DirEntry[str]], level: _Level, on_refused: OnRefused, before_ns: int | None
) -> Iterator[Entry]:
    for item in listing:
        try:
            if item.is_dir(follow_symlinks=False):
                level.waiting.append(os.fsencode(item.name))
                continue
            if not item.is_file(follow_symlinks=False) or item.name == MARKER:
                continue
            status = item.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        except OSError as error:
            on_refused(refused_by_system(error, _path(level, item)))
            continue
        # The kind is asked again: a link may have taken the name since the folder was listed.
        if (before_ns is None or newest_ns(status) < before_ns) and stat.S_ISREG(status.st_mode):
            yield Entry.of(_path(level, item), status)


def _path(level: _Level, item: os.DirEntry[str]) -> bytes:
    return _join(level.relative, os.fsencode(item.name))


def _join(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name
