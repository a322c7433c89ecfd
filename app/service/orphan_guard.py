"""The supervisor's end of the watchdog: tells it which process groups to end should the supervisor be killed."""

import contextlib
import subprocess
from types import TracebackType
from typing import Self

from app.service.children import Child, reap, spawn_watchdog


class OrphanGuard:
    """A watchdog process for the time of a `with` block, started anew when somebody kills it."""

    def __init__(self) -> None:
        self._orders: dict[int, str] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._process = spawn_watchdog()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._close_pipe(self._process)
            self._process.wait()

    @property
    def pid(self) -> int | None:
        """Return the watchdog's pid."""
        return self._process.pid if self._process else None

    def watch(self, pid: int, child: Child) -> None:
        """Have this child's process group ended when we are killed."""
        self._orders[pid] = f"watch {pid} {int(child.stop_signal)} {child.stop_grace_s}\n"
        self._send(self._orders[pid])

    def forget(self, pid: int) -> None:
        """Leave this group alone from now on: it has ended."""
        if self._orders.pop(pid, None) is not None:
            self._send(f"forget {pid}\n")

    def keep_alive(self) -> None:
        """Replace a watchdog that has died."""
        if self._process is None or reap(self._process) is None:
            return
        self._close_pipe(self._process)
        self._process = spawn_watchdog()
        for order in self._orders.values():
            self._send(order)

    def _send(self, order: str) -> None:
        if self._process is None or self._process.stdin is None:
            return
        with contextlib.suppress(BrokenPipeError):  # it has just died: keep_alive repeats all orders
            self._process.stdin.write(order.encode())

    @staticmethod
    def _close_pipe(process: "subprocess.Popen[bytes]") -> None:
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
