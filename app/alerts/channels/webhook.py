"""A POST of JSON, with the body that Alertmanager sends to its webhooks, so that what reads that reads this."""

import hashlib
import hmac
import re
from typing import ClassVar

from app.alerts.channel import ChannelContext, Notification
from app.alerts.targets import TargetSettings, check_http_address, check_keys
from app.alerts.wire.alertmanager_body import json_body, webhook_document
from app.alerts.wire.receivers import receiver_of
from app.alerts.wire.wording import trial

SIGNATURE = "X-Gengfu-Signature"
"""`t=<seconds since 1970>,v1=<hex>`: HMAC-SHA256 of `<seconds>.<body>`; the time keeps it from being played back."""
_PLAIN_KEY = re.compile(r"[A-Za-z0-9._:/+=-]{1,200}")


class Channel:
    """One receiver of webhooks."""

    grouped: ClassVar[bool] = True

    def __init__(self, context: ChannelContext, options: TargetSettings) -> None:
        self.name = context.target or "webhook"
        self._clock = context.clock
        self._secret = options.hmac_secret.get_secret_value().encode()
        self._receiver = receiver_of(options, context.clock)

    @classmethod
    def check(cls, options: TargetSettings) -> None:
        """Raise ValueError naming the key where the options can't serve."""
        check_keys(options, ("url", "hmac_secret", "allow_private", "headers"))
        check_http_address(options)

    def send(self, notification: Notification) -> None:
        """POST it. Raises DeliveryError."""
        body = json_body(webhook_document(notification))
        headers = {"Content-Type": "application/json", "Idempotency-Key": _header_safe(notification.idempotency_key)}
        self._receiver.post(body, {**headers, **self._signature(body)})

    def test(self) -> str:
        """POST a test message and return what was done. Raises DeliveryError."""
        self.send(trial(self.name, self._clock.now()))
        return "the receiver took a test message"

    def _signature(self, body: bytes) -> dict[str, str]:
        if not self._secret:
            return {}
        seconds = int(self._clock.now().timestamp())
        signed = hmac.new(self._secret, f"{seconds}.".encode() + body, hashlib.sha256)
        return {SIGNATURE: f"t={seconds},v1={signed.hexdigest()}"}


def _header_safe(key: str) -> str:
    return key if _PLAIN_KEY.fullmatch(key) else hashlib.sha256(key.encode()).hexdigest()
