"""Whether a worker's main loop turns: the one that takes its messages and hands them to its children.

A thread that signs for the worker would go on doing so beside a loop that hangs, on a socket without a time limit or in
a deadlock. So it signs with the time at which the loop last turned. A timer of the loop would be no proof: while a pool
is stopped Celery fires them from a thread (5.7.0).
"""

import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
from celery.concurrency import solo
from celery.utils import log as celery_log
from celery.worker import state
from celery.worker.consumer.consumer import STOP_CONDITIONS

log = structlog.get_logger("gengfu.monitor")

HANGS_AFTER_S = 60.0
"""An idle loop turns every ten seconds at the latest; what asks Redis waits for `[broker] socket_timeout_s` at most."""
_FRAMES = 8


class MainLoop:
    """The main loop of a consumer, which says when it turned; made in the thread in which it runs."""

    def __init__(self, consumer: Any, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._consumer = consumer
        self._monotonic = monotonic
        self._thread = threading.get_ident()
        self._turned_at = monotonic()
        self._told = False

    def turned(self) -> None:
        """Note a turn; the loop does so itself, so it has to cost nothing."""
        self._turned_at = self._monotonic()

    def still_s(self) -> float:
        """Return how long the loop has stood still without a reason (seconds); the log says once where it stands."""
        if self._has_a_reason():
            # Noted as a turn: what comes after a job of hours need not turn the loop before somebody asks again.
            self.turned()
        still_s = self._monotonic() - self._turned_at
        self._tell(still_s)
        return still_s

    def _has_a_reason(self) -> bool:
        consumer = self._consumer
        return (
            # It looks for its broker, try after try; each one has a time limit.
            consumer.connection is None
            # Told to end, it waits for its jobs; in a soft shutdown within the handler of the signal.
            or consumer.blueprint.state in STOP_CONDITIONS
            or celery_log._in_sighandler  # noqa: SLF001 - nothing else tells
            # Without children the loop runs the job itself; how long that may take is what the schedule's limits say.
            or (isinstance(consumer.pool, solo.TaskPool) and bool(state.active_requests))
        )

    def _tell(self, still_s: float) -> None:
        hangs = still_s > HANGS_AFTER_S
        if hangs and not self._told:
            log.error("main_loop_stands_still", seconds=round(still_s), at=self._where())
        elif self._told and not hangs:
            log.info("main_loop_turns_again")
        self._told = hangs

    def _where(self) -> list[str]:
        """The innermost lines of code that the loop's thread is in."""
        frame = sys._current_frames().get(self._thread)  # noqa: SLF001 - its documented name
        stack = traceback.extract_stack(frame)[-_FRAMES:] if frame is not None else []
        return [f"{Path(line.filename).name}:{line.lineno} {line.name}" for line in stack]
