"""Child processes: how one is described, started, tied to its parent's life, and how its end is told.

The only module that starts processes for the supervisor and the broker.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.core.errors import GengfuError, OutputUnwritable

_PR_SET_PDEATHSIG = 1
_TAIL_BYTES = 4096
_TAIL_LINES = 6


@dataclass(frozen=True, kw_only=True)
class Child:
    """One process that the supervisor keeps running."""

    name: str
    command: Sequence[str]
    """Program and arguments; a program without a slash is looked up on the PATH."""
    log_file: Path
    """Standard output and error are appended here; the folder is created."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to the supervisor's own environment."""
    ready: Callable[[], bool] | None = None
    """Asked again and again until True; the children after this one wait for it. Must return fast and not raise."""
    ready_within_s: float = 10.0
    """How long `ready` may stay False before that is reported, or, for a critical child, before everything ends."""
    stop_signal: signal.Signals = signal.SIGTERM
    stop_grace_s: float = 10.0
    """Seconds between the stop signal and SIGKILL for its whole process group."""
    critical: bool = False
    """Without it the others make no sense: the supervisor gives up when it never comes up."""
    restart_on_hangup: bool = True
    """Whether SIGHUP restarts it."""


def spawn(child: Child) -> "subprocess.Popen[bytes]":
    """Start a child in a session of its own; it gets its stop signal when the calling *thread* ends.

    The kernel ties the parent-death signal to the thread that forks: call this from the main thread. The code between
    fork and exec is one system call, but it runs in a copy of this process: start no threads before. On systems other
    than Linux nothing ties the child to its parent; there the supervisor's watchdog alone does.

    Raises GengfuError naming the program when it can't be executed, OutputUnwritable naming the log file.
    """
    with _appending(child.log_file) as sink:
        try:
            return subprocess.Popen(
                list(child.command),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env={**os.environ, **child.env},
                start_new_session=True,
                preexec_fn=die_with_parent(child.stop_signal),  # noqa: PLW1509 - no other way; see the docstring
            )
        except OSError as error:
            raise GengfuError(
                f"can't start {child.name}: {child.command[0]}: {error.strerror}; install it or fix its permissions"
            ) from error


def spawn_watchdog() -> "subprocess.Popen[bytes]":
    """Start the process that ends our children's process groups when we are killed; it reads orders from its stdin."""
    script = Path(__file__).with_name("watchdog.py")
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        bufsize=0,
    )


def reap(process: "subprocess.Popen[bytes]") -> int | None:
    """Return the exit status of an ended child (negative: the signal) and end what is left of its process group."""
    if not _ended_unreaped(process):
        return None
    # Before the zombie is collected: until then its pid, which is the group's id, can't come to mean another group.
    kill_group(process)
    return process.wait()


def kill_group(process: "subprocess.Popen[bytes]") -> None:
    """Send SIGKILL to a not yet reaped child and everything it started in its process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says EPERM for a group of zombies
        os.killpg(process.pid, signal.SIGKILL)


def describe_end(status: int) -> str:
    """Return 'exit code 1' or 'signal SIGKILL' for a status of Popen."""
    if status >= 0:
        return f"exit code {status}"
    try:
        return f"signal {signal.Signals(-status).name}"
    except ValueError:
        return f"signal {-status}"  # real-time signals have no name


def log_size(path: Path) -> int:
    """Return the bytes a log file holds now, 0 when it does not exist."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def last_lines(path: Path, since: int = 0) -> str:
    """Return the last lines written to a log file after byte `since`, joined by ' | '; for one-line messages."""
    try:
        with path.open("rb") as log:
            log.seek(max(since, log_size(path) - _TAIL_BYTES))
            text = log.read(_TAIL_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
    return " | ".join(line.strip() for line in text.splitlines()[-_TAIL_LINES:] if line.strip())


@contextlib.contextmanager
def _appending(path: Path) -> Iterator[int]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise OutputUnwritable(f"can't write {path}: {error.strerror}; free space or fix its permissions") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _ended_unreaped(process: "subprocess.Popen[bytes]") -> bool:
    if not hasattr(os, "waitid"):  # macOS before Python 3.13
        return process.poll() is not None
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def die_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """Return what a child runs before exec to get `number` when its parent's thread ends; None where no kernel can."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork: the child must not take a lock
    parent = os.getpid()

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(number), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))
        if os.getppid() != parent:  # it died between fork and prctl, and no signal will come
            os._exit(1)

    return tie
