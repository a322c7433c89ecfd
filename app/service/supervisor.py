"""The supervisor of `gengfu up`: a small loop that keeps a few children running and leaves none behind.

Why our own: honcho never restarts a child, and honcho, circus and supervisor all leave orphans when they are killed.

Signals: SIGTERM and SIGINT stop gracefully, the last child first; a further SIGINT ends everything at once; SIGHUP
restarts the children one after another, or stops when it came because the terminal went away.
"""

import contextlib
import os
import shutil
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import structlog

from app.core.clock import Clock, SystemClock
from app.core.errors import GengfuError
from app.service.children import Child, describe_end
from app.service.member import Backoff, ChildPhase, ChildState, Member
from app.service.orphan_guard import OrphanGuard
from app.service.signal_pipe import SignalPipe

Say = Callable[[str, Mapping[str, Any]], None]
"""Takes an event's constant name and its fields."""

_READY_POLL_S = 0.05  # a start feels immediate, and asking a socket costs microseconds
_LONGEST_SLEEP_S = 30.0  # a look now and then, should a signal ever get lost
# make, uv and shells pass Ctrl-C on to a process that the terminal has told already: that is one wish, not two.
_SAME_WISH_S = 1.0
_WARNINGS = {"child_died", "child_killed", "child_not_ready", "child_not_started", "firm_stop"}
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


def log_event(event: str, fields: Mapping[str, Any]) -> None:
    """Write a supervisor event to the log; the default `say`."""
    log = structlog.get_logger("gengfu.service")
    (log.warning if event in _WARNINGS else log.info)(event, **fields)


class Supervisor:
    """Runs children until it is told to stop.

    `children` are started in this order and stopped in the reverse one. `say` gets every event, `on_change` the state
    of all children after each change, and `on_turn` is called whenever a process of ours may have ended; an OSError of
    `say` and `on_change` (a full disk, a closed terminal) never stops supervision.
    """

    def __init__(
        self,
        children: Sequence[Child],
        *,
        say: Say = log_event,
        on_change: Callable[[list[ChildState]], None] | None = None,
        on_turn: Callable[[], None] | None = None,
        clock: Clock | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._members = [Member(child, self._clock, backoff or Backoff()) for child in children]
        self._say_raw = say
        self._on_change = on_change
        self._on_turn = on_turn
        self._told: list[ChildState] = []
        self._stop_asked_at: float | None = None
        self._failure: GengfuError | None = None
        self._restarting: deque[tuple[Member, int | None]] = deque()
        self._guard = OrphanGuard()
        self._had_terminal = False

    def state(self) -> list[dict[str, Any]]:
        """Return the children in order, each as the fields of ChildState; JSON values only."""
        return [asdict(member.state()) for member in self._members]

    def run(self) -> None:
        """Start the children and return after all of them have ended. Call it once, in the main thread.

        Raises GengfuError when a program is missing, or when a critical child does not come up: nothing runs then.
        """
        self._check_programs()
        self._had_terminal = _terminal_present()
        with SignalPipe(_SIGNALS, keep_ignored=(signal.SIGHUP,)) as signals, self._guard:
            try:
                self._loop(signals)
            finally:
                self._end_all()
        if self._failure is not None:
            raise self._failure

    @property
    def _stopping(self) -> bool:
        return self._stop_asked_at is not None

    def _loop(self, signals: SignalPipe) -> None:
        while not self._turn():
            for number in signals.wait(self._sleep_s()):
                self._on_signal(number)

    def _turn(self) -> bool:
        """Do all that is due now; return whether everything is over."""
        self._reap()
        if not self._stopping:
            self._check_ready()
        if self._stopping:
            self._go_on_stopping()
        else:
            self._go_on_restarting()
            self._start_due()
        self._tell_change()
        if self._on_turn is not None:
            self._on_turn()
        return self._stopping and not any(member.alive for member in self._members)

    def _sleep_s(self) -> float:
        soonest = min((member.next_look_at(_READY_POLL_S) for member in self._members), default=float("inf"))
        return min(_LONGEST_SLEEP_S, max(0.0, soonest - self._clock.monotonic()))

    # Ends of children

    def _reap(self) -> None:
        for member in self._members:
            pid, asked = member.pid, member.phase is ChildPhase.STOPPING
            status = member.reap()
            if status is not None and pid is not None:
                self._guard.forget(pid)
                self._after_end(member, pid, describe_end(status), asked=asked)
        self._guard.keep_alive()
        if os.getpid() == 1:  # in a container we inherit every orphan
            _reap_strangers({self._guard.pid, *(member.pid for member in self._members)})

    def _after_end(self, member: Member, pid: int, end: str, *, asked: bool) -> None:
        if self._stopping or asked:
            member.phase = ChildPhase.STOPPED
            self._say("child_stopped", child=member.name, pid=pid, end=end)
        elif member.child.critical and not member.ever_ready:
            member.phase = ChildPhase.STOPPED
            self._say("child_died", child=member.name, pid=pid, end=end)
            self._fail(f"{member.name} ended with {end} before it was ready{_quoted(member)}")
        else:
            lived, delay = member.lived_s(), member.back_off()
            self._say("child_died", child=member.name, pid=pid, end=end, lived_s=round(lived, 1), restart_in_s=delay)

    # Starts

    def _check_ready(self) -> None:
        for member in self._members:
            before, was_late = member.phase, member.late
            member.check_ready()
            if member.phase is not before and member.child.ready is not None:
                self._say("child_ready", child=member.name, pid=member.pid, after_s=round(member.lived_s(), 2))
            if member.late and not was_late:
                self._on_late(member)

    def _on_late(self, member: Member) -> None:
        seconds = member.child.ready_within_s
        self._say("child_not_ready", child=member.name, pid=member.pid, after_s=seconds)
        if member.child.critical and not member.ever_ready:
            self._fail(f"{member.name} was not ready within {seconds:g} s{_quoted(member)}")

    def _start_due(self) -> None:
        for member in self._members:
            if member.phase is ChildPhase.PENDING or (
                member.phase is ChildPhase.BACKOFF and self._clock.monotonic() >= member.due_at
            ):
                self._start(member)
            if self._stopping or not self._passable(member):
                return

    @staticmethod
    def _passable(member: Member) -> bool:
        """Say whether the children after this one may start: it was ready once, or waiting for it is in vain."""
        return member.ever_ready or member.late or member.phase is ChildPhase.BACKOFF

    def _start(self, member: Member) -> None:
        try:
            member.start()
        except GengfuError as error:
            self._on_failed_start(member, error)
            return
        if member.pid is not None:
            self._guard.watch(member.pid, member.child)
        self._say("child_started", child=member.name, pid=member.pid)
        if member.child.ready is None:
            member.check_ready()

    def _on_failed_start(self, member: Member, error: GengfuError) -> None:
        if member.child.critical and not member.ever_ready:
            member.phase = ChildPhase.STOPPED
            self._fail(str(error))
        else:
            self._say("child_not_started", child=member.name, error=str(error), retry_in_s=member.back_off())

    def _fail(self, reason: str) -> None:
        self._failure = self._failure or GengfuError(reason)
        self._ask_stop()

    def _check_programs(self) -> None:
        for member in self._members:
            program = member.child.command[0]
            if shutil.which(program, path=member.child.env.get("PATH")) is None:
                raise GengfuError(f"can't start {member.name}: {program} is not an executable program; install it")

    # Signals

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGTERM:
            self._ask_stop()
        elif number == signal.SIGINT:
            self._on_interrupt()
        elif number == signal.SIGHUP:
            self._on_hangup()

    def _on_interrupt(self) -> None:
        if self._stop_asked_at is None:
            self._ask_stop()
        elif self._clock.monotonic() - self._stop_asked_at >= _SAME_WISH_S:
            self._say("firm_stop", children=[member.name for member in self._members if member.alive])
            for member in self._members:
                member.kill()

    def _on_hangup(self) -> None:
        if self._had_terminal and not _terminal_present():
            self._ask_stop()
        elif not self._stopping:
            self._restarting = deque((each, each.pid) for each in self._members if each.child.restart_on_hangup)
            self._say("restart_asked", children=[member.name for member, _ in self._restarting])

    def _ask_stop(self) -> None:
        if not self._stopping:
            self._stop_asked_at = self._clock.monotonic()
            self._say("stop_asked", children=[member.name for member in self._members if member.alive])

    def _go_on_stopping(self) -> None:
        alive = [member for member in self._members if member.alive]
        for member in self._members:
            if not member.alive:
                member.phase = ChildPhase.STOPPED
        for member in alive:
            if member is alive[-1] or member.phase is ChildPhase.STOPPING:
                self._stop_one(member)

    def _go_on_restarting(self) -> None:
        """Take the children one after another: the next one only when the one before is ready again."""
        while self._restarting:
            member, old_pid = self._restarting[0]
            if member.alive and member.pid == old_pid:
                self._stop_one(member)
                return
            if member.phase is ChildPhase.STOPPED:
                self._start(member)
            if member.phase is ChildPhase.STARTING and not member.late:
                return
            self._restarting.popleft()

    def _stop_one(self, member: Member) -> None:
        already_asked = member.phase is ChildPhase.STOPPING
        if member.stop() and already_asked:
            self._say("child_killed", child=member.name, pid=member.pid, after_s=member.child.stop_grace_s)

    def _end_all(self) -> None:
        """Leave nothing behind, even after an error of our own; does nothing after an orderly stop."""
        for member in self._members:
            member.kill()
        for member in self._members:
            member.wait_dead()
            member.phase = ChildPhase.STOPPED

    # Telling

    def _say(self, event: str, **fields: Any) -> None:
        with contextlib.suppress(OSError):
            self._say_raw(event, fields)

    def _tell_change(self) -> None:
        now = [member.state() for member in self._members]
        if self._on_change is None or now == self._told:
            return
        self._told = now
        with contextlib.suppress(OSError, GengfuError):
            self._on_change(now)


def _quoted(member: Member) -> str:
    words = member.last_words()
    return f"; it wrote: {words}" if words else f"; see {member.child.log_file}"


def _terminal_present() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _reap_strangers(own: set[int | None]) -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            # One of ours is collected with its group in the next turn, which its SIGCHLD brings about.
            if ended is None or ended.si_pid in own:
                return
            os.waitpid(ended.si_pid, 0)
