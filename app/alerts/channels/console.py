"""One readable line per alert on the console (standard error), in colour on a terminal only."""

import io
from datetime import datetime
from typing import ClassVar

from app.alerts.channel import ChannelContext, DeliveryError, Notification, Told
from app.alerts.targets import TargetSettings, check_keys
from app.alerts.text import visible
from app.alerts.wire.wording import said, trial

_STYLES = {"critical": "bold white on red", "error": "bold red", "warning": "yellow", "resolved": "green"}


class Channel:
    """Standard error of this process."""

    grouped: ClassVar[bool] = False

    def __init__(self, context: ChannelContext, _options: TargetSettings) -> None:
        self.name = context.target or "console"
        self._stderr = context.stderr
        self._clock = context.clock

    @classmethod
    def check(cls, options: TargetSettings) -> None:
        """Raise ValueError naming the key where the options can't serve."""
        check_keys(options, ())

    def send(self, notification: Notification) -> None:
        """Write a line for each alert. Raises DeliveryError where there is no console, or nobody reads it any more."""
        if self._stderr is None:
            raise DeliveryError("this process has no console", permanent=True)
        try:
            colours = self._stderr.isatty()
            for told in notification.alerts:
                self._stderr.write(_rendered(told, notification.at, colours=colours))
            self._stderr.flush()
        except (OSError, ValueError) as error:  # ValueError: the stream was closed
            raise DeliveryError(f"can't write to the console: {error}") from error

    def test(self) -> str:
        """Write a test line and return what was done. Raises DeliveryError."""
        self.send(trial(self.name, self._clock.now()))
        return "a line stands on the console"


def _rendered(told: Told, at: datetime, *, colours: bool) -> str:
    alert = told.alert
    over = told.status == "resolved"
    event = "" if over else f" ({told.event})"
    level = "RESOLVED" if over else alert.severity.upper()
    style = _STYLES["resolved" if over else alert.severity] if colours else ""
    return _styled(
        visible(f"{at:%Y-%m-%d %H:%M:%S} "), level, visible(f" {alert.alertname}{event}: {said(told)}"), style
    )


def _styled(head: str, level: str, tail: str, style: str) -> str:
    if not style:
        return f"{head}{level}{tail}\n"
    # Rendered into a string: writing by itself, rich answers a broken pipe by ending the process.
    from rich.console import Console  # noqa: PLC0415 - costs 50 ms that workers without a terminal need not pay
    from rich.text import Text  # noqa: PLC0415 - same

    drawn = io.StringIO()
    Console(file=drawn, force_terminal=True, soft_wrap=True).print(Text.assemble(head, (level, style), tail))
    return drawn.getvalue()
