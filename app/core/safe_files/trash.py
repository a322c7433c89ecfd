"""`.gengfu-trash` right below a root: files that may still be brought back, flat, under names of our own.

It stands on the root's own mount, so that moving is a rename; nobody else may enter it (0700), so that a name in it
means the file that we put there.
"""

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from app.core.safe_files.folders import Folders
from app.core.safe_files.moving import finish, move
from app.core.safe_files.paths import TRASH_BYTES, TRASH_UNSAFE, Reason, refused

_NAME = re.compile(r"[A-Za-z0-9_-]{1,200}")
NO_FOLDER_OF_OURS = frozenset({errno.ELOOP, errno.EXDEV, errno.ENOTDIR})
"""What the system says where a link, a mount point or a file bears the folder's name."""
_MODE = stat.S_IRWXU
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class TrashFolder:
    """The trash of one root. Opened anew for every call, like any other folder."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders

    def put(self, folder: int, leaf: bytes, status: os.stat_result, name: str) -> None:
        """Move `leaf` of `folder` here as `name`, provided that it is the file of `status`.

        Raises PathRefused `changed`, the file being back in its place, when another took its name in that moment;
        OSError otherwise.
        """
        self._folders.make(TRASH_BYTES, _MODE)
        with self._opened() as trash:
            if trash is None:
                raise _vanished()
            try:
                move(folder, leaf, trash, checked_name(name))
            except FileNotFoundError as error:
                os.stat(leaf, dir_fd=folder, follow_symlinks=False)  # or it is the file that is gone
                raise _vanished() from error
            # Look after the move, not only before: what came along in between is not what was condemned.
            if not os.path.samestat(os.stat(name, dir_fd=trash, follow_symlinks=False), status):
                move(trash, checked_name(name), folder, leaf)
                raise refused(Reason.CHANGED, leaf)

    def finish_put(self, folder: int, leaf: bytes, name: str) -> bool:
        """End a move that was killed in the middle, and tell whether there was one."""
        with self._opened() as trash:
            return trash is not None and finish(folder, leaf, trash, checked_name(name))

    def status(self, name: str) -> os.stat_result | None:
        """Return the status of the file kept as `name`, or None if there is none."""
        with self._opened() as trash:
            if trash is None:
                return None
            try:
                return os.stat(checked_name(name), dir_fd=trash, follow_symlinks=False)
            except FileNotFoundError:
                return None

    def take_out(self, name: str, folder: int, leaf: bytes) -> None:
        """Move the file kept as `name` to `leaf` in `folder`; OSError, FileExistsError where that is taken."""
        with self._opened() as trash:
            if trash is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            if not finish(trash, checked_name(name), folder, leaf):
                move(trash, checked_name(name), folder, leaf)

    def remove(self, name: str) -> None:
        """Remove the file kept as `name`; OSError."""
        with self._opened() as trash:
            if trash is not None:
                os.unlink(checked_name(name), dir_fd=trash)

    def sync(self) -> None:
        """Bring the moves to the disk: what the database is told next must not be ahead of it."""
        with self._opened() as trash:
            if trash is not None:
                os.fsync(trash)

    @contextmanager
    def _opened(self) -> Iterator[int | None]:
        """Give the trash folder's descriptor, or None if there is none; PathRefused where it is not ours alone."""
        try:
            trash = self._folders.open(TRASH_BYTES, readable=True)
        except FileNotFoundError:
            yield None
            return
        except OSError as error:
            if error.errno in NO_FOLDER_OF_OURS:
                raise refused(TRASH_UNSAFE, TRASH_BYTES) from error
            raise
        try:
            status = os.fstat(trash)
            if status.st_uid != os.geteuid() or status.st_mode & _OTHERS:
                raise refused(TRASH_UNSAFE, TRASH_BYTES)
            yield trash
        finally:
            os.close(trash)


def _vanished() -> OSError:
    """Somebody removes the trash folder under our hands: no word about the file, which is tried again."""
    return OSError(errno.ESTALE, os.strerror(errno.ESTALE))


def checked_name(name: str) -> bytes:
    """Return a name of ours as bytes. Raises ValueError for one that could mean anything else."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name for the trash; letters, digits, - and _ only")
    return name.encode()
