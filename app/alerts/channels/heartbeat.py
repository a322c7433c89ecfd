"""A sign of life to a service that calls people when it stops (Healthchecks and its like): start, success, fail."""

from typing import ClassVar, Literal

from app.alerts.channel import ChannelContext, Notification
from app.alerts.targets import TargetSettings, check_http_address, check_keys
from app.alerts.wire.receivers import receiver_of
from app.alerts.wire.wording import body, title

Signal = Literal["start", "success", "fail"]
_BELOW: dict[Signal, str] = {"start": "/start", "success": "", "fail": "/fail"}
_LONGEST_TEXT = 10_000
"""Bytes that Healthchecks keeps of what comes with a signal."""


class Channel:
    """One check of such a service; its address is the one for success."""

    grouped: ClassVar[bool] = True

    def __init__(self, context: ChannelContext, options: TargetSettings) -> None:
        self.name = context.target or "heartbeat"
        self._receiver = receiver_of(options, context.clock)

    @classmethod
    def check(cls, options: TargetSettings) -> None:
        """Raise ValueError naming the key where the options can't serve."""
        check_keys(options, ("url", "allow_private", "headers"))
        check_http_address(options)

    def send(self, notification: Notification) -> None:
        """Signal `fail` for what fires. Raises DeliveryError.

        That all is well again is for the sign of life to say, which knows all that fires: a message knows one group.
        """
        if notification.kind != "digest" and notification.status == "firing":
            self.ping("fail", f"{title(notification)}\n\n{body(notification)}")

    def test(self) -> str:
        """Signal `success` and return what was done. Raises DeliveryError."""
        self.ping("success", "This is a test.")
        return "the service took a sign of life"

    def ping(self, signal: Signal, text: str = "") -> None:
        """Give one signal with some text. Raises DeliveryError."""
        # Cut between characters: half of one is no UTF-8.
        sent = text.encode("utf-8", "backslashreplace")[:_LONGEST_TEXT].decode("utf-8", "ignore")
        self._receiver.post(sent.encode(), {"Content-Type": "text/plain; charset=utf-8"}, below=_BELOW[signal])
