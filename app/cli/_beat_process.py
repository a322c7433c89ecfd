"""Beat as a process: started, awaited, ended; the flock of its lock file tells whether it is there."""

import os
import signal
import subprocess
import sys
import time

from app.core.clock import SystemClock
from app.core.errors import GengfuError, Locked, OutputUnwritable
from app.service.commands import beat_command, packages_on_path
from app.service.process_lock import LockHolder, ProcessLock
from app.settings import home_folder, load
from app.views import BeatStatus, beat_status

_START_WITHIN_S = 20.0
_STOP_WITHIN_S = 20.0
_POLL_S = 0.1


def beat_here() -> BeatStatus:
    """Return what the beats of this home on this machine say of themselves."""
    return beat_status(home_folder() / "var", SystemClock().now())


def keeper() -> int | None:
    """Return the process of a `gengfu up` that keeps this home's beat running, or None."""
    holder = ProcessLock.read(home_folder() / "var" / "run" / "up.lock")
    return holder.pid if holder else None


def refuse_second_beat() -> None:
    """Raise Locked where a beat of this home runs on this machine."""
    status = beat_here()
    if status.holders:
        raise Locked(f"beat already runs as process {status.pid} since {status.since:%Y-%m-%d %H:%M:%S} UTC")


def _beat_process() -> tuple[list[str], dict[str, str]]:
    return beat_command(load().logging.level), {**os.environ, **packages_on_path()}


def become_beat() -> None:
    """Go on as beat; does not come back."""
    command, environment = _beat_process()
    sys.stdout.flush()
    os.execve(sys.executable, command, environment)  # noqa: S606 - this very process becomes beat


def start_detached() -> int:
    """Start beat in the background and return its process id. Raises GengfuError where it does not come up."""
    log = home_folder() / "logs" / "celerybeat.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        sink = log.open("ab")
    except OSError as error:
        raise OutputUnwritable(f"can't write {log}: {error.strerror}; free space or fix its permissions") from error
    command, environment = _beat_process()
    with sink:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env=environment, start_new_session=True
        )
    return wait_for_beat(process=process)


def wait_for_beat(*, process: subprocess.Popen[bytes] | None = None, other_than: int | None = None) -> int:
    """Return the id of the beat that comes up, of a process or after another one. Raises GengfuError if none does."""
    deadline = time.monotonic() + _START_WITHIN_S
    while time.monotonic() < deadline:
        status = beat_here()
        if status.pid is not None and status.pid != other_than:
            return status.pid
        if process is not None and process.poll() is not None:
            raise GengfuError(f"beat ended with exit code {process.returncode}; see `celery_beat_manager.py logs`")
        time.sleep(_POLL_S)
    raise GengfuError(f"beat did not start within {_START_WITHIN_S:g} s; see `celery_beat_manager.py logs`")


def end_all(status: BeatStatus) -> tuple[LockHolder, ...]:
    """End the stand-bys before the leader: none of them is to take over meanwhile."""
    for holder in reversed(status.holders):
        _end(holder)
    return status.holders


def _end(holder: LockHolder) -> None:
    # Graceful, then firm.
    for number in (signal.SIGTERM, signal.SIGKILL):
        holder.signal(number)
        if holder.wait_gone(_STOP_WITHIN_S):
            return
    raise GengfuError(f"beat (process {holder.pid}) does not end, not even after SIGKILL; look at the machine")
