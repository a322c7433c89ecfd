"""Signs of life to every target on the channel `heartbeat`: at once or not at all, for a late one would be a lie."""

from collections.abc import Collection, Mapping

import structlog

from app.alerts.alert import Severity
from app.alerts.channel import ChannelContext, DeliveryError
from app.alerts.channels import open_target
from app.alerts.channels.heartbeat import Channel, Signal
from app.alerts.settings import AlertSettings

_log = structlog.get_logger("gengfu.alerts")


def beat(
    settings: AlertSettings,
    context: ChannelContext,
    signal: Signal,
    text: str = "",
    *,
    open_levels: Collection[Severity] = (),
) -> Mapping[str, str]:
    """Signal `start`, `success` or `fail` to every such target and return what went wrong, by target; never raises.

    A target that alerts are sent to as well hears `fail` instead of `success` as long as something is open
    (`open_levels`) at a level that it is told of: the next sign of life must not take back what an alert said.
    Takes up to ten seconds for each target that does not answer, so that it belongs into a thread of its own.
    """
    return {
        name: problem
        for name in heartbeat_targets(settings)
        if (problem := _beat(settings, context, name, signal, text, open_levels))
    }


def heartbeat_targets(settings: AlertSettings) -> list[str]:
    """Return the names of the targets on that channel."""
    return [name for name, target in settings.targets.items() if (target.channel or name) == "heartbeat"]


def _beat(
    settings: AlertSettings,
    context: ChannelContext,
    name: str,
    signal: Signal,
    text: str,
    open_levels: Collection[Severity],
) -> str:
    told_of_alerts = name in settings.channels and not set(open_levels).isdisjoint(settings.target(name).levels)
    channel = open_target(name, context, settings.targets)
    assert isinstance(channel, Channel)  # noqa: S101 - by the channel's name
    try:
        channel.ping("fail" if signal == "success" and told_of_alerts else signal, text)
    except DeliveryError as error:
        _log.warning("heartbeat_not_taken", target=name, error=str(error))
        return str(error)
    return ""
