"""Removing single files below a marked root, or moving them aside for a while (rules R1 to R4)."""

import errno
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from app.core.errors import PathRefused, RootRefused
from app.core.safe_files import landlock
from app.core.safe_files.neighbours import Neighbours
from app.core.safe_files.paths import TRASH_BYTES, Reason, check_relative, refused, refused_by_system
from app.core.safe_files.read_only_root import KIND, REGULAR, ReadOnlyRoot
from app.core.safe_files.status import BLOCK_BYTES, Identity, blocks_bytes
from app.core.safe_files.trash import NO_FOLDER_OF_OURS, TrashFolder


def open_root(name: str, path: Path, expected_id: str | None = None) -> "Root":
    """Open a marked folder for removing files; use the result in a `with` statement.

    With `expected_id` its marker must hold that id. Raises RootRefused, telling what mends it.
    """
    return Root(name, path, expected_id)


class Root(ReadOnlyRoot):
    """A marked folder whose files may be removed."""

    def __init__(self, name: str, path: Path, expected_id: str | None = None) -> None:
        """Open the folder; see `open_root`."""
        super().__init__(name, path, expected_id)
        if not landlock.may_remove_in(path, os.fstat(self._descriptor)):
            self.close()
            raise RootRefused(
                f"root {name}: {path} was not there when this process confined itself; restart the worker"
            )

    def remove(self, relative: bytes, expected: Identity | None, *, deep: bool = False) -> int | None:
        """Remove one file and return the bytes freed on disk; None if it was gone already.

        `deep` is for paths found by walking: those that rows name are refused beyond 64 components.

        With `expected` a file that is no longer the same is kept: PathRefused `changed`. Between that comparison and
        the removal lie some microseconds in which only a file put into the very same folder could take its place.
        """
        return self._at(relative, lambda folder, leaf: self._unlink(folder, leaf, relative, expected), deep=deep)

    def remove_each(
        self, files: Iterable[tuple[bytes, Identity | None]], *, deep: bool = False
    ) -> Iterator[int | PathRefused | None]:
        """Remove each file right before yielding what `remove` would say of it; see `inspect_each`."""
        # Most files are what they were said to be: that is seen without a call, for of a million files each microsecond
        # is a second. Whatever differs in any way is looked at anew, in all steps.
        folders, device, marker, stat = self._folders, self.device, self._marker.st_ino, os.stat
        with Neighbours(folders, deep=deep) as neighbours:
            parent = neighbours.parent
            for relative, expected in files:
                if folders.is_closed:
                    self._check_open()
                try:
                    folder, leaf = parent(relative)
                    status = stat(leaf, dir_fd=folder, follow_symlinks=False)
                    if (
                        expected != (status.st_ino, status.st_size, status.st_mtime_ns)
                        or status.st_mode & KIND != REGULAR
                        or status.st_nlink != 1
                        or status.st_dev != device
                        or status.st_ino == marker
                    ):
                        status = self._expected(folder, leaf, relative, expected)
                    os.unlink(leaf, dir_fd=folder)
                except (OSError, PathRefused) as error:
                    yield self._refusal(error, relative)
                else:
                    yield status.st_blocks * BLOCK_BYTES

    def trash_each(self, files: Iterable[tuple[bytes, Identity | None, str]]) -> Iterator[int | PathRefused | None]:
        """Move each file into the trash under its third value, a name of ours, right before yielding what it occupies.

        None: there is no such file. Nothing is overwritten; a file that is no longer the expected one stays.
        """
        with Neighbours(self._folders) as neighbours:
            for relative, expected, name in files:
                yield self._attempt(neighbours, self._move_aside, relative, expected, name)

    def in_trash(self, name: str, relative: bytes, expected: Identity | None) -> int | None:
        """Return what the file kept in the trash as `name` occupies on disk, None if it is not there.

        A move from `relative` that was killed in the middle is ended. Raises PathRefused, `changed` for a file that is
        not the expected one.
        """
        return self._of_trash(name, expected, lambda: self._end_move(name, relative))

    def purge(self, name: str, expected: Identity | None) -> int | None:
        """Remove the file kept in the trash as `name` and return the bytes freed on disk; None if it was gone.

        Raises PathRefused, `changed` for a file that is not the expected one.
        """
        return self._of_trash(name, expected, lambda: self._trash.remove(name))

    def restore(self, name: str, relative: bytes, expected: Identity | None) -> int | None:
        """Move the file kept in the trash as `name` back to `relative` and return what it occupies on disk.

        Missing folders are made anew. None: it is not in the trash. Raises PathRefused: `taken` where something stands
        there, whatever `remove` would say of the path, `changed` for a file that is not the expected one.
        """
        check_relative(relative, deep=True)
        return self._of_trash(name, expected, lambda: self._take_out(name, relative))

    def sync_trash(self) -> None:
        """Make the moves into and out of the trash durable. Raises PathRefused."""
        try:
            self._trash.sync()
        except OSError as error:
            raise refused_by_system(error, TRASH_BYTES) from error

    @functools.cached_property
    def _trash(self) -> TrashFolder:
        return TrashFolder(self._folders)

    def _move_aside(self, folder: int, leaf: bytes, relative: bytes, expected: Identity | None, name: str) -> int:
        status = os.stat(leaf, dir_fd=folder, follow_symlinks=False)
        # Two links: a move that was killed in the middle, on a file system that can't do it in one step.
        if status.st_nlink != 2 or not self._trash.finish_put(folder, leaf, name):  # noqa: PLR2004
            status = self._expected(folder, leaf, relative, expected)
            self._trash.put(folder, leaf, status, name)
        return blocks_bytes(status)

    def _of_trash(self, name: str, expected: Identity | None, action: Callable[[], None]) -> int | None:
        self._check_open()
        shown = TRASH_BYTES + b"/" + name.encode()
        try:
            status = self._trash.status(name)
            if status is None:
                self._check_still_marked()
                return None
            if expected is not None and not expected.matches(status):
                raise refused(Reason.CHANGED, shown)
            action()
        except OSError as error:
            raise refused_by_system(error, shown) from error
        return blocks_bytes(status)

    def _end_move(self, name: str, relative: bytes) -> None:
        above, _, leaf = relative.rpartition(b"/")
        try:
            folder = self._folders.open(above)
        except OSError as error:
            if error.errno == errno.ENOENT or error.errno in NO_FOLDER_OF_OURS:
                return  # then nothing of it can stand there
            raise
        try:
            self._trash.finish_put(folder, leaf, name)
        finally:
            os.close(folder)

    def _take_out(self, name: str, relative: bytes) -> None:
        above, _, leaf = relative.rpartition(b"/")
        if above:
            self._folders.make(above)
        folder = self._folders.open(above)
        try:
            self._trash.take_out(name, folder, leaf)
        except FileExistsError as error:
            raise refused(Reason.TAKEN, relative) from error
        finally:
            os.close(folder)

    def remove_empty_parents(self, relative: bytes) -> int:
        """Remove the folders above `relative` that are empty now, never the root, and return how many went.

        Best effort: it ends at the first folder that has content or can't be removed.
        """
        parents = check_relative(relative, deep=True)[:-1]
        self._check_open()
        for count in range(len(parents)):
            if not self._rmdir(b"/".join(parents[: len(parents) - count])):
                return count
        return len(parents)

    def _unlink(self, folder: int, leaf: bytes, relative: bytes, expected: Identity | None) -> int:
        status = self._expected(folder, leaf, relative, expected)
        os.unlink(leaf, dir_fd=folder)
        return blocks_bytes(status)

    def _expected(self, folder: int, leaf: bytes, relative: bytes, expected: Identity | None) -> os.stat_result:
        status = self._removable(folder, leaf, relative)
        if expected is not None and not expected.matches(status):
            raise refused(Reason.CHANGED, relative)
        return status

    def _rmdir(self, relative: bytes) -> bool:
        above, _, name = relative.rpartition(b"/")
        try:
            folder = self._folders.open(above)
            try:
                os.rmdir(name, dir_fd=folder)
            finally:
                os.close(folder)
        except OSError:
            return False
        return True
