"""Whether two spellings of a name mean one file here: then comparing paths does not tell whose a file is (rule R7)."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from app.core.errors import RootRefused
from app.core.safe_files import markers
from app.core.safe_files.paths import MARKER

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_COMPOSED, _DECOMPOSED = "\u00e9", "e\u0301"  # one letter and the same in two pieces


def ignores_case(folder: int) -> bool:
    """Tell whether the marked folder's file system finds its marker in capital letters, too; nothing is written."""
    try:
        other = os.stat(MARKER.upper(), dir_fd=folder, follow_symlinks=False)
        return os.path.samestat(other, os.stat(MARKER, dir_fd=folder, follow_symlinks=False))
    except OSError:
        return False


def folds_names(path: Path) -> bool:
    """Tell whether the folder's file system takes names that differ in case or composition for one.

    A file of ours is made and removed to find out. Raises RootRefused where the folder can't be used.
    """
    folder = markers.open_unprotected(path)
    try:
        return ignores_case(folder) or _composes(folder)
    except OSError as error:
        raise RootRefused(f"can't try names in {path}: {error.strerror}; give this user write permission") from error
    finally:
        os.close(folder)


def _composes(folder: int) -> bool:
    start = f".gengfu-probe-{secrets.token_hex(8)}-"
    os.close(os.open(start + _COMPOSED, _CREATE, 0o600, dir_fd=folder))
    try:
        os.stat(start + _DECOMPOSED, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    else:
        return True
    finally:
        with suppress(FileNotFoundError):
            os.unlink(start + _COMPOSED, dir_fd=folder)
