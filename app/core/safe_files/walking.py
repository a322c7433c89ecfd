"""Every regular file below a root, without recursion: one folder open at a time, its files never held."""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from app.core.errors import PathRefused
from app.core.safe_files.folders import Folders
from app.core.safe_files.paths import MARKER, TRASH, Reason, refused, refused_by_system
from app.core.safe_files.status import Entry, newest_ns

OnRefused = Callable[[PathRefused], None]


class _Names:
    """Names of folders still to be visited, in one piece of memory: a hundred thousand cost a megabyte, not seven."""

    def __init__(self) -> None:
        self._packed = bytearray()

    def __bool__(self) -> bool:
        return bool(self._packed)

    def push(self, name: bytes) -> None:
        self._packed += name + b"/"

    def pop(self) -> bytes:
        start = self._packed.rfind(b"/", 0, len(self._packed) - 1) + 1
        name = bytes(self._packed[start:-1])
        del self._packed[start:]
        return name


class Listing:
    """One folder while it is open for listing."""

    def __init__(self, branch: Sequence[bytes], descriptor: int, on_refused: OnRefused) -> None:
        self._branch = tuple(branch)
        self._descriptor = descriptor
        self._on_refused = on_refused
        self.waiting = _Names()

    @property
    def relative(self) -> bytes:
        """Where the folder stands below the root; empty for the root itself."""
        return b"/".join(self._branch)

    def path(self, name: str) -> bytes:
        """Return the path below the root of an entry of this folder."""
        return b"/".join((*self._branch, os.fsencode(name)))

    def files(self) -> Iterator[tuple[str, os.stat_result]]:
        """Yield name and status of every regular file in it; asked again, it reads the folder again."""
        self.waiting = _Names()
        try:
            with os.scandir(self._descriptor) as listing:
                yield from self._regular(listing)
        except OSError as error:
            self._on_refused(refused_by_system(error, self.relative or b"."))

    def _regular(self, listing: Iterator[os.DirEntry[str]]) -> Iterator[tuple[str, os.stat_result]]:
        for item in listing:
            try:
                if not item.is_file(follow_symlinks=False):
                    if item.is_dir(follow_symlinks=False) and (self._branch or item.name != TRASH):
                        self.waiting.push(os.fsencode(item.name))
                    continue
                status = item.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            except OSError as error:
                self._on_refused(refused_by_system(error, self.path(item.name)))
                continue
            # The kind is asked again: a link may have taken the name since the folder was listed.
            if stat.S_ISREG(status.st_mode) and item.name != MARKER:
                yield item.name, status


def listings(folders: Folders, on_refused: OnRefused) -> Iterator[Listing]:
    """Yield the folders below the root of `folders`, itself first; see `ReadOnlyRoot.listings`.

    Folders right in one come after it, so that its `files` must have been read before. The memory held is the names
    of the folders along one branch, nothing else.
    """
    branch: list[bytes] = []
    levels: list[_Names] = []
    while True:
        with _opened(folders, branch, on_refused) as listing:
            if listing is not None:
                yield listing
        levels.append(listing.waiting if listing is not None else _Names())
        while levels and not levels[-1]:
            levels.pop()
            del branch[-1:]
        if not levels:
            return
        branch.append(levels[-1].pop())


def walk(folders: Folders, on_refused: OnRefused, before_ns: int | None = None) -> Iterator[Entry]:
    """Yield the regular files below the root of `folders`; see `ReadOnlyRoot.walk`."""
    for listing in listings(folders, on_refused):
        for name, status in listing.files():
            if before_ns is None or newest_ns(status) < before_ns:
                yield Entry.of(listing.path(name), status)


def _is_marked(folder: int) -> bool:
    """A root of its own, mounted here too or of another installation: its files go by its own rules alone."""
    try:
        return stat.S_ISREG(os.stat(MARKER, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return False


@contextmanager
def _opened(folders: Folders, branch: Sequence[bytes], on_refused: OnRefused) -> Iterator[Listing | None]:
    """Give the folder open for listing, or None where it can't be opened or is gone."""
    relative = b"/".join(branch)
    try:
        descriptor = folders.open(relative, readable=True)
    except FileNotFoundError:
        yield None
        return
    except OSError as error:
        on_refused(refused_by_system(error, relative or b"."))
        yield None
        return
    try:
        if branch and _is_marked(descriptor):
            on_refused(refused(Reason.OTHER_ROOT, relative))
            yield None
        else:
            yield Listing(branch, descriptor, on_refused)
    finally:
        os.close(descriptor)
