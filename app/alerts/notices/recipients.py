"""Who is told: one recipient for each name in `[alerts] channels`."""

import importlib
from dataclasses import dataclass, field

import structlog

from app.alerts.alert import Severity
from app.alerts.settings import AlertSettings
from app.alerts.targets import TargetSettings

_log = structlog.get_logger("gengfu.alerts")

RECORD = "log_files"
"""The channel that writes down every transition, also those of which nobody is told."""


@dataclass(frozen=True, kw_only=True)
class Recipient:
    """One target, or one channel that needs no more than its name."""

    name: str
    channel: str
    """File of app/alerts/channels."""
    grouped: bool
    """Whether alerts are told together; each transition by itself otherwise."""
    options: TargetSettings = field(default_factory=TargetSettings)

    @property
    def is_record(self) -> bool:
        return self.channel == RECORD

    def wants(self, level: Severity) -> bool:
        """Tell whether alerts of this level go there."""
        return level in self.options.levels


def recipients(settings: AlertSettings) -> list[Recipient]:
    """Return all recipients, those that take each transition by itself first."""
    found = [_recipient(name, settings.targets.get(name)) for name in settings.channels]
    return sorted(found, key=lambda one: one.grouped)


def _recipient(name: str, options: TargetSettings | None) -> Recipient:
    known = options or TargetSettings()
    channel = known.channel or name
    return Recipient(name=name, channel=channel, grouped=_is_grouped(channel), options=known)


def _is_grouped(channel: str) -> bool:
    try:
        return bool(importlib.import_module(f"app.alerts.channels.{channel}").Channel.grouped)
    except Exception as error:  # noqa: BLE001 - a broken channel file must not silence the others; its delivery says why
        _log.error("alert_channel_failed", channel=channel, error=f"{type(error).__name__}: {error}")
        return True
