"""The receiver behind a target's address."""

from typing import TYPE_CHECKING

from app.alerts.targets import TargetSettings, plain_headers
from app.core.clock import Clock

if TYPE_CHECKING:
    from app.alerts.wire.http_post import Receiver


def receiver_of(options: TargetSettings, clock: Clock) -> "Receiver":
    """Return who answers at the address of `options`; nothing is sent or looked up yet."""
    # httpx takes 60 ms to load, which what only names a channel need not pay.
    from app.alerts.wire.http_post import Receiver  # noqa: PLC0415

    return Receiver(
        options.url.get_secret_value(),
        clock=clock,
        allow_private=options.allow_private,
        headers=plain_headers(options),
    )
