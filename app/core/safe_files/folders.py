"""Opening folders so that no link, mount point or ".." can lead elsewhere.

Every call resolves the whole path again from the root's descriptor. A kept descriptor goes on working after its
folder was moved out of the root: only `neighbours` keeps one, for a bounded number of files.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from app.core.safe_files import kernel

_PATH_BYTES = 4000  # the kernel takes 4,095 in one call; deeper folders are opened in several
_STEP = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FOLDER_MODE = 0o750
_CLOSED = -1


class Folders:
    """Opens folders below one root. Safe to use from several threads."""

    def __init__(self, root: int) -> None:
        """Take over the root's open descriptor."""
        self._root = root
        self._device = os.fstat(root).st_dev
        self._mount_id = kernel.mount_id(root)

    @property
    def is_closed(self) -> bool:
        return self._root == _CLOSED

    def close(self) -> None:
        """Give the root's descriptor back; whoever opens folders later gets EBADF, never a re-used number."""
        root, self._root = self._root, _CLOSED
        if root != _CLOSED:
            os.close(root)

    def open(self, relative: bytes, *, readable: bool = False) -> int:
        """Return a descriptor of the folder at `relative` (b"" is the root), for the caller to close.

        Good for stat, unlink and further opening; with `readable` also for listing. Raises OSError:
        FileNotFoundError when a part is missing, ELOOP for a link and EXDEV for a mount point anywhere in it.
        """
        if kernel.has_openat2():
            how = kernel.READABLE_FOLDER if readable else kernel.FOLDER
            if len(relative) <= _PATH_BYTES:
                return kernel.openat2(self._root, relative or b".", how)
            return self._open_long(relative, how)
        return self._open_stepwise(relative, os.O_RDONLY if readable else kernel.O_PATH)

    def make(self, relative: bytes, mode: int = _NEW_FOLDER_MODE) -> None:
        """Make the folder at `relative` and those above it, as far as they are missing. Raises OSError."""
        names = relative.split(b"/")
        for end in range(1, len(names) + 1):
            above = self.open(b"/".join(names[: end - 1]))
            try:
                _make(above, names[end - 1], mode)
            finally:
                os.close(above)

    def is_leaf_on_root_mount(self, relative: bytes) -> bool:
        """Tell whether the file at `relative` belongs to the root's mount although its device number differs.

        That is so on overlay file systems, where files keep the device of the layer they come from.
        """
        if not kernel.has_openat2() or len(relative) > _PATH_BYTES:
            return False
        try:
            os.close(kernel.openat2(self._root, relative, kernel.LEAF))
        except OSError:
            return False
        return True

    def _open_long(self, relative: bytes, how: kernel.How) -> int:
        folder = os.dup(self._root)
        for piece in _pieces(relative):
            try:
                below = kernel.openat2(folder, piece, how)
            finally:
                os.close(folder)
            folder = below
        return folder

    def _open_stepwise(self, relative: bytes, flags: int) -> int:
        # The flags matter for the last step only, but reading the folders between does no harm.
        folder = open_step(self._root, b".", flags)
        for name in relative.split(b"/") if relative else ():
            try:
                below = open_step(folder, name, flags)
            finally:
                os.close(folder)
            folder = below
        return self._checked_mount(folder)

    def _checked_mount(self, folder: int) -> int:
        # Enough for the last folder: every mount has its own id, and no path without ".." leads back out of one.
        if os.fstat(folder).st_dev == self._device and kernel.mount_id(folder) == self._mount_id:
            return folder
        os.close(folder)
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))


def open_step(folder: int, name: bytes, flags: int = kernel.O_PATH) -> int:
    """Return a descriptor of the folder `name` in `folder`; OSError ELOOP when it is a link, on every system."""
    try:
        return os.open(name, flags | _STEP, dir_fd=folder)
    except NotADirectoryError as error:
        # What Linux answers to O_DIRECTORY | O_NOFOLLOW on a link.
        if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from error
        raise


def open_absolute(path: Path, *, create: bool = False) -> int:
    """Return a descriptor of the folder at an absolute path without links, making missing folders if told to.

    Raises OSError; ELOOP when any component is a link.
    """
    folder = os.open("/", kernel.O_PATH | _STEP)
    for name in path.parts[1:]:
        try:
            if create:
                _make(folder, os.fsencode(name))
            below = open_step(folder, os.fsencode(name))
        finally:
            os.close(folder)
        folder = below
    return folder


def _make(folder: int, name: bytes, mode: int = _NEW_FOLDER_MODE) -> None:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        with suppress(FileExistsError):  # somebody else was faster
            os.mkdir(name, mode, dir_fd=folder)


def _pieces(relative: bytes) -> Iterator[bytes]:
    start = 0
    while len(relative) - start > _PATH_BYTES:
        cut = relative.rindex(b"/", start, start + _PATH_BYTES)
        yield relative[start:cut]
        start = cut + 1
    yield relative[start:]
