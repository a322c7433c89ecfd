"""Moving a file to another folder without ever overwriting what stands there."""

import errno
import os

from app.core.safe_files import kernel

_NOT_OFFERED = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP})  # no such call, or not on this file system


def move(source: int, name: bytes, target: int, new_name: bytes) -> None:
    """Move `name` of the folder `source` to `new_name` in `target`; both are descriptors.

    Raises OSError; FileExistsError where the new name is taken. Killed in the middle, the file has both names at worst:
    `finish` ends that.
    """
    try:
        kernel.rename_no_replace(source, name, target, new_name)
    except OSError as error:
        if error.errno not in _NOT_OFFERED:
            raise
        os.link(name, new_name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
        finish(source, name, target, new_name)


def finish(source: int, name: bytes, target: int, new_name: bytes) -> bool:
    """Take the old name off a file that has both, and tell whether it had; any other file is left alone."""
    try:
        here = os.stat(name, dir_fd=source, follow_symlinks=False)
        there = os.stat(new_name, dir_fd=target, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if not os.path.samestat(here, there):
        return False
    os.unlink(name, dir_fd=source)
    return True
