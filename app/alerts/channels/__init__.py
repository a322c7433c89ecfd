"""Ways to tell people, one file each: the file's name is the channel's name in `[alerts] channels`."""

import importlib
import pkgutil
from typing import cast

from app.alerts.channel import Channel, ChannelContext


def known_channels() -> list[str]:
    """Return the names of all channels."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def open_channel(name: str, context: ChannelContext) -> Channel:
    """Return the channel called `name`. Raises ModuleNotFoundError where there is none."""
    module = importlib.import_module(f"{__name__}.{name}")
    return cast("Channel", module.Channel(context))
