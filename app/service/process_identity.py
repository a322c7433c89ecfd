"""Which process is meant: a pid alone is reused after a while, a pid with its start time is not."""

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.core.clock import SystemClock

_POLL_S = 0.02  # only where the kernel has no pidfd; nobody waits for a shorter time than a person notices


@dataclass(frozen=True, kw_only=True)
class ProcessIdentity:
    """One process of this machine, told apart from every later process with the same number."""

    pid: int
    started: float
    """Clock ticks since boot on Linux, epoch seconds elsewhere; only equality means anything."""

    @classmethod
    def of(cls, pid: int) -> "ProcessIdentity | None":
        """Return the identity of the process that has this pid now; None when there is none or it is a zombie."""
        started = _start_time(pid)
        return None if started is None else cls(pid=pid, started=started)

    def alive(self) -> bool:
        """Say whether this very process still runs; a zombie does not."""
        return _start_time(self.pid) == self.started

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal to this very process. Return False, and signal nobody, when it is gone.

        Raises PermissionError when the process belongs to somebody else.
        """
        with _pinned(self.pid) as descriptor:
            # Pinned first, verified second: from here on the pid can't come to mean another process.
            if not self.alive():
                return False
            try:
                _send(self.pid, descriptor, number)
            except ProcessLookupError:
                return False
            return True

    def wait_gone(self, timeout_s: float) -> bool:
        """Wait until this process has ended, `timeout_s` seconds at most; return whether it has."""
        with _pinned(self.pid) as descriptor:
            if descriptor is None:
                return self._poll_gone(timeout_s)
            if not self.alive():
                return True
            poller = select.poll()
            poller.register(descriptor, select.POLLIN)
            return bool(poller.poll(max(0, round(timeout_s * 1000))))

    def _poll_gone(self, timeout_s: float) -> bool:
        clock = SystemClock()
        deadline = clock.monotonic() + timeout_s
        while self.alive():
            if clock.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S)
        return True


def _start_time(pid: int) -> float | None:
    if sys.platform != "linux":
        return _start_time_by_psutil(pid)
    try:
        # psutil's create_time moves when the wall clock is set; the kernel's ticks do not.
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    state, *fields = stat[stat.rindex(b")") + 1 :].split()  # the name before it may hold blanks and brackets
    return None if state in {b"Z", b"X"} else float(fields[18])


def _start_time_by_psutil(pid: int) -> float | None:
    import psutil  # noqa: PLC0415 - 20 ms that Linux need not pay

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except (psutil.Error, ValueError):
        return None


@contextlib.contextmanager
def _pinned(pid: int) -> Iterator[int | None]:
    """Hold a pidfd; None where the kernel has none or the process is gone."""
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _send(pid: int, descriptor: int | None, number: signal.Signals) -> None:
    if descriptor is None:
        os.kill(pid, number)
    else:
        signal.pidfd_send_signal(descriptor, number)
