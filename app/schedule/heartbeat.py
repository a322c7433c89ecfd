"""The sign of life of a run: renews its lease and its row while the work goes on."""

import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import structlog

from app.core.errors import GengfuError

EVERY_S = 30.0
"""A quarter of a claim's lease: two renewals may fail before anybody else takes over."""

log = structlog.get_logger("gengfu.run")

Renewal = Callable[[], bool]
"""Renews something; False where it is lost."""


class Heartbeat:
    """Calls the renewals every `every_s` seconds in a thread of its own for the time of a `with` block."""

    def __init__(self, renewals: Sequence[Renewal], every_s: float = EVERY_S) -> None:
        self._renewals = list(renewals)
        self._every_s = every_s
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        self.lost = False
        """Whether a renewal was refused: somebody else has the work now."""

    def __enter__(self) -> Self:
        if self._renewals:
            self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while self._renewals and not self._end.wait(self._every_s):
            # One that is lost ends nothing but itself: the others keep second runs away for as long as this one lasts.
            self._renewals = [renew for renew in self._renewals if self._beat(renew)]

    def _beat(self, renew: Renewal) -> bool:
        try:
            if renew():
                return True
        except GengfuError as error:
            # The lease lasts for several beats; the database may be back at the next one.
            log.warning("heartbeat_failed", error=str(error))
            return True
        self.lost = True
        log.error("lease_lost", what="somebody else goes on with this work")
        return False
