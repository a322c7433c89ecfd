"""Alerts pushed to a real Alertmanager, which then groups, silences and routes them its own way."""

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, ClassVar

from app.alerts.channel import ChannelContext, Notification, Told
from app.alerts.targets import TargetSettings, check_http_address, check_keys
from app.alerts.wire.alertmanager_body import annotations, instant, json_body, labels
from app.alerts.wire.receivers import receiver_of
from app.alerts.wire.wording import trial

_PUSH = "/api/v2/alerts"
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_]")
STANDS_FOR = timedelta(hours=25)
"""How long a push holds there without another: an hour more than the longest default pause between repeats (24 h)."""
_TEST_STANDS_FOR = timedelta(minutes=1)


class Channel:
    """One Alertmanager."""

    grouped: ClassVar[bool] = True

    def __init__(self, context: ChannelContext, options: TargetSettings) -> None:
        self.name = context.target or "alertmanager"
        self._clock = context.clock
        self._below = "" if options.url.get_secret_value().rstrip("/").endswith(_PUSH) else _PUSH
        self._receiver = receiver_of(options, context.clock)

    @classmethod
    def check(cls, options: TargetSettings) -> None:
        """Raise ValueError naming the key where the options can't serve."""
        check_keys(options, ("url", "allow_private", "headers"))
        check_http_address(options)

    def send(self, notification: Notification) -> None:
        """Push all its alerts. Raises DeliveryError."""
        self._push([_pushed(told, notification) for told in notification.alerts])

    def test(self) -> str:
        """Push a test alert that ends by itself after a minute and return what was done. Raises DeliveryError."""
        self.send(trial(self.name, self._clock.now()))
        return "the Alertmanager took the alert GengfuTest, which ends by itself in a minute"

    def _push(self, alerts: Iterable[Mapping[str, Any]]) -> None:
        self._receiver.post(json_body(list(alerts)), {"Content-Type": "application/json"}, below=self._below)


def _pushed(told: Told, notification: Notification) -> dict[str, Any]:
    stands_for = _TEST_STANDS_FOR if notification.kind == "test" else STANDS_FOR
    return {
        "labels": _named_as_prometheus_does(labels(told)),
        "annotations": _named_as_prometheus_does(annotations(told)),
        "startsAt": instant(told.fired_at),
        # Without an end it would be over there after five minutes (resolve_timeout): others push every minute.
        "endsAt": instant(told.resolved_at or notification.at + stands_for),
        "generatorURL": "",
    }


def _named_as_prometheus_does(table: Mapping[str, str]) -> dict[str, str]:
    """Return the table with names that every version takes; two that become the same get numbers."""
    named: dict[str, str] = {}
    for name, value in table.items():
        plain = _NOT_IN_NAMES.sub("_", name)
        plain = f"_{plain}" if plain[:1].isdigit() else plain
        unique, number = plain, 1
        while unique in named:
            number += 1
            unique = f"{plain}_{number}"
        named[unique] = value
    return named
