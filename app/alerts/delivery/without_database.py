"""Telling people while the database is away: at once, without groups, and with the day's file against repeats."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from app.alerts.alert import RANK, Alert, Severity
from app.alerts.channel import Channel, DeliveryError, Notification
from app.alerts.notices.day_summary import note_told, record, unrecorded
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


_AGAIN_AFTER = timedelta(hours=1)
"""Where not even the day's file can be written, nobody knows of repeats but this process."""


@dataclass(kw_only=True)
class Memory:
    """What a process remembers of what it told: the days' files stand on the disk that may be the trouble."""

    owed: dict[str, dict[str, Notification]] = field(default_factory=dict)
    """Target -> fingerprint -> what it did not take."""
    told_at: dict[str, datetime] = field(default_factory=dict)
    """Fingerprint -> when it last reached somebody."""

    def owed_to(self, recipient: Recipient, fingerprints: AbstractSet[str]) -> list[Notification]:
        """Return what a target did not take of these alerts."""
        owed = self.owed.get(recipient.name, {})
        return [one for print_, one in owed.items() if print_ in fingerprints]

    def note(self, recipient: Recipient, said: Sequence[Notification], reached: AbstractSet[str], at: datetime) -> None:
        """Note what a target took and what it did not."""
        wanted = {_print_of(one): one for one in said if recipient.wants(one.alerts[0].alert.severity)}
        self.owed[recipient.name] = {print_: one for print_, one in wanted.items() if print_ not in reached}
        self.told_at |= dict.fromkeys(reached, at)


@dataclass(frozen=True, kw_only=True)
class _Message:
    notification: Notification
    about: Mapping[str, Severity]
    """All its alerts by fingerprint, also those it only counts."""


def tell(
    alerts: Sequence[Alert],
    *,
    settings: AlertSettings,
    open_target: Callable[[str], Channel],
    reports: Path,
    at: datetime,
    budget_s: float = BUDGET_S,
    memory: Memory | None = None,
) -> Without:
    """Tell every target of `alerts` and return what became of that; `at` is now, in the zone in which people read it.

    `reports` is the folder of the days' summaries. What a target did not take it is told again the next
    time it is handed in with the same `memory`. Ends are not told: only the database knows them.
    """
    if not settings.enabled or not alerts:
        return Without()
    memory = memory or Memory()
    due = _due(alerts, reports, at, memory)
    now = {alert.fingerprint for alert in alerts} - {_print_of(one) for one in due}
    given = [(one, [*due, *memory.owed_to(one, now)]) for one in recipients(settings)]
    sendings = [_Sending(one, _messages(one, said, at), open_target) for one, said in given]
    if not any(one.messages for one in sendings):
        return Without(held_back=len(alerts))
    _send_all([one for one in sendings if one.messages], budget_s)
    for sending, (recipient, said) in zip(sendings, given, strict=True):
        memory.note(recipient, said, sending.reached.keys(), at)
    _note_told(reports, {one.target: one.reached for one in sendings}, at)
    reached = frozenset[str]().union(*(one.reached for one in sendings))
    left = [one.alerts[0].alert for one in due if _print_of(one) not in reached]
    return Without(
        told=len(due) - len(left),
        held_back=len(alerts) - len(due),
        events=dict(Counter(one.event for one in due)),
        channels={one.target: one.outcome for one in sendings},
        undelivered=left,
    )


def _due(alerts: Sequence[Alert], reports: Path, at: datetime, memory: Memory) -> list[Notification]:
    try:
        return record(reports, alerts, at).due
    except OutputUnwritable as error:
        _log.error("alert_summary_failed", error=str(error))
        return [one for one in unrecorded(alerts, at) if not _is_fresh(memory.told_at.get(_print_of(one)), at)]


def _note_told(reports: Path, told: Mapping[str, Mapping[str, Severity]], at: datetime) -> None:
    """Note who knows, so that nobody hears it again when it is entered into the database."""
    try:
        note_told(reports, told, at)
    except OutputUnwritable as error:
        _log.error("alert_summary_failed", error=str(error))


def _is_fresh(told_at: datetime | None, at: datetime) -> bool:
    return told_at is not None and at - told_at < _AGAIN_AFTER


def _print_of(notification: Notification) -> str:
    return notification.alerts[0].alert.fingerprint


def _messages(recipient: Recipient, due: Sequence[Notification], at: datetime) -> list[_Message]:
    """Return what a target is sent: one message for each alert, or one for all."""
    mine = [replace(one, target=recipient.name) for one in due if recipient.wants(one.alerts[0].alert.severity)]
    if not recipient.grouped or not mine:
        return [_Message(notification=one, about=_levels([one.alerts[0].alert])) for one in mine]
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
    return [_Message(notification=together, about=_levels([one.alert for one in told]))]


def _levels(alerts: Sequence[Alert]) -> dict[str, Severity]:
    return {alert.fingerprint: alert.severity for alert in alerts}


class _Sending:
    """One target's messages, sent in a thread of their own."""

    def __init__(
        self, recipient: Recipient, messages: Sequence[_Message], open_target: Callable[[str], Channel]
    ) -> None:
        self.target = recipient.name
        self.messages = messages
        self.outcome = "ok"
        self.reached: Mapping[str, Severity] = {}
        """The alerts that were told, by fingerprint."""
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
                # A new one, not a changed one: somebody else may be reading it.
                self.reached = {**self.reached, **message.about}


def _send_all(sendings: Sequence[_Sending], budget_s: float) -> None:
    threads = {one: threading.Thread(target=one.run, name=f"alerts-{one.target}", daemon=True) for one in sendings}
    deadline = time.monotonic() + budget_s
    for thread in threads.values():
        thread.start()
    for sending, thread in threads.items():
        thread.join(max(deadline - time.monotonic(), 0.0))
        if thread.is_alive():
            sending.outcome = f"no answer within {budget_s:g} s"
