"""Which relative paths are acceptable (rule R3: never repaired, only refused), and the words for refusals."""

import errno
import re
from collections.abc import Sequence
from enum import StrEnum

from app.core.errors import PathRefused

MARKER = ".gengfu-root"
MARKER_BYTES = MARKER.encode()
TRASH = ".gengfu-trash"
"""The folder right below a root in which files wait that may still be brought back; no walk enters it."""
TRASH_BYTES = TRASH.encode()
TRASH_UNSAFE = "trash_unsafe"
"""The trash folder is not ours alone; no `Reason`, since the path is right and its owner can mend the folder."""
MAX_COMPONENTS = 64
MAX_NAME_BYTES = 255
_MAX_SHOWN = 300  # characters: a hostile row may hold a megabyte of path
_URL = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://")
DOT = ord(".")
_OURS = b".gengfu-"
_MOST_UTF8 = 4  # bytes of one character


class Reason(StrEnum):
    """Why a path is refused. Any other reason is the lower-case name of an errno, such as `eacces` or `erofs`."""

    EMPTY = "empty"
    ABSOLUTE = "absolute"
    PARENT_REFERENCE = "parent_reference"
    NOT_CANONICAL = "not_canonical"
    NUL = "nul"
    TOO_DEEP = "too_deep"
    NAME_TOO_LONG = "name_too_long"
    UNSUPPORTED = "unsupported"
    MARKER = "marker"
    TRASH = "trash"
    LINK = "link"
    DIRECTORY = "directory"
    NOT_REGULAR = "not_regular"
    OTHER_MOUNT = "other_mount"
    OTHER_ROOT = "other_root"  # only when walking: the folder bears a mark of its own
    HARD_LINK = "hard_link"
    CHANGED = "changed"
    TAKEN = "taken"  # only when something is to be put back: another file stands there


# Both ways of opening folders (see `folders`) speak these two errnos for the two attacks they stop.
_SPECIAL_ERRNOS = {errno.ELOOP: Reason.LINK, errno.EXDEV: Reason.OTHER_MOUNT}


def check_relative(relative: bytes, *, deep: bool = False) -> tuple[bytes, ...]:
    """Return the components of a canonical relative path below a root; with `deep` as many as there are.

    Raises PathRefused with a `Reason`: nothing is stripped, joined or normalised to make a path fit.
    """
    parts = relative.split(b"/")
    reason = _whole_fault(relative) or _parts_fault(relative, parts, deep=deep)
    if reason is not None:
        raise refused(reason, relative)
    return tuple(parts)


def are_plainly_named(folder: str, paths: Sequence[str]) -> bool:
    """Tell whether `check_relative` would say the same of all these files of one folder; a No may be wrong."""
    together = "\n".join(paths)
    most = MAX_NAME_BYTES if together.isascii() else MAX_NAME_BYTES // _MOST_UTF8
    return (
        max(map(len, paths), default=0) <= most
        and "\0" not in together
        and _OURS.decode() not in together.lower()
        and {f"{folder}/", f"{folder}/.", f"{folder}/.."}.isdisjoint(paths)
    )


def _whole_fault(relative: bytes) -> Reason | None:
    if not relative:
        return Reason.EMPTY
    if b"\0" in relative:
        return Reason.NUL
    if b"://" in relative and _URL.match(relative):
        return Reason.UNSUPPORTED
    if relative.startswith(b"/"):
        return Reason.ABSOLUTE
    return None


def _parts_fault(relative: bytes, parts: list[bytes], *, deep: bool) -> Reason | None:
    if b".." in parts:
        return Reason.PARENT_REFERENCE
    if b"" in parts or b"." in parts:
        return Reason.NOT_CANONICAL
    if len(parts) > MAX_COMPONENTS and not deep:
        return Reason.TOO_DEEP
    if len(relative) > MAX_NAME_BYTES and max(map(len, parts)) > MAX_NAME_BYTES:
        return Reason.NAME_TOO_LONG
    return _own_fault(parts) if _OURS in relative.lower() else None


def _own_fault(parts: list[bytes]) -> Reason | None:
    # In any case of letters: a file system that ignores case knows them by every spelling.
    if MARKER_BYTES in {part.lower() for part in parts}:
        return Reason.MARKER
    return Reason.TRASH if parts[0].lower() == TRASH_BYTES else None


def refused(reason: str, relative: bytes) -> PathRefused:
    """Return the error for `relative`, its text fit for any terminal or log."""
    shown = show(relative)
    # A plain str: JSON encoders refuse members of an enumeration as keys.
    return PathRefused(str(reason), shown if len(shown) <= _MAX_SHOWN else f"{shown[:_MAX_SHOWN]}...")


def refused_by_system(error: OSError, relative: bytes) -> PathRefused:
    """Return the error for what the operating system answered."""
    return refused(errno_reason(error), relative)


def errno_reason(error: OSError) -> str:
    """Return the constant word for counting: `link`, `other_mount`, or the errno's name in lower case."""
    number = error.errno or 0
    return _SPECIAL_ERRNOS.get(number) or errno.errorcode.get(number, "unknown").lower()


def show(path: bytes) -> str:
    r"""Return `path` as printable text: undecodable bytes and control or invisible characters backslash-escaped.

    A backslash of the name itself is doubled, so two different names never look the same.
    """
    text = path.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
