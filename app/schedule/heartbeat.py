"""The sign of life of a run: renews what it holds while the work goes on."""

import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import structlog

from app.core.alarms import alarm
from app.core.errors import GengfuError

EVERY_S = 30.0
"""A quarter of a claim's lease: two renewals may fail before anybody else takes over."""

log = structlog.get_logger("gengfu.run")

Renew = Callable[[], Sequence[str]]
"""Renews what a run holds and returns what of it was lost since the last call."""


class Heartbeat:
    """Calls `renew` every `every_s` seconds for the time of a `with` block.

    Its thread is started when the first beat is due: most runs are over by then, and starting and ending a thread took
    a tenth of what a short run costs.
    """

    def __init__(self, renew: Renew, every_s: float = EVERY_S) -> None:
        self._renew = renew
        self._every_s = every_s
        self._first = alarm(every_s, self._begin)
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._first.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._first.__exit__(None, None, None)
        self._end.set()
        if self._thread is not None:
            self._thread.join()

    def _begin(self) -> None:
        thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the machine gives no more threads
            log.error("heartbeat_failed", error=str(error))  # noqa: TRY400 - told in one line
        else:
            self._thread = thread

    def _run(self) -> None:
        while not self._end.is_set():
            self._beat()
            self._end.wait(self._every_s)

    def _beat(self) -> None:
        try:
            lost = self._renew()
        except GengfuError as error:
            # The lease lasts for several beats; the database may be back at the next one.
            log.warning("heartbeat_failed", error=str(error))
            return
        for what in lost:
            log.error("lease_lost", what=what, why="somebody else goes on with this work")
