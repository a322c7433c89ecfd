"""Signals as events of a loop: the handlers do nothing, the numbers arrive through a pipe."""

import os
import select
import signal
from collections.abc import Callable, Iterable
from types import FrameType, TracebackType
from typing import Any, Self


class SignalPipe:
    """Catches signals for the time of a `with` block, which must stand in the main thread.

    A signal that was ignored before (nohup) stays ignored if it is named in `keep_ignored`.
    """

    def __init__(self, numbers: Iterable[signal.Signals], keep_ignored: Iterable[signal.Signals] = ()) -> None:
        ignored = {number for number in keep_ignored if signal.getsignal(number) is signal.SIG_IGN}
        self._numbers = [number for number in numbers if number not in ignored]
        self._before: dict[signal.Signals, Callable[[int, FrameType | None], Any] | int | None] = {}
        self._poller = select.poll()

    def __enter__(self) -> Self:
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.set_blocking(self._writing, False)
        self._poller.register(self._reading, select.POLLIN)
        # A full pipe means thousands of signals unread: what is in it says all there is to know.
        self._wakeup_before = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        for number in self._numbers:
            self._before[number] = signal.signal(number, _nothing)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._reading)
        os.close(self._writing)

    def wait(self, timeout_s: float | None) -> list[int]:
        """Sleep until a signal comes or the time is over (None: for ever); return the numbers that came, in order."""
        self._poller.poll(None if timeout_s is None else max(0.0, timeout_s) * 1000)
        try:
            return list(os.read(self._reading, 4096))
        except BlockingIOError:
            return []


def _nothing(_number: int, _frame: FrameType | None) -> None:
    pass
