"""One child under supervision: its process, its state and when something is due."""

import os
import subprocess
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from app.core.clock import Clock
from app.service.children import Child, describe_end, kill_group, last_lines, log_size, reap, spawn


class ChildPhase(StrEnum):
    """Where a child stands."""

    PENDING = "pending"
    """Not started yet: it waits for the children before it."""
    STARTING = "starting"
    """Runs, but is not ready yet."""
    RUNNING = "running"
    BACKOFF = "backoff"
    """Dead; it is started again when its delay is over."""
    STOPPING = "stopping"
    """Was asked to end."""
    STOPPED = "stopped"


@dataclass(frozen=True, kw_only=True)
class ChildState:
    """What others may know about a child; JSON values only."""

    name: str
    phase: str
    pid: int | None
    since: str | None
    """Start of the present process, ISO 8601 in UTC; None while there is none."""
    restarts: int
    last_end: str | None
    """How the previous process ended: 'exit code 1', 'signal SIGKILL'."""


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """How long a dead child waits before it is started again."""

    first_s: float = 1.0
    longest_s: float = 30.0
    reset_after_s: float = 60.0
    """A life of at least this length clears the record."""

    def delay_s(self, deaths_in_a_row: int) -> float:
        """Return the seconds to wait after the n-th death in a row, counted from 1: first, twice that, ... longest."""
        return min(self.longest_s, self.first_s * 2.0 ** min(deaths_in_a_row - 1, 32))


class Member:
    """A child, its present process if any, and its record. Times are the clock's monotonic seconds."""

    def __init__(self, child: Child, clock: Clock, backoff: Backoff) -> None:
        self.child = child
        self.phase = ChildPhase.PENDING
        self.ever_ready = False
        self.due_at = 0.0
        self.late = False
        self._clock = clock
        self._backoff = backoff
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._kill_at = 0.0
        self._since: datetime | None = None
        self._starts = 0
        self._deaths_in_a_row = 0
        self._last_end: str | None = None
        self._log_start = 0

    @property
    def name(self) -> str:
        return self.child.name

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        """Say whether there is a process that was not reaped yet."""
        return self._process is not None

    def state(self) -> ChildState:
        return ChildState(
            name=self.name,
            phase=self.phase.value,
            pid=self.pid,
            since=self._since.isoformat() if self._since else None,
            restarts=max(0, self._starts - 1),
            last_end=self._last_end,
        )

    def start(self) -> None:
        """Start the process; raises what `spawn` raises."""
        self._log_start = log_size(self.child.log_file)
        self._started_at = self._clock.monotonic()
        self._process = spawn(self.child)
        self._since = self._clock.now()
        self._starts += 1
        self.late = False
        self.phase = ChildPhase.STARTING

    def check_ready(self) -> None:
        """Move from starting to running once it is ready, and note when that takes too long."""
        if self.phase is not ChildPhase.STARTING:
            return
        if self.child.ready is None or self.child.ready():
            self.phase = ChildPhase.RUNNING
            self.ever_ready = True
        elif self.lived_s() >= self.child.ready_within_s:
            self.late = True

    def lived_s(self) -> float:
        return self._clock.monotonic() - self._started_at

    def stop(self) -> bool:
        """Ask it to end, or kill its group once its grace is over. Return True when this call asked or killed."""
        if self._process is None:
            return False
        if self.phase is not ChildPhase.STOPPING:
            self.phase = ChildPhase.STOPPING
            self._kill_at = self._clock.monotonic() + self.child.stop_grace_s
            # Not Popen.send_signal: it may collect the zombie, and with it our hold on the group's id.
            os.kill(self._process.pid, self.child.stop_signal)
            return True
        if self._clock.monotonic() < self._kill_at:
            return False
        self._kill_at = float("inf")
        kill_group(self._process)
        return True

    def kill(self) -> None:
        """End it and its group at once."""
        if self._process is not None:
            self.phase = ChildPhase.STOPPING
            self._kill_at = float("inf")
            kill_group(self._process)

    def reap(self) -> int | None:
        """Collect the process if it has ended and return its status; the record is brought up to date."""
        status = None if self._process is None else reap(self._process)
        if status is None:
            return None
        self._process = None
        self._since = None
        self._last_end = describe_end(status)
        return status

    def wait_dead(self) -> None:
        """Wait for a killed process and collect it."""
        if self._process is not None:
            self._process.wait()
            self._process = None

    def back_off(self) -> float:
        """Note one more death and when the next start is due; return the delay in seconds."""
        if self.lived_s() >= self._backoff.reset_after_s:
            self._deaths_in_a_row = 0
        self._deaths_in_a_row += 1
        delay = self._backoff.delay_s(self._deaths_in_a_row)
        self.due_at = self._clock.monotonic() + delay
        self.phase = ChildPhase.BACKOFF
        return delay

    def next_look_at(self, ready_poll_s: float) -> float:
        """Return when this child needs attention although no signal came."""
        if self.phase is ChildPhase.BACKOFF:
            return self.due_at
        if self.phase is ChildPhase.STOPPING:
            return self._kill_at
        if self.phase is ChildPhase.STARTING:
            return self._clock.monotonic() + ready_poll_s
        return float("inf")

    def last_words(self) -> str:
        """Return the last lines that the present or last process wrote."""
        return last_lines(self.child.log_file, self._log_start)
