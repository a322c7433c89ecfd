"""Files of one folder, one after the other: its descriptor serves them all, for a moment."""

import errno
import os
from contextlib import suppress
from types import TracebackType
from typing import Self

from app.core.safe_files.folders import Folders
from app.core.safe_files.paths import DOT, MAX_NAME_BYTES, check_relative

_MOST = 64
"""Files for which a descriptor is kept. It goes on working after its folder was moved out of the root: within a
millisecond that is the race that every removal has between looking and acting, for longer it would be a hole."""
_CLOSED = -1


class Neighbours:
    """Finds the folder of one file after the other; use it in a `with` statement and from one thread."""

    def __init__(self, folders: Folders, *, deep: bool = False) -> None:
        """Take the root's folders; `deep` is for paths found by walking, see `Root.remove`."""
        self._folders = folders
        self._deep = deep
        self._above: bytes | None = None
        self._folder = _CLOSED
        self._left = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._forget()

    def parent(self, relative: bytes) -> tuple[int, bytes]:
        """Return the descriptor of the folder that `relative` stands in, good until the next call, and its last name.

        Raises PathRefused like `check_relative`, OSError like `Folders.open`: a folder that was missing a moment ago
        is not looked for again.
        """
        above, _, name = relative.rpartition(b"/")
        is_neighbour = above == self._above and self._left
        if not is_neighbour or not 0 < len(name) <= MAX_NAME_BYTES or name[0] == DOT or b"\0" in name:
            # A name of a neighbour that is plain needs no closer look: none of ours, "." and ".." begin without a dot.
            check_relative(relative, deep=self._deep)
            if not is_neighbour:
                self._go(above)
        self._left -= 1
        if self._folder == _CLOSED:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return self._folder, name

    def _go(self, above: bytes) -> None:
        self._forget()
        with suppress(FileNotFoundError):
            self._folder = self._folders.open(above)
        self._above, self._left = above, _MOST

    def _forget(self) -> None:
        folder, self._folder, self._above = self._folder, _CLOSED, None
        if folder != _CLOSED:
            os.close(folder)
