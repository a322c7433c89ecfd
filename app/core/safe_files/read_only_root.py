"""Looking at single files below a marked root (rules R1 to R4)."""

import functools
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from app.core.errors import PathRefused, RootRefused
from app.core.safe_files import busy, markers, spelling, walking
from app.core.safe_files.folders import Folders
from app.core.safe_files.neighbours import Neighbours
from app.core.safe_files.paths import MARKER, Reason, check_relative, refused, refused_by_system
from app.core.safe_files.status import Entry

_Result = TypeVar("_Result")
_OnRefused = Callable[[PathRefused], None]
KIND = stat.S_IFMT(0o777777)
REGULAR = stat.S_IFREG


def view_root(name: str, path: Path, expected_id: str | None = None) -> "ReadOnlyRoot":
    """Open a marked folder for looking only: a dry run gets an object that has no way to remove anything (R13).

    With `expected_id` its marker must hold that id. Raises RootRefused, telling what mends it.
    """
    return ReadOnlyRoot(name, path, expected_id)


class ReadOnlyRoot:
    """A marked folder, pinned by its descriptor. Safe to use from several threads.

    `inspect`, `remove` and `walk` refuse with PathRefused, whose `reason` is a `Reason` or an errno name.
    """

    def __init__(self, name: str, path: Path, expected_id: str | None = None) -> None:
        """Open the folder; see `view_root`."""
        self.name = name
        self.path = path
        try:
            self._descriptor = markers.open_unprotected(path)
        except RootRefused as error:
            raise RootRefused(f"root {name}: {error}") from error
        self._folders = Folders(self._descriptor)
        try:
            self.marker_id, self._marker = self._checked_marker(expected_id)
        except BaseException:
            self.close()
            raise
        self.ignores_case = spelling.ignores_case(self._descriptor)
        status = os.fstat(self._descriptor)
        self.device = status.st_dev
        self.inode = status.st_ino

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptor back. Calling it again does nothing."""
        self._folders.close()

    def check_in_place(self) -> None:
        """Raise RootRefused where its path leads elsewhere by now, or its mark is gone: ask before every batch.

        The descriptor goes on working after the folder was moved away or another volume was mounted over it.
        """
        self._check_open()
        self._check_still_marked()
        try:
            status = self.path.lstat()
        except OSError:
            status = None
        if status is None or (status.st_dev, status.st_ino) != (self.device, self.inode):
            raise RootRefused(f"root {self.name}: another folder stands at {self.path} by now; look at it, run again")

    def inspect(self, relative: bytes, *, deep: bool = False) -> Entry | None:
        """Return what stands at `relative`, or None if nothing does, a missing folder included.

        Raises PathRefused for anything `remove` would refuse.
        """
        return self._at(
            relative, lambda folder, leaf: Entry.of(relative, self._removable(folder, leaf, relative)), deep=deep
        )

    def inspect_each(self, relatives: Iterable[bytes]) -> Iterator[os.stat_result | PathRefused | None]:
        """Yield for each path what `inspect` would say, the refusal not raised but handed out.

        Cheap for neighbours: sort by path. Raises RootRefused like `inspect`.
        """
        with Neighbours(self._folders) as neighbours:
            for relative in relatives:
                yield self._attempt(neighbours, self._removable, relative)

    def walk(self, on_refused: _OnRefused | None = None, before_ns: int | None = None) -> Iterator[Entry]:
        """Yield every regular file below, those with several links included, in no particular order.

        With `before_ns` (nanoseconds since 1970) only files whose newest time stamp is earlier. Links, FIFOs,
        sockets and devices are passed over in silence; mount points, folders with a mark of their own and what can't be
        read go to `on_refused`.
        Removing files meanwhile is fine. Files deeper than 64 components are yielded: `remove` wants `deep` for them.
        """
        self._check_open()
        return walking.walk(self._folders, on_refused or _ignore, before_ns)

    def listings(self, on_refused: _OnRefused | None = None) -> Iterator[walking.Listing]:
        """Yield every folder below, the root itself first, each open until the next is asked for; see `walk`."""
        self._check_open()
        return walking.listings(self._folders, on_refused or _ignore)

    def in_use(self, relative: bytes, busy_files: frozenset[tuple[int, int]] | None = None) -> bool:
        """Tell whether a process had this file open or locked, by `busy_files` or this session's own first look.

        A snapshot and best effort: see `open_files`. Raises PathRefused like `inspect`; False for a missing file.
        """
        if busy_files is None:
            busy_files = self._snapshot_of_busy_files
        entry = self.inspect(relative)
        return entry is not None and entry.key in busy_files

    @functools.cached_property
    def _snapshot_of_busy_files(self) -> frozenset[tuple[int, int]]:
        return busy.open_files()

    def _checked_marker(self, expected_id: str | None) -> tuple[str, os.stat_result]:
        try:
            found = markers.read_marker(self._descriptor)
        except (OSError, RootRefused) as error:
            raise RootRefused(f"root {self.name}: can't read {self.path / MARKER}: {error}") from error
        if found is None:
            raise RootRefused(
                f"root {self.name}: {self.path} has no {MARKER}; is its volume mounted? "
                f"A new folder is marked by `gengfu roots init {self.name}`"
            )
        if expected_id is not None and found[0] != expected_id:
            raise RootRefused(
                f"root {self.name}: {self.path} is marked {found[0]}, not {expected_id}; mount the right volume, "
                f"or accept this one with `gengfu roots init {self.name}`"
            )
        return found

    def _at(self, relative: bytes, action: Callable[[int, bytes], _Result], *, deep: bool = False) -> _Result | None:
        """Return what `action` makes of the parent folder's descriptor and the last name; None for a missing file."""
        leaf = check_relative(relative, deep=deep)[-1]
        self._check_open()
        try:
            folder = self._folders.open(relative[: -len(leaf) - 1])
            try:
                return action(folder, leaf)
            finally:
                os.close(folder)
        except FileNotFoundError:
            self._check_still_marked()
            return None
        except OSError as error:
            raise refused_by_system(error, relative) from error

    def _attempt(
        self, neighbours: Neighbours, action: Callable[..., _Result], relative: bytes, *more: Any
    ) -> _Result | PathRefused | None:
        """Like `_at`, with a descriptor that serves neighbours; a refusal is returned."""
        self._check_open()
        try:
            return action(*neighbours.parent(relative), relative, *more)
        except (OSError, PathRefused) as error:
            return self._refusal(error, relative)

    def _refusal(self, error: OSError | PathRefused, relative: bytes) -> PathRefused | None:
        """Return what an error says of a file; None: there is none."""
        if isinstance(error, PathRefused):
            return error
        if isinstance(error, FileNotFoundError):
            self._check_still_marked()
            return None
        return refused_by_system(error, relative)

    def _check_open(self) -> None:
        if self._folders.is_closed:
            raise ValueError(f"root {self.name} is closed")

    def _check_still_marked(self) -> None:
        """Refuse to call a file missing when the root itself was emptied, removed or replaced since it was opened."""
        try:
            found = markers.read_marker(self._descriptor)
        except (OSError, RootRefused):
            found = None
        if found is None or found[0] != self.marker_id:
            raise RootRefused(
                f"root {self.name}: {self.path} lost its {MARKER} meanwhile; look at its volume, run again"
            )

    def _removable(self, folder: int, leaf: bytes, relative: bytes) -> os.stat_result:
        """Return the status of a file that may be removed. It is never opened: a FIFO would hang, a device act."""
        status = os.stat(leaf, dir_fd=folder, follow_symlinks=False)
        # Most files are ordinary, which is seen without a call.
        is_ordinary = (
            status.st_mode & KIND == REGULAR
            and status.st_nlink == 1
            and status.st_dev == self.device
            and status.st_ino != self._marker.st_ino
        )
        if not is_ordinary:
            reason = _kind_fault(status) or self._place_fault(status, relative)
            if reason is not None:
                raise refused(reason, relative)
        return status

    def _place_fault(self, status: os.stat_result, relative: bytes) -> Reason | None:
        if status.st_dev != self.device and not self._folders.is_leaf_on_root_mount(relative):
            return Reason.OTHER_MOUNT
        # A file system that ignores case knows the marker by other names, too.
        is_marker = status.st_ino == self._marker.st_ino and status.st_dev == self._marker.st_dev
        return Reason.MARKER if is_marker else None


def _kind_fault(status: os.stat_result) -> Reason | None:
    mode = status.st_mode
    if stat.S_ISREG(mode):
        return Reason.HARD_LINK if status.st_nlink > 1 else None
    if stat.S_ISLNK(mode):
        return Reason.LINK
    return Reason.DIRECTORY if stat.S_ISDIR(mode) else Reason.NOT_REGULAR


def _ignore(_refusal: PathRefused) -> None:
    """Take no notice."""
