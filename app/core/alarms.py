"""Calls when a time is over, whatever the thread that set them is stuck in: one thread for each process serves all."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_NEVER = float("inf")


@contextmanager
def alarm(seconds: float, ring: Callable[[], None]) -> Iterator[None]:
    """Call `ring` from another thread unless the block ends within `seconds`; never once it has ended.

    `ring` must neither wait for anything nor raise: other alarms wait for it.
    """
    alarms = _alarms
    pending = alarms.add(_Alarm(at=time.monotonic() + seconds, ring=ring))
    try:
        yield
    finally:
        alarms.remove(pending)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Alarm:
    at: float
    ring: Callable[[], None]


class _Alarms:
    """The alarms of one process. They are as few as its open transactions, so the next one is just looked for."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._pending: set[_Alarm] = set()
        self._wakes_at = _NEVER
        self._thread: threading.Thread | None = None

    def add(self, new: _Alarm) -> _Alarm:
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="alarms", daemon=True)
                self._thread.start()
            self._pending.add(new)
            # An alarm that is taken back wakes nobody, nor does one that is later than what is waited for.
            if new.at < self._wakes_at:
                self._changed.notify()
        return new

    def remove(self, pending: _Alarm) -> None:
        # In a child forked within the block the lock may be held for ever, by a thread that was not forked with it.
        if self._pid == os.getpid():
            with self._changed:
                self._pending.discard(pending)

    def _run(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for over in [one for one in self._pending if one.at <= now]:
                    self._pending.discard(over)
                    over.ring()
                self._wakes_at = min((one.at for one in self._pending), default=_NEVER)
                self._changed.wait(None if self._wakes_at == _NEVER else self._wakes_at - now)


_alarms = _Alarms()


def _start_anew() -> None:
    """Threads are not forked: a child begins without alarms and with a lock of its own."""
    global _alarms  # noqa: PLW0603 - one for each process is the point
    _alarms = _Alarms()


os.register_at_fork(after_in_child=_start_anew)
