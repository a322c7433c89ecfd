"""Ends the supervisor's process groups when the supervisor dies without doing so itself.

A parent-death signal reaches only the direct children: the pool of a worker would live on, and other systems than
Linux have no such signal. This script holds the reading end of a pipe whose writing end only the supervisor has; the
end of file is the news of its death. It runs as a file of its own (`python -I -S watchdog.py`), imports little, and
keeps its own session so that nothing aimed at the supervisor's group hits it.

Orders, one per line: `watch PID SIGNAL GRACE_S` and `forget PID`.
"""

import os
import select
import signal
import sys
import time

_POLL_S = 0.05  # only after the supervisor's death, and only where the kernel has no pidfd


class Group:
    """A process group under watch."""

    def __init__(self, pid: int, stop_signal: int, grace_s: float) -> None:
        self.pid = pid
        self.stop_signal = stop_signal
        self.grace_s = grace_s
        # Opened while the supervisor still holds the child, so it can't come to mean another process.
        self._descriptor = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None

    def ask(self) -> None:
        """Send the stop signal where the kernel did not do it."""
        if sys.platform != "linux":
            _quietly(os.kill, self.pid, self.stop_signal)

    def leader_ended(self, timeout_s: float) -> bool:
        """Wait for the group's leader, `timeout_s` seconds at most."""
        if self._descriptor is not None:
            return bool(select.select([self._descriptor], [], [], timeout_s)[0])
        deadline = time.monotonic() + timeout_s
        while _exists(self.pid):
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S)
        return True

    def kill(self) -> None:
        """End whatever is left of the group."""
        _quietly(os.killpg, self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Let go of the group."""
        if self._descriptor is not None:
            os.close(self._descriptor)


def main() -> None:
    """Follow orders until the pipe closes, then end what is still under watch."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: dict[int, Group] = {}
    for line in sys.stdin:
        _obey(groups, line.split())
    end(list(groups.values()))


def _obey(groups: dict[int, Group], order: list[str]) -> None:
    verb, pid = order[0], int(order[1])
    if pid in groups:
        groups.pop(pid).close()
    if verb == "watch":
        try:
            groups[pid] = Group(pid, int(order[2]), float(order[3]))
        except OSError:
            return  # it ended before we came to look; the supervisor has dealt with its group


def end(groups: list[Group]) -> None:
    """Let every leader end within its grace, all at the same time; then kill what is left of each group."""
    began = time.monotonic()
    for group in groups:
        group.ask()
    while groups:
        for group in list(groups):
            left = began + group.grace_s - time.monotonic()
            if left <= 0 or group.leader_ended(min(left, _POLL_S)):
                group.kill()
                groups.remove(group)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _quietly(call: object, pid: int, number: int) -> None:
    try:
        call(pid, number)  # type: ignore[operator]
    except OSError:
        return


if __name__ == "__main__":
    main()
