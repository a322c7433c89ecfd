"""What Linux offers beyond `os`: openat2 (a path without links and mounts in one call), a safe rename, mount ids."""

import ctypes
import errno
import functools
import os
import struct
import sys

# One number on every architecture we can run on (linux/include/uapi/asm-generic/unistd.h).
_OPENAT2 = 437
# linux/include/uapi/linux/openat2.h
_NO_XDEV = 0x01
_NO_MAGICLINKS = 0x02
_NO_SYMLINKS = 0x04
_BENEATH = 0x08

# linux/include/uapi/linux/fs.h
_RENAME_NOREPLACE = 0x01

O_PATH: int = getattr(os, "O_PATH", 0)  # elsewhere than on Linux: an ordinary descriptor


class How(ctypes.Structure):
    """struct open_how. Immutable by convention: one instance serves all threads."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_FOLDER = os.O_DIRECTORY | os.O_CLOEXEC
_INSIDE = _NO_XDEV | _NO_MAGICLINKS | _NO_SYMLINKS | _BENEATH
FOLDER = How(_FOLDER | O_PATH, 0, _INSIDE)
READABLE_FOLDER = How(_FOLDER | os.O_RDONLY, 0, _INSIDE)
LEAF = How(os.O_CLOEXEC | os.O_NOFOLLOW | O_PATH, 0, _INSIDE)


@functools.cache
def has_openat2() -> bool:
    """Tell whether openat2 works here: Linux 5.6 or newer, and no container filter that forbids it."""
    if not sys.platform.startswith("linux") or struct.calcsize("P") != 8:  # noqa: PLR2004 - bytes; 32 bits: flags differ
        return False
    top = os.open("/", _FOLDER)
    try:
        os.close(openat2(top, b".", FOLDER))
    except OSError:
        return False
    finally:
        os.close(top)
    return True


def openat2(folder: int, path: bytes, how: How) -> int:
    """Return a descriptor for `path` below `folder`.

    Raises OSError: ELOOP for a link anywhere in it, EXDEV for a mount point.
    """
    call, size = _system_call()
    while True:
        descriptor: int = call(_OPENAT2, folder, path, ctypes.byref(how), size)
        if descriptor >= 0:
            return descriptor
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))


@functools.cache
def _system_call() -> tuple["ctypes._NamedFuncPointer", int]:
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    call.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(How), ctypes.c_size_t)
    return call, ctypes.sizeof(How)


def rename_no_replace(source: int, name: bytes, target: int, new_name: bytes) -> None:
    """Move `name` of the folder `source` to `new_name` in the folder `target`.

    Raises OSError: FileExistsError where the new name is taken; ENOSYS or EINVAL where system or file system can't.
    """
    call = _renameat2()
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if call(source, name, target, new_name, _RENAME_NOREPLACE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@functools.cache
def _renameat2() -> "ctypes._NamedFuncPointer | None":
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:  # elsewhere than on Linux, or a C library older than 2018
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    return call


def mount_id(descriptor: int) -> int | None:
    """Return the id of the mount the descriptor was opened through, or None where the system does not tell."""
    try:
        with open(f"/proc/self/fdinfo/{descriptor}", "rb") as lines:  # noqa: PTH123 - Path costs more than the read
            return next((int(line[7:]) for line in lines if line.startswith(b"mnt_id:")), None)
    except OSError:
        return None
