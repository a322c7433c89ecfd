"""One process's part in the watch: it says that it lives, and looks for as long as nobody else does."""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from app.context import Context
from app.core.errors import GengfuError
from app.core.redaction import redact
from app.schedule.leases import Held, Leases
from app.schedule.signs import WORKER, Signs, deaths_lately
from app.watch.monitor import Monitor

log = structlog.get_logger("gengfu.monitor")

LEASE = "alert-monitor"
_SHORTEST_LEASE = timedelta(seconds=90)
_TURNS_OF_A_LEASE = 3


@dataclass(frozen=True, kw_only=True)
class WorkerFacts:
    """The worker whose process this is."""

    name: str
    queues: tuple[str, ...]
    still_s: Callable[[], float]
    """Tells how long its main loop has stood still (seconds): a worker that hangs must not be signed for."""


class Watchman:
    """One process's part: it says that it lives, and watches the others for as long as nobody else does."""

    def __init__(self, context: Context, monitor: Monitor, *, owner: str, worker: WorkerFacts | None = None) -> None:
        self._context = context
        self._monitor = monitor
        self._owner = owner
        self._worker = worker
        self._signs = Signs(context.database)
        self._deaths: list[str] | None = None
        life = max(_SHORTEST_LEASE, timedelta(seconds=_TURNS_OF_A_LEASE * context.settings.health.interval_s))
        self._leases = Leases(context.database, life)
        self._held: Held | None = None
        self._said: set[str] = set()
        self._said_before: set[str] = set()

    def turn(self) -> bool:
        """Leave a sign, and look if it is ours to look; return whether it was. Never raises."""
        self._said_before, self._said = self._said, set()
        try:
            self._sign()
            watches = self._may_watch()
            if watches:
                self._monitor.look()
            else:
                self._monitor.rest()
        except Exception as error:  # noqa: BLE001 - the next turn may succeed; without turns nobody would be told of anything
            self._say(error)
            return False
        return watches

    def end(self) -> None:
        """Take back what the process left, so that its end is nobody's alarm and another one watches at once."""
        held, self._held = self._held, None
        try:
            if self._worker is not None:
                self._signs.take_back(WORKER + self._worker.name)
            if held is not None:
                self._monitor.end()
                self._leases.give_back(held, self._context.clock.now())
        except GengfuError as error:
            log.warning("watch_not_given_back", error=str(error))

    def _sign(self) -> None:
        if self._worker is None:
            return
        facts = {"queues": list(self._worker.queues), "host": socket.gethostname(), "pid": os.getpid()}
        now = self._context.clock.now()
        turned_at = now - timedelta(seconds=self._worker.still_s())
        try:
            facts["deaths"] = self._deaths_before(now)
            self._signs.leave(WORKER + self._worker.name, facts, turned_at)
        except GengfuError as error:
            self._say(error)

    def _deaths_before(self, now: datetime) -> list[str]:
        """When those of this name died who did not sign off: what the first of us finds, each sign hands on."""
        if self._deaths is None:
            left = self._signs.find(WORKER + self._worker.name) if self._worker else None
            self._deaths = [] if left is None else [*deaths_lately(left, now), left.at.isoformat()]
        return self._deaths

    def _may_watch(self) -> bool:
        """Whether the lease is ours. Without a database all watch: that it is away must be told by somebody."""
        now = self._context.clock.now()
        try:
            if self._held is not None and not self._leases.renew(self._held, now):
                self._held = None
            if self._held is None:
                host = socket.gethostname()
                self._held = self._leases.take(LEASE, self._owner, host=host, pid=os.getpid(), now=now)
        except GengfuError as error:
            self._say(error)
            return True
        return self._held is not None

    def _say(self, error: Exception) -> None:
        """Tell of trouble once, not every half minute."""
        told = f"{type(error).__name__}: {redact(str(error))}"
        if told not in self._said | self._said_before:
            log.error("watch_disturbed", error=told, exc_info=not isinstance(error, GengfuError))
        self._said.add(told)
