"""Telling people while the database is away: at once, without groups, and with the day's file against repeats."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import structlog

from app.alerts.alert import RANK, Alert
from app.alerts.channel import Channel, DeliveryError, Notification
from app.alerts.notices.day_summary import record, unrecorded
from app.alerts.notices.grouping import MOST_ALERTS, headline
from app.alerts.notices.outbox import key_of
from app.alerts.notices.recipients import Recipient, recipients
from app.alerts.settings import AlertSettings
from app.core.errors import OutputUnwritable
from app.core.redaction import redact

_log = structlog.get_logger("gengfu.alerts")

BUDGET_S = 12.0
"""How long it may take: a target that has not answered by then has not, for all that is known."""


@dataclass(frozen=True, kw_only=True)
class Without:
    """What was told without the database."""

    told: int = 0
    """Alerts that reached a target at least."""
    held_back: int = 0
    """Alerts that go on and were told before."""
    events: Mapping[str, int] = field(default_factory=dict)
    channels: Mapping[str, str] = field(default_factory=dict)
    """Target -> "ok" or what went wrong."""
    undelivered: Sequence[Alert] = ()


@dataclass(frozen=True, kw_only=True)
class _Message:
    notification: Notification
    about: AbstractSet[str]
    """Fingerprints of all its alerts, also of those it only counts."""


def tell(
    alerts: Sequence[Alert],
    *,
    settings: AlertSettings,
    open_target: Callable[[str], Channel],
    reports: Path,
    at: datetime,
    budget_s: float = BUDGET_S,
) -> Without:
    """Tell every target of `alerts` and return what became of that; `at` is now, in the zone in which people read it.

    `reports` is the folder of the days' summaries. Ends are not told: only the database knows them.
    """
    if not settings.enabled or not alerts:
        return Without()
    due = _due(alerts, reports, at)
    if not due:
        return Without(held_back=len(alerts))
    sendings = [_Sending(one, _messages(one, due, at), open_target) for one in recipients(settings)]
    _send_all([one for one in sendings if one.messages], budget_s)
    reached = frozenset[str]().union(*(one.reached for one in sendings))
    left = [one.alerts[0].alert for one in due if one.alerts[0].alert.fingerprint not in reached]
    return Without(
        told=len(due) - len(left),
        held_back=len(alerts) - len(due),
        events=dict(Counter(one.event for one in due)),
        channels={one.target: one.outcome for one in sendings},
        undelivered=left,
    )


def _due(alerts: Sequence[Alert], reports: Path, at: datetime) -> list[Notification]:
    try:
        return record(reports, alerts, at).due
    except OutputUnwritable as error:
        # Better told twice than not at all.
        _log.error("alert_summary_failed", error=str(error))
        return unrecorded(alerts, at)


def _messages(recipient: Recipient, due: Sequence[Notification], at: datetime) -> list[_Message]:
    """Return what a target is sent: one message for each alert, or one for all."""
    mine = [replace(one, target=recipient.name) for one in due if recipient.wants(one.alerts[0].alert.severity)]
    if not recipient.grouped or not mine:
        return [_Message(notification=one, about={one.alerts[0].alert.fingerprint}) for one in mine]
    told = sorted((one.alerts[0] for one in mine), key=lambda one: -RANK[one.alert.severity])
    together = Notification(
        kind="group",
        target=recipient.name,
        group_key="without-database",
        status="firing",
        event=headline([one.event for one in mine]),
        at=at,
        idempotency_key=key_of("direct", recipient.name, *(one.idempotency_key for one in mine)),
        alerts=tuple(told[:MOST_ALERTS]),
        left_out=max(len(told) - MOST_ALERTS, 0),
    )
    return [_Message(notification=together, about={one.alert.fingerprint for one in told})]


class _Sending:
    """One target's messages, sent in a thread of their own."""

    def __init__(
        self, recipient: Recipient, messages: Sequence[_Message], open_target: Callable[[str], Channel]
    ) -> None:
        self.target = recipient.name
        self.messages = messages
        self.outcome = "ok"
        self.reached: frozenset[str] = frozenset()
        """Fingerprints of the alerts that were told."""
        self._open_target = open_target

    def run(self) -> None:
        for message in self.messages:
            try:
                self._open_target(self.target).send(message.notification)
            except Exception as error:  # noqa: BLE001 - one target must not silence the others
                told = redact(str(error)) if isinstance(error, DeliveryError) else type(error).__name__
                self.outcome = told if self.outcome == "ok" else self.outcome
                _log.error("alert_channel_failed", channel=self.target, error=told)
            else:
                # A new set, not a changed one: somebody else may be reading it.
                self.reached = self.reached | message.about


def _send_all(sendings: Sequence[_Sending], budget_s: float) -> None:
    threads = {one: threading.Thread(target=one.run, name=f"alerts-{one.target}", daemon=True) for one in sendings}
    deadline = time.monotonic() + budget_s
    for thread in threads.values():
        thread.start()
    for sending, thread in threads.items():
        thread.join(max(deadline - time.monotonic(), 0.0))
        if thread.is_alive():
            sending.outcome = f"no answer within {budget_s:g} s"
