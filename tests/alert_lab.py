"""Alerts from figures to people, with a clock that moves when told and targets that write down what they get."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from app.alerts.alert import Alert, Severity
from app.alerts.channel import Channel, DeliveryError, Notification
from app.alerts.delivery.deliverer import Deliverer, DeliveryReport
from app.alerts.life.evaluator import Evaluation, Evaluator
from app.alerts.life.instance import Instance
from app.alerts.notices.announcer import Announcer, Flush
from app.alerts.settings import AlertSettings
from app.core.clock import ManualClock
from app.core.database import Database
from app.core.settings_reader import read

ZONE = ZoneInfo("Asia/Shanghai")
SOURCE = "lab"
NOON = datetime(2026, 3, 10, 4, 0, tzinfo=UTC)
"""Where the manual clock of the tests stands: 12:00 in the lab's zone."""


class Target:
    """A target that keeps what it was sent; `answer` may raise what a channel raises."""

    grouped = True

    def __init__(self, name: str) -> None:
        self.name = name
        self.got: list[Notification] = []
        self.tried: list[Notification] = []
        """Also what it refused."""
        self.answer: Callable[[Notification], None] = lambda _notification: None

    def send(self, notification: Notification) -> None:
        self.tried.append(notification)
        self.answer(notification)
        self.got.append(notification)

    def test(self) -> str:
        return "tested"

    def refuse(self, message: str = "the receiver answered 500", **how: Any) -> None:
        """Raise DeliveryError from now on."""

        def answer(_notification: Notification) -> None:
            raise DeliveryError(message, **how)

        self.answer = answer

    def accept(self) -> None:
        self.answer = lambda _notification: None

    def told(self) -> list[tuple[str, str]]:
        """Event and alert of all that it got, a resolved one marked; the combined message is `firing-resolved`."""
        return [said for notification in self.got for said in words(notification)]


def words(notification: Notification) -> list[tuple[str, str]]:
    """What a message says of each alert."""
    found = []
    for one in notification.alerts:
        combined = one.status == "resolved" and one.event == "firing"
        subject = one.alert.labels.get("what", one.alert.alertname)
        found.append(("firing-resolved" if combined else one.event, subject))
    return found


def alert(what: str, severity: Severity = "warning", **more: Any) -> Alert:
    given: dict[str, Any] = {
        "type": "trouble",
        "alertname": "Trouble",
        "message": f"{what} 出错",
        "severity": severity,
        "rule": "trouble",
        "labels": {"what": what, **more.pop("labels", {})},
    }
    return Alert(**given | more)


@dataclass(kw_only=True)
class Lab:
    """One installation; alerts come from one outside source that names all that is wrong."""

    database: Database
    clock: ManualClock
    targets: dict[str, Target]
    settings: AlertSettings
    wrong: dict[str, Alert] = field(default_factory=dict)
    open_target: Callable[[str], Channel] | None = None

    def __post_init__(self) -> None:
        self.announcer = Announcer(self.settings, ZONE)
        self.evaluator = Evaluator(self.database, self.clock, self.settings, self.announcer.announce)
        self.deliverer = self.new_deliverer()

    def new_deliverer(self, **more: Any) -> Deliverer:
        opened = self.open_target or self.targets.__getitem__
        return Deliverer(self.database, self.clock, self.settings, opened, **more)

    def fire(self, *alerts: Alert) -> Evaluation:
        """Say that these are wrong, besides what is."""
        self.wrong |= {one.fingerprint: one for one in alerts}
        return self._say()

    def end(self, *alerts: Alert) -> Evaluation:
        """Say that these are over."""
        for one in alerts:
            self.wrong.pop(one.fingerprint, None)
        return self._say()

    def flush(self) -> Flush:
        with self.database.write() as connection:
            return self.announcer.flush(connection, self.clock.now())

    def watch(self, **how: Any) -> DeliveryReport:
        """Flush and deliver, as the monitor does in each pass."""
        self.flush()
        return self.deliverer.deliver(**how)

    def wait(self, *, every: timedelta = timedelta(seconds=30), **time: float) -> None:
        """Let time pass, the monitor at work."""
        left = timedelta(**time)
        while left > timedelta(0):
            step = min(every, left)
            self.clock.advance(step)
            self.watch()
            left -= step

    def _say(self) -> Evaluation:
        return self.evaluator.outside(SOURCE, list(self.wrong.values()), complete=True)


def settings(names: Sequence[str] = ("ops",), **more: Any) -> AlertSettings:
    """Settings with a target for each name; a dict of its own options may stand in `targets`."""
    given = more.pop("targets", {})
    plain = {"channel": "webhook", "url": "https://hooks.example/x"}
    targets = {name: plain | given.get(name, {}) for name in names if name not in {"log_files", "console"}}
    return read(AlertSettings, {"channels": list(names), "targets": targets, **more})


def lab(database: Database, clock: ManualClock, names: Sequence[str] = ("ops",), **more: Any) -> Lab:
    """An installation whose targets, all of them, are of the lab."""
    return Lab(
        database=database,
        clock=clock,
        settings=settings(names, **more),
        targets={name: Target(name) for name in names},
    )


def an_instance(what: str = "a", **changed: Any) -> Instance:
    """A warning that has fired for an hour."""
    one = alert(what, labels=changed.pop("labels", {}), rule=changed.pop("rule", "trouble"))
    given: dict[str, Any] = {
        "fingerprint": one.fingerprint,
        "rule": one.rule,
        "rule_hash": "",
        "alertname": one.alertname,
        "type": one.type,
        "labels": one.labels,
        "annotations": {},
        "state": "firing",
        "level": "warning",
        "value": 85.0,
        "threshold": 80.0,
        "samples": 0,
        "message": one.message,
        "pending_since": NOON - timedelta(hours=1),
        "fired_at": NOON - timedelta(hours=1),
        "resolved_at": None,
        "resolve_reason": None,
        "last_bad_at": NOON,
        "last_seen_at": NOON,
        "good": 0,
        "recent": "",
        "episode": 1,
        "changes": (),
        "flapping_since": None,
        "hold_s": 0.0,
        "version": 1,
    }
    return Instance(**given | changed)
