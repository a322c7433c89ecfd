"""A lock that tells who holds it.

A pid file is no lock: it outlives its process, and its pid comes to mean somebody else. Here the kernel's flock is the
lock, and the JSON inside only explains it. The file itself stays when the lock is released.
"""

import contextlib
import fcntl
import json
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from app.core.clock import Clock, SystemClock
from app.core.errors import GengfuError, Locked, OutputUnwritable
from app.service.process_identity import ProcessIdentity

_REAL_TIME = SystemClock()  # waiting for other processes takes real time, whatever clock the facts are dated by
_BLOCK = 512
_POLL_S = 0.01
_SETTLE_S = 0.5  # a holder writes its facts within microseconds of taking the lock; this allows for a busy machine
_MAX_CONTENT = 1 << 20


@dataclass(frozen=True, kw_only=True)
class LockHolder:
    """A live process that really holds a lock."""

    pid: int
    started: float
    host: str
    since: datetime
    facts: dict[str, Any]
    """Everything the holder wrote: pid, start_time, host, since, command, role and what it added."""

    @property
    def identity(self) -> ProcessIdentity:
        """Return pid and start time as one thing."""
        return ProcessIdentity(pid=self.pid, started=self.started)

    @property
    def here(self) -> bool:
        """Say whether the holder is a live process of this machine."""
        return self.identity.alive()

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal to the holder. Return False, and signal nobody, when it is gone.

        Raises GengfuError when it runs on another host or belongs to another user.
        """
        if self._elsewhere():
            raise GengfuError(f"process {self.pid} runs on {self.host}, not here; signal it on that host")
        try:
            return self.identity.signal(number)
        except PermissionError:
            raise GengfuError(f"process {self.pid} belongs to another user; run this as that user") from None

    def wait_gone(self, timeout_s: float) -> bool:
        """Wait until the holder has ended, `timeout_s` seconds at most; return whether it has.

        Raises GengfuError when it runs on another host: nothing can be seen from here.
        """
        if self._elsewhere():
            raise GengfuError(f"process {self.pid} runs on {self.host}, not here; wait for it on that host")
        return self.identity.wait_gone(timeout_s)

    def _elsewhere(self) -> bool:
        return self.host != socket.gethostname() and not self.here


class ProcessLock:
    """An exclusive lock on a file for as long as this process lives or until `release`.

    Children do not inherit it: the descriptor is closed on exec.
    """

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        self.path = path
        self._clock = clock or SystemClock()
        self._descriptor: int | None = None
        self._facts: dict[str, Any] = {}

    @property
    def held(self) -> bool:
        """Say whether this object holds the lock."""
        return self._descriptor is not None

    def acquire(self, **facts: Any) -> None:
        """Take the lock and write who we are; `facts` are JSON values that add to or replace the usual ones.

        Raises Locked naming the holder, OutputUnwritable when the file can't be opened or written.
        """
        if self.held:
            raise Locked(f"{self.path} is already held by this very object; release it first")
        self._descriptor = self._lock()
        try:
            os.ftruncate(self._descriptor, 0)
            self.update(**(self._who_we_are() | facts))
        except BaseException:
            self.release()
            raise

    def update(self, **facts: Any) -> None:
        """Rewrite the facts in place, for heartbeats. Raises OutputUnwritable when the disk refuses."""
        if self._descriptor is None:
            raise Locked(f"{self.path} is not held; acquire it before writing facts")
        self._facts |= facts
        text = json.dumps(self._facts, ensure_ascii=False).encode("utf-8", "backslashreplace")
        try:
            # One write, never shorter than the last: a reader sees no tail of older facts behind the new ones.
            size = max(os.fstat(self._descriptor).st_size, -(-len(text) // _BLOCK) * _BLOCK)
            os.pwrite(self._descriptor, text.ljust(size), 0)
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        if self._descriptor is not None:
            # Closing, not LOCK_UN: a forked child that runs this must not take the lock from its parent.
            os.close(self._descriptor)
            self._descriptor = None
            self._facts = {}

    @staticmethod
    def read(path: Path) -> LockHolder | None:
        """Return who holds the lock, or None when no live process does.

        A stale file, a dead pid and a foreign process that was given the same pid are all None.
        Raises GengfuError when the file exists and can't be read.
        """
        return _read(path)

    def __enter__(self) -> Self:
        if not self.held:
            self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _who_we_are(self) -> dict[str, Any]:
        me = ProcessIdentity.of(os.getpid())
        return {
            "pid": os.getpid(),
            "start_time": me.started if me else None,
            "host": socket.gethostname(),
            "since": self._clock.now().isoformat(),
            "command": " ".join(sys.orig_argv),
            "role": self.path.stem,
        }

    def _lock(self) -> int:
        deadline = _REAL_TIME.monotonic() + 2 * _SETTLE_S
        while True:
            descriptor = _open_for_writing(self.path)
            if _try_flock(descriptor, fcntl.LOCK_EX) and _still_at(self.path, descriptor):
                return descriptor
            os.close(descriptor)
            # A reader takes the lock for an instant to see whether it is free: only a holder that
            # can be named, or a lock that stays taken, counts.
            holder = _read(self.path)
            if holder is not None or _REAL_TIME.monotonic() >= deadline:
                raise Locked(_held_by(self.path, holder))


def _open_for_writing(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> OutputUnwritable:
    return OutputUnwritable(f"can't write {path}: {error.strerror}; free space or fix its permissions")


def _try_flock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _still_at(path: Path, descriptor: int) -> bool:
    """Say whether the locked file is the one others will open: it may have been deleted in between."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _held_by(path: Path, holder: LockHolder | None) -> str:
    if holder is None:
        return f"{path} is held by a process that does not say who it is; find it with `fuser {path}`"
    role = holder.facts.get("role", "process")
    since = holder.since.isoformat(timespec="seconds")
    return f"{role} already runs as process {holder.pid} on {holder.host} since {since}; stop it first ({path})"


def _read(path: Path) -> LockHolder | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise GengfuError(f"can't read {path}: {error.strerror}; fix its permissions") from error
    try:
        return _wait_for_holder(descriptor)
    finally:
        os.close(descriptor)


def _wait_for_holder(descriptor: int) -> LockHolder | None:
    deadline = _REAL_TIME.monotonic() + _SETTLE_S
    while not _try_flock(descriptor, fcntl.LOCK_SH):
        holder = _parse(_stable_content(descriptor))
        if holder is not None and (holder.here or holder.host != socket.gethostname()):
            return holder
        # Just taken, and the facts are still those of the last holder.
        if _REAL_TIME.monotonic() >= deadline:
            return None
        time.sleep(_POLL_S)
    return None


def _stable_content(descriptor: int) -> bytes:
    """Read until two readings agree, so that a write in the middle of one is not believed."""
    before, now = b"", os.pread(descriptor, _MAX_CONTENT, 0)
    while before != now:
        before, now = now, os.pread(descriptor, _MAX_CONTENT, 0)
    return now


def _parse(content: bytes) -> LockHolder | None:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        facts = json.loads(content)
        return LockHolder(
            pid=int(facts["pid"]),
            started=float(facts["start_time"]),
            host=str(facts["host"]),
            since=datetime.fromisoformat(facts["since"]),
            facts=facts,
        )
    return None
