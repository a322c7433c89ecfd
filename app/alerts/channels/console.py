"""One readable line per alert on the console (standard error), in colour on a terminal only."""

import io

from app.alerts.channel import ChannelContext, DeliveryError, Notification
from app.alerts.text import visible

_STYLES = {"critical": "bold white on red", "error": "bold red", "warning": "yellow"}


class Channel:
    """Standard error of this process."""

    def __init__(self, context: ChannelContext) -> None:
        self._stderr = context.stderr

    def send(self, notification: Notification) -> None:
        """Write the line. Raises DeliveryError where there is no console, or nobody reads it any more."""
        if self._stderr is None:
            raise DeliveryError("this process has no console", permanent=True)
        try:
            self._stderr.write(_rendered(notification, colours=self._stderr.isatty()))
            self._stderr.flush()
        except (OSError, ValueError) as error:  # ValueError: the stream was closed
            raise DeliveryError(f"can't write to the console: {error}") from error


def _rendered(notification: Notification, *, colours: bool) -> str:
    alert = notification.alert
    head = f"{notification.at:%Y-%m-%d %H:%M:%S} "
    level = f"{alert.severity.upper()}"
    tail = f" {alert.alertname} ({notification.event}): {alert.message}"
    return _styled(visible(head), level, visible(tail), _STYLES[alert.severity] if colours else "")


def _styled(head: str, level: str, tail: str, style: str) -> str:
    if not style:
        return f"{head}{level}{tail}\n"
    # Rendered into a string: writing by itself, rich answers a broken pipe by ending the process.
    from rich.console import Console  # noqa: PLC0415 - costs 50 ms that workers without a terminal need not pay
    from rich.text import Text  # noqa: PLC0415 - same

    drawn = io.StringIO()
    Console(file=drawn, force_terminal=True, soft_wrap=True).print(Text.assemble(head, (level, style), tail))
    return drawn.getvalue()
