"""The tables inside a rule's row: levels, annotations, repeat, mute_windows."""

from datetime import datetime, timedelta
from functools import cache
from typing import Annotated, Any

from msgspec import Meta, field

from app.alerts.alert import RANK, SEVERITIES, Severity
from app.alerts.rules.windows import DAYS, Window, parse_window
from app.core.measures import Age
from app.core.settings_file import Check, Section, nearest

_FARTHEST = 1e15


def _usable(value: float) -> float:
    if not -_FARTHEST < value < _FARTHEST:
        raise ValueError(f"{value} is no usable threshold")
    return value


class Level(Section):
    """`levels.<severity>`: a number, or `{ raise = 80, clear = 77 }`."""

    raise_: Annotated[float, Check(_usable)] = field(name="raise")
    """The figure beyond which the alert has this level."""
    clear: Annotated[float, Check(_usable)] | None = None
    """The figure to which it must come back to lose it."""


class Annotations(Section):
    """`annotations`: texts for people, beside the message; its words may stand in them."""

    summary: Annotated[str, Meta(max_length=500)] = ""
    description: Annotated[str, Meta(max_length=2000)] = ""
    runbook_url: Annotated[str, Meta(max_length=500)] = ""


class Repeat(Section):
    """`repeat`: after how long an alert that stays is told again."""

    critical: Age = timedelta(hours=4)
    error: Age = timedelta(hours=12)
    warning: Age = timedelta(hours=24)

    def __post_init__(self) -> None:
        for level in SEVERITIES:
            if self.of(level) < timedelta(minutes=1):
                raise ValueError(f"repeat.{level} is below a minute; nobody reads that")

    def of(self, level: Severity) -> timedelta:
        """Return the interval of a level."""
        return {"critical": self.critical, "error": self.error, "warning": self.warning}[level]


class MuteWindow(Section):
    """`mute_windows`: hours in which nobody is told; the alert itself lives on."""

    days: tuple[str, ...] = DAYS
    """The days on which it begins."""
    from_: str = field(name="from")
    to: str
    timezone: str
    """IANA name of the zone in which it is meant."""

    def __post_init__(self) -> None:
        _window(self)

    def covers(self, at: datetime) -> bool:
        """Tell whether `at` (aware) lies in it."""
        return _window(self).covers(at)


@cache
def _window(row: MuteWindow) -> Window:
    return parse_window({"days": row.days, "from": row.from_, "to": row.to, "timezone": row.timezone})


def level_tables(value: Any) -> Any:
    """Return levels with each plain number as the table it stands for. Raises ValueError for an unknown severity."""
    if not isinstance(value, dict):
        return value
    for name in value:
        if name not in RANK:
            raise ValueError(f"{name!r} is none of critical, warning, error{nearest(str(name), RANK)}")
    return {name: row if isinstance(row, dict | Level) else {"raise": row} for name, row in value.items()}
