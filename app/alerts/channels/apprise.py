"""A message through Apprise: e-mail, SMS gateways, Slack, DingTalk, Feishu, WeCom, Telegram and about 150 more."""

import logging
import re
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, ClassVar

from app.alerts.channel import ChannelContext, DeliveryError, Notification
from app.alerts.targets import TargetSettings, check_keys
from app.alerts.wire.answers import PERMANENT, retry_after
from app.alerts.wire.chat_bots import fitting, passes, refused
from app.alerts.wire.wording import body, title, trial

if TYPE_CHECKING:
    from apprise import NotifyType
    from requests import Response

    from app.alerts.wire.connect_guard import Guard

WHOLE_S = 10.0
"""Seconds for one message, all connections of a service together."""
PAUSE_S = 0.5
"""Longest pause between two requests for one message."""
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S")
# What calls everybody in a chat, or names a person there, must not do so from within an error message.
_CALLS = re.compile(r"@(?=everyone|here|channel|all\b|所有人)|<(?=[!@#]|at\b)", re.IGNORECASE)
_HARMLESS = {"@": "＠", "<": "‹"}


class Channel:
    """One Apprise URL."""

    grouped: ClassVar[bool] = True

    def __init__(self, context: ChannelContext, options: TargetSettings) -> None:
        self.name = context.target or "apprise"
        self._clock = context.clock
        self._url = options.url.get_secret_value()
        self._allow_private = options.allow_private

    @classmethod
    def check(cls, options: TargetSettings) -> None:
        """Raise ValueError naming the key where the options can't serve."""
        check_keys(options, ("url", "allow_private"))
        if not _SCHEME.match(options.url.get_secret_value()):
            raise ValueError("url is missing or no Apprise URL such as mailto://user:password@example.com")

    def send(self, notification: Notification) -> None:
        """Hand it to the service. Raises DeliveryError."""
        # Apprise and requests take 200 ms to load, which what only names the channel need not pay.
        from apprise import Apprise, AppriseAsset, NotifyFormat, OverflowMode  # noqa: PLC0415

        from app.alerts.wire.connect_guard import guarded  # noqa: PLC0415 - same
        from app.alerts.wire.overheard import overheard  # noqa: PLC0415 - same

        _mute_logs()
        headline = _harmless(title(notification))
        asset = AppriseAsset(app_id="Gengfu", app_desc="Gengfu", app_url="", http_redirects=False, pgp_autogen=False)
        with overheard() as answers, guarded(allow_private=self._allow_private, whole_s=WHOLE_S) as guard:
            # Made anew for each message: one that is kept sleeps between messages, and how many may go is ours to say.
            service = Apprise.instantiate(self._url, asset=asset)
            if service is None:
                raise DeliveryError("url is none that Apprise can use; correct it", permanent=True)
            # Its usual 5.5 s between two requests, of which some services need several, would use up the time.
            service.request_rate_per_sec = min(service.request_rate_per_sec, PAUSE_S)
            # The file of Apprise that serves it: a chat's own https:// address leads there too.
            kind = type(service).__module__.rpartition(".")[2]
            taken = service.notify(
                body=fitting(kind, _harmless(body(notification)), beside=len(headline.encode()) + 2),
                title=headline,
                notify_type=_type_of(notification),
                body_format=NotifyFormat.TEXT,
                # Twenty alerts cut into text messages would be hundreds of them.
                overflow=None if "overflow=" in self._url else OverflowMode.TRUNCATE,
            )
        if not taken:
            raise _failure(guard, answers, self._clock.now())
        if answers and (code := refused(kind, answers[-1].content)):
            raise DeliveryError(f"the service answered with its code {code}", permanent=not passes(kind, code))

    def test(self) -> str:
        """Send a test message and return what was done. Raises DeliveryError."""
        self.send(trial(self.name, self._clock.now()))
        return "the service took a test message"


def _type_of(notification: Notification) -> "NotifyType":
    from apprise import NotifyType  # noqa: PLC0415 - loaded already

    if notification.kind in {"digest", "test"}:
        return NotifyType.INFO
    if notification.status == "resolved":
        return NotifyType.SUCCESS
    critical = any(told.alert.severity == "critical" and told.status == "firing" for told in notification.alerts)
    return NotifyType.FAILURE if critical else NotifyType.WARNING


def _harmless(text: str) -> str:
    return _CALLS.sub(lambda found: _HARMLESS[found.group()], text)


def _failure(guard: "Guard", answers: "Sequence[Response]", now: datetime) -> DeliveryError:
    if guard.refused:
        return DeliveryError(f"not sent: {guard.refused}", permanent=True)
    if guard.is_cut:
        return DeliveryError(f"the service took longer than {WHOLE_S:g} s")
    if not answers:
        return DeliveryError("the service can't be reached, or did not take the message")
    code, pause = answers[-1].status_code, answers[-1].headers.get("Retry-After")
    return DeliveryError(
        f"the service answered {code}", permanent=code in PERMANENT, retry_after_s=retry_after(pause, now)
    )


@cache
def _mute_logs() -> None:
    """Let nothing of what these libraries log out: they name recipients, channels and, in detail, whole addresses."""
    own = logging.getLogger("apprise")
    own.addFilter(lambda _record: False)
    # A filter holds for the logger itself; what loggers below it say ends here.
    own.propagate = False
    own.addHandler(logging.NullHandler())
    for name in ("urllib3", "requests", "requests_oauthlib"):
        logging.getLogger(name).setLevel(logging.ERROR)
