"""Sends what stands in the outbox: one thread for each target, so that one that hangs holds nobody else up."""

import os
import secrets
import socket
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import structlog

from app.alerts.channel import Channel
from app.alerts.delivery import target_state
from app.alerts.delivery.courier import Courier, Tally
from app.alerts.notices import outbox
from app.alerts.notices.recipients import Recipient, recipients
from app.alerts.settings import AlertSettings
from app.core.clock import Clock
from app.core.database import Database
from app.core.errors import GengfuError

_log = structlog.get_logger("gengfu.alerts")

BUDGET_S = 20.0
"""How long one pass may take; what is left is the next one's."""
GRACE_S = 11.0
"""How much longer a message is waited for that was begun in time: channels give up after ten seconds."""
HANGS_AFTER_S = 60.0
"""A channel that has not come back by then is told of as broken; its own limits are far below."""
_DEADLINE_S = 15.0

OpenTarget = Callable[[str], Channel]


@dataclass(frozen=True, kw_only=True)
class DeliveryReport:
    """What one pass did."""

    sent: int = 0
    """Messages that got through."""
    failed: int = 0
    """Attempts that did not."""
    buried: int = 0
    """Messages that a target refuses for good while it takes others: dead letters."""
    busy: tuple[str, ...] = ()
    """Targets at which this process is still at work."""
    broken: dict[str, str] = field(default_factory=dict)
    """Target -> why it can't be reached, in this pass or an earlier one."""

    def document(self) -> dict[str, Any]:
        """Return the document of the family `channels`, by which the other targets are told of the broken ones."""
        return {"broken": [{"target": name, "why": why} for name, why in sorted(self.broken.items())]}


@dataclass(frozen=True, kw_only=True)
class _Job:
    thread: threading.Thread
    started: float


class Deliverer:
    """Sends messages. Several may do so at once, in this process or others: each takes a message for itself first."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        settings: AlertSettings,
        open_target: OpenTarget,
        checkpoint: Callable[[str], None] = lambda _point: None,
    ) -> None:
        """`open_target` makes the channel of a target; `checkpoint` is told how far each message has come."""
        self._database = database
        self._clock = clock
        self._settings = settings
        self._open_target = open_target
        self._checkpoint = checkpoint
        self._jobs: dict[str, _Job] = {}

    def deliver(
        self, *, budget_s: float = BUDGET_S, grace_s: float = GRACE_S, only: Collection[str] | None = None
    ) -> DeliveryReport:
        """Send what is due, to all targets or `only` some. Raises the errors of `Database`.

        No message is begun after `budget_s`, and what was begun is waited for `grace_s` longer: a sender that wrote
        into the database at any time would do so while its process forks.
        """
        if not self._settings.enabled:
            return DeliveryReport()
        deadline = self._clock.monotonic() + budget_s
        wanted = [one for one in recipients(self._settings) if only is None or one.name in only]
        tallies = {one.name: Tally() for one in self._due(wanted)}
        for one in wanted:
            if one.name in tallies:
                self._start(one, tallies[one.name], deadline)
        busy = self._wait(tallies, deadline + grace_s)
        return DeliveryReport(
            sent=sum(tally.sent for tally in tallies.values()),
            failed=sum(tally.failed for tally in tallies.values()),
            buried=sum(tally.buried for tally in tallies.values()),
            busy=busy,
            broken=self._broken(),
        )

    def _due(self, wanted: list[Recipient]) -> list[Recipient]:
        with self._database.read(deadline_s=_DEADLINE_S) as connection:
            due = set(outbox.targets_due(connection, self._clock.now()))
        return [one for one in wanted if one.name in due and not self._is_busy(one.name)]

    def _start(self, recipient: Recipient, tally: Tally, deadline: float) -> None:
        courier = Courier(
            self._database,
            self._clock,
            recipient,
            self._open_target,
            owner=f"{socket.gethostname()[:30]}/{os.getpid()}/{secrets.token_hex(4)}",
            checkpoint=self._checkpoint,
        )
        thread = threading.Thread(
            target=_run, args=(courier, tally, deadline), name=f"alerts-{recipient.name}", daemon=True
        )
        self._jobs[recipient.name] = _Job(thread=thread, started=self._clock.monotonic())
        thread.start()

    def _wait(self, started: Collection[str], deadline: float) -> tuple[str, ...]:
        for name in started:
            self._jobs[name].thread.join(max(deadline - self._clock.monotonic(), 0.0))
        return tuple(sorted(name for name in list(self._jobs) if self._is_busy(name)))

    def _is_busy(self, target: str) -> bool:
        job = self._jobs.get(target)
        if job is None:
            return False
        if job.thread.is_alive():
            return True
        del self._jobs[target]
        return False

    def _broken(self) -> dict[str, str]:
        names = {one.name for one in recipients(self._settings)}
        with self._database.read(deadline_s=_DEADLINE_S) as connection:
            states = target_state.load_all(connection)
        broken = {name: state.why for name, state in states.items() if name in names and state.is_broken}
        for name, job in self._jobs.items():
            seconds = self._clock.monotonic() - job.started
            if job.thread.is_alive() and seconds >= HANGS_AFTER_S:
                broken[name] = f"a message has been on its way for {seconds:.0f} s"
        return broken


def _run(courier: Courier, tally: Tally, deadline: float) -> None:
    try:
        courier.run(tally, deadline)
    except GengfuError as error:
        # What was sent and could not be marked is sent again under the same key.
        _log.error("alert_delivery_failed", target=courier.target, error=str(error))
    except Exception as error:  # noqa: BLE001 - a thread that dies silently would be a target that is never told again
        _log.exception("alert_delivery_crashed", target=courier.target, error=type(error).__name__)
