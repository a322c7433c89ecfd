"""The monitor's thread in beat and in every worker's main process; see docs/why/alerts.md."""

import atexit
import os
import secrets
import socket
import threading

import structlog

from app.context import Context
from app.watch.desk import AlertDesk
from app.watch.monitor import Monitor
from app.watch.watchman import Watchman, WorkerFacts
from tasks import base
from tasks.registry import minimum_durations

log = structlog.get_logger("gengfu.monitor")

_LONGEST_WAIT_S = 15.0
_END_WITHIN_S = 5.0


class MonitorThread:
    """Lets a watchman take its turn every `[health] interval_s` seconds until the process ends."""

    def __init__(self, watchman: Watchman, context: Context) -> None:
        self._watchman = watchman
        self._context = context
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)

    def start(self) -> None:
        """Begin at once: a worker is known from its first second on."""
        self._thread.start()

    def stop(self) -> None:
        """Let the turn end, if it does so soon, and take back what was left."""
        self._end.set()
        self._thread.join(_END_WITHIN_S)
        self._watchman.end()
        self._context.database.dispose()

    def _run(self) -> None:
        while True:
            with _between_forks:
                self._watchman.turn()
                self._disconnect()
            if self._end.wait(self._context.settings.health.interval_s):
                return

    def _disconnect(self) -> None:
        """No connection is open while the process forks: parent and child would share it."""
        try:
            self._context.database.dispose()
        except Exception:  # without this thread nobody would be told of anything
            log.exception("monitor_not_disconnected")


def start(*, worker: WorkerFacts | None = None) -> None:
    """Start the thread of this process, unless alerts are switched off."""
    context = base.new_context()
    if not context.settings.alerts.enabled or _running:
        return
    monitor = Monitor(context, AlertDesk(context), minimum_s=minimum_durations(context.settings))
    owner = f"{socket.gethostname()}/{os.getpid()}#{secrets.token_hex(8)}"[-64:]
    thread = MonitorThread(Watchman(context, monitor, owner=owner, worker=worker), context)
    _running.append(thread)
    # A worker that is told to end at once says so to nobody (`worker_shutdown` is of warm shutdowns only).
    atexit.register(stop)
    thread.start()


def stop() -> None:
    """End the thread of this process, if there is one."""
    while _running:
        _running.pop().stop()


def forget() -> None:
    """Forget the parent's thread in a forked child: it does not live here."""
    _running.clear()


class _Turns:
    """Keeps forks out of a turn.

    A worker forks a new child whenever one has died. Done in the midst of a turn, a lock that the thread holds at that
    instant - SQLite has some that no child can open - would stay closed in the child for ever.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._taken = False
        os.register_at_fork(before=self._before, after_in_parent=self._after, after_in_child=self._after)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_facts: object) -> None:
        self._lock.release()

    def _before(self) -> None:
        # A turn that does not end must not keep the worker from replacing its children.
        self._taken = self._lock.acquire(timeout=_LONGEST_WAIT_S)

    def _after(self) -> None:
        if self._taken:
            self._taken = False
            self._lock.release()


_running: list[MonitorThread] = []
_between_forks = _Turns()
