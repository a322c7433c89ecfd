"""Ways to tell people, one file each: the file's name is the channel's name in the settings."""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from app.alerts.channel import Channel, ChannelContext
from app.alerts.targets import TargetSettings


def known_channels() -> list[str]:
    """Return the names of all channels."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def open_channel(name: str, context: ChannelContext, options: TargetSettings | None = None) -> Channel:
    """Return the channel called `name` for one target. Raises ModuleNotFoundError where there is none."""
    return _channel_class(name)(context, options or TargetSettings())


def open_target(name: str, context: ChannelContext, targets: Mapping[str, TargetSettings]) -> Channel:
    """Return the channel that serves the target called `name`; one without settings is the channel of that name.

    Raises ModuleNotFoundError where there is no such channel.
    """
    options = targets.get(name, TargetSettings())
    return open_channel(options.channel or name, replace(context, target=name), options)


def check_options(name: str, options: TargetSettings) -> None:
    """Raise ValueError naming the key where the channel called `name` can't work with these options."""
    _channel_class(name).check(options)


def _channel_class(name: str) -> type[Channel]:
    return cast("type[Channel]", importlib.import_module(f"{__name__}.{name}").Channel)
