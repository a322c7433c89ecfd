"""`[alerts.targets.NAME]`: one place to which alerts go, and what a channel has to know of it."""

from collections.abc import Iterable
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta, field

from app.alerts.alert import SEVERITIES, Severity
from app.core.secret import Sealed
from app.core.settings_file import Check, Section

_LAST_PORT = 65535


def _once(value: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value))


class TargetSettings(Section):
    """`[alerts.targets.NAME]`."""

    channel: str = ""
    """File of app/alerts/channels that does the telling; empty: the one called as the target is."""
    url: Sealed = Sealed()
    """Where it goes: an http or https address, or an Apprise URL."""
    levels: Annotated[tuple[Severity, ...], Meta(min_length=1), Check(_once)] = SEVERITIES
    """Only alerts of these severities go there."""
    group_by: Annotated[tuple[str, ...], Check(_once)] = ("alertname", "component")
    """Labels whose values make alerts one message."""
    send_resolved: bool = True
    """Tell also that it is over."""
    hmac_secret: Sealed = Sealed()
    """Signs what `webhook` sends."""
    allow_private: bool = False
    """The address may be one of this machine or of a private network."""
    headers: dict[str, Sealed] = field(default_factory=dict)
    """Header lines that go with it, such as Authorization."""


_OF_THE_MESSAGE = frozenset({"channel", "levels", "group_by", "send_resolved"})
"""Keys that concern what is told, whatever the channel."""


def check_keys(options: TargetSettings, used: Iterable[str]) -> None:
    """Raise ValueError for a key that was set and means nothing to a channel that uses only `used`."""
    unset = TargetSettings()
    for key in options.__struct_fields__:
        if key not in _OF_THE_MESSAGE and key not in used and getattr(options, key) != getattr(unset, key):
            raise ValueError(f"{key} means nothing to this channel; remove it")


def check_http_address(options: TargetSettings) -> None:
    """Raise ValueError where `url` is no http or https address; the address itself, a secret, is not named."""
    try:
        parts = urlsplit(options.url.get_secret_value())
        usable = parts.scheme in {"http", "https"} and parts.hostname and 0 < (parts.port or 1) <= _LAST_PORT
    except ValueError:  # a port that is no number, a bracket without its other half
        usable = False
    if not usable:
        raise ValueError("url is missing or no http:// or https:// address; write it whole")


def plain_headers(options: TargetSettings) -> dict[str, str]:
    """Return the configured header lines as they are sent."""
    return {name: value.get_secret_value() for name, value in options.headers.items()}
