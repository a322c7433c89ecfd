"""A process's mark: by it another process of this machine can tell for certain that it no longer lives.

A pid alone proves nothing: it is used again, and each container counts its own. The mark names the boot of the kernel,
the name spaces in which pid and start time are counted, and the start time. Whoever has the same boot and name spaces
sees the same processes; everybody else, and everybody where /proc does not tell, has to believe that it lives.
"""

import hashlib
import os
from functools import lru_cache
from pathlib import Path

from app.service.process_identity import ProcessIdentity

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAME_SPACES = ("/proc/self/ns/pid", "/proc/self/ns/time")


def own_mark() -> str:
    """Return this process's mark; empty where the system tells too little (not Linux, no /proc)."""
    return _mark_of(os.getpid())


def provably_gone(mark: str, pid: int) -> bool:
    """Tell whether the process of this mark and pid no longer lives; False wherever that can't be known."""
    ground, _, started = mark.rpartition(".")
    if not ground or ground != _ground(os.getpid()):
        return False
    try:
        # Asked first: where /proc hides other people's processes, signals still tell that they are there.
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    now_there = ProcessIdentity.of(pid)  # None for hidden ones and zombies, whose last system call may still go on
    return now_there is not None and _text(now_there) != started


@lru_cache(maxsize=2)
def _mark_of(pid: int) -> str:
    """By pid, because a forked child has another mark than its parent."""
    ground, me = _ground(pid), ProcessIdentity.of(pid)
    return f"{ground}.{_text(me)}" if ground and me else ""


@lru_cache(maxsize=2)
def _ground(pid: int) -> str:
    """What pids and start times of the process `pid`, which is this one, are counted on; empty where it isn't told."""
    try:
        # Told apart by the kernel: /proc of another name space would answer about other people's pids.
        if int(Path("/proc/self").readlink().name) != pid:
            return ""
        spaces = [str(Path(name).readlink()) for name in _NAME_SPACES]
        parts = [_BOOT.read_text(encoding="ascii").strip(), *spaces]
    except (OSError, ValueError):
        return ""
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:32] if all(parts) else ""


def _text(identity: ProcessIdentity) -> str:
    return f"{identity.started:.0f}"
