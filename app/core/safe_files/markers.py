"""The file that makes a folder ours: `.gengfu-root`, holding a random id that our database knows too (rule R2).

An unmounted volume or a mistyped path has no marker, another volume has another id: both are refused, and
their absent files are not taken for files that are gone.
"""

import os
import re
import secrets
import stat
from pathlib import Path

from app.core.errors import RootRefused
from app.core.safe_files import folders, protected
from app.core.safe_files.paths import MARKER, Reason, errno_reason

_MARKER_ID = re.compile(rb"[0-9a-f]{32}")
_MARKER_BYTES = 1024  # ours has about 100; more is not ours
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO of that name must not hang us
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_EXPLANATION = "Gengfu removes expired files from this folder and those below it.\n"


def create_marker(path: Path) -> str:
    """Make the folder at `path` a root, creating it if needed, and return its id; an existing marker keeps its id.

    Raises RootRefused for a protected, relative or linked place and when the folder or marker can't be written.
    """
    folder = open_unprotected(path, create=True)
    try:
        return _existing_or_new_id(folder)
    except OSError as error:
        raise RootRefused(f"can't mark {path}: {error.strerror}; give this user write permission there") from error
    finally:
        os.close(folder)


def open_unprotected(path: Path, *, create: bool = False) -> int:
    """Return a descriptor of a folder that may be cleaned, for the caller to close.

    Raises RootRefused, telling why it may not.
    """
    _check_spelling(path)
    try:
        folder = folders.open_absolute(path, create=create)
    except OSError as error:
        raise RootRefused(_cannot_open(path, error)) from error
    if protected.is_protected_folder(os.fstat(folder)):
        os.close(folder)
        raise RootRefused(f"{path} is another name of a protected folder; name a folder of the application itself")
    return folder


def read_marker(folder: int) -> tuple[str, os.stat_result] | None:
    """Return the id in the folder's marker and the marker's status, or None if none stands there.

    Raises RootRefused when something else bears its name, OSError when it can't be read.
    """
    try:
        descriptor = os.open(MARKER, _READ, dir_fd=folder)
    except FileNotFoundError:
        return None
    try:
        status = os.fstat(descriptor)
        content = os.read(descriptor, _MARKER_BYTES) if stat.S_ISREG(status.st_mode) else b""
    finally:
        os.close(descriptor)
    first_line = content.partition(b"\n")[0]
    if not _MARKER_ID.fullmatch(first_line):
        raise RootRefused(f"{MARKER} holds no id; look into it, move it away and mark the folder again")
    return first_line.decode(), status


def _existing_or_new_id(folder: int) -> str:
    found = read_marker(folder)
    return found[0] if found else _write_new(folder)


def _write_new(folder: int) -> str:
    marker_id = secrets.token_hex(16)
    descriptor = os.open(MARKER, _CREATE, 0o600, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as marker:
            marker.write(f"{marker_id}\n{_EXPLANATION}".encode())
        os.fsync(descriptor)
    except OSError:
        os.unlink(MARKER, dir_fd=folder)
        raise
    finally:
        os.close(descriptor)
    return marker_id


def _check_spelling(path: Path) -> None:
    # "//" at the start is kept by pathlib, and no list of ours would recognise it.
    if path.root != "/" or ".." in path.parts or "\0" in str(path):
        raise RootRefused(f"{str(path)!r} is not a full path; write it from / on, without ..")
    if kind := protected.why_protected(path):
        raise RootRefused(f"{path} is {kind}; name a folder of the application itself")


def _cannot_open(path: Path, error: OSError) -> str:
    reason = {
        Reason.LINK: f"it is a link or lies behind one; its real path is {os.path.realpath(path)}",
        "enoent": "it does not exist; mount its volume or correct the path",
    }
    return f"can't open {path}: {reason.get(errno_reason(error), error.strerror)}"
