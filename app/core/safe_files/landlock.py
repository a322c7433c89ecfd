"""Landlock: the kernel itself refuses this process to make, remove or rename anything outside some folders.

A second lock behind the descriptors: a mistake of ours, or of a library, can't delete what lies elsewhere. It holds for
the calling thread and all threads and children it starts later, for ever: `confine` belongs at the start of a process
that does nothing but work inside these folders. Reading and writing to existing files stay as they were.
https://docs.kernel.org/userspace-api/landlock.html
"""

import ctypes
import functools
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.core.errors import SettingsError
from app.core.safe_files.kernel import O_PATH

# One number on every architecture (linux/include/uapi/asm-generic/unistd.h).
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

_REMOVE_DIR, _REMOVE_FILE = 1 << 4, 1 << 5
_MAKE = sum(1 << bit for bit in range(6, 13))  # character device, folder, file, socket, FIFO, block device, link
_REFER = 1 << 13  # rename and link between folders: ABI 2
_TRUNCATE = 1 << 14  # ABI 3
_RIGHTS_BY_ABI = ((1, _REMOVE_DIR | _REMOVE_FILE | _MAKE), (2, _REFER), (3, _TRUNCATE))

Mode = Literal["auto", "required", "off"]


class _Ruleset(ctypes.Structure):
    """struct landlock_ruleset_attr of ABI 1; later kernels take the short form."""

    _fields_ = (("handled_access_fs", ctypes.c_uint64),)


class _Beneath(ctypes.Structure):
    """struct landlock_path_beneath_attr."""

    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


@dataclass(frozen=True, kw_only=True)
class LandlockState:
    """Whether the kernel confines this process."""

    state: Literal["active", "available", "unavailable", "off"]
    """`available`: the kernel can, and this process did not ask for it."""
    detail: str
    folders: tuple[tuple[Path, int, int], ...] = ()
    """Path, device and inode of the folders in which this process may remove, once it is confined."""


_OFF = LandlockState(state="off", detail="[retention] landlock = off")
_current: list[LandlockState] = []


def current(mode: Mode = "auto") -> LandlockState:
    """Return the state of this process; changes nothing."""
    if _current:
        return _current[0]
    if mode == "off":
        return _OFF
    version = abi_version()
    if version:
        return LandlockState(state="available", detail=f"the kernel offers Landlock ABI {version}")
    return LandlockState(state="unavailable", detail="this kernel offers no Landlock, or a container forbids it")


def confine(folders: Iterable[Path], mode: Mode = "auto") -> LandlockState:
    """Let this process make, remove and rename only in these folders and below them from here on, for ever.

    Missing folders are left out: nothing can be removed there later either. Once confined, calling it again changes
    nothing. Raises SettingsError where `mode` is `required` and it can't be had.
    """
    if mode == "off" or _current:
        return current(mode)
    state = current()
    if state.state == "available":
        try:
            state = _restricted(tuple(folders))
        except OSError as error:
            state = LandlockState(state="unavailable", detail=f"Landlock refused: {error.strerror}")
    if state.state == "active":
        _current.append(state)
    elif mode == "required":
        raise SettingsError(f"[retention] landlock = required, but {state.detail}; use another kernel, or auto")
    return state


def may_remove_in(path: Path, status: os.stat_result) -> bool:
    """Tell whether the folder at `path` is among or below those that `confine` was given; always True without it.

    A volume mounted since then covers what was given: the kernel does not let this process touch it.
    """
    if not _current:
        return True
    return any(
        (status.st_dev, status.st_ino) == (device, inode) or (status.st_dev == device and path.is_relative_to(folder))
        for folder, device, inode in _current[0].folders
    )


@functools.cache
def abi_version() -> int:
    """Return the version of the kernel's interface, 0 where there is none."""
    if not sys.platform.startswith("linux"):
        return 0
    try:
        return _system_call(_CREATE_RULESET, None, 0, _ASK_VERSION)
    except OSError:
        return 0


def _restricted(folders: tuple[Path, ...]) -> LandlockState:
    version = abi_version()
    rights = sum(right for since, right in _RIGHTS_BY_ABI if version >= since)
    asked = _Ruleset(rights)
    ruleset = _system_call(_CREATE_RULESET, ctypes.byref(asked), ctypes.sizeof(asked), 0)
    try:
        allowed = tuple(key for folder in folders if (key := _allow(ruleset, folder, rights)))
        _give_up_privileges()
        _system_call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return LandlockState(state="active", detail=f"Landlock ABI {version}, {len(allowed)} folders", folders=allowed)


def _give_up_privileges() -> None:
    """No program started from here gains rights by its file: else the kernel lets only root confine itself."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _allow(ruleset: int, folder: Path, rights: int) -> tuple[Path, int, int] | None:
    try:
        descriptor = os.open(folder, O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        _system_call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(_Beneath(rights, descriptor)), 0)
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    return folder, status.st_dev, status.st_ino


def _system_call(number: int, *arguments: object) -> int:
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    done: int = call(ctypes.c_long(number), *map(_argument, arguments))
    if done < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return done


def _argument(value: object) -> object:
    # Variadic: a plain int would be passed as 32 bits and leave the upper half of a register undefined.
    return ctypes.c_long(value) if isinstance(value, int) else value
