"""Hours that come again: 'weekdays from 22:00 to 06:00 in Shanghai', for silences and for a rule's mute_windows."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo

from app.core.settings_file import nearest

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = get_args(Day)
_KEYS = ("days", "from", "to", "timezone")
_MIDNIGHT_AFTER = "24:00"


@dataclass(frozen=True, kw_only=True)
class Window:
    """A span of each of some days, by the clock on the wall of `zone`: when clocks change it is longer or shorter."""

    days: tuple[Day, ...] = DAYS
    """The days on which it begins."""
    start: time
    end: time
    """Not later than `start`: it ends on the day after. Both the same: it lasts until that time of the day after."""
    zone: ZoneInfo

    def covers(self, at: datetime) -> bool:
        """Tell whether `at` (aware) lies in it; its first instant does, its end does not."""
        local = at.astimezone(self.zone)
        now, weekday = local.time(), local.weekday()
        today, yesterday = DAYS[weekday] in self.days, DAYS[weekday - 1] in self.days
        if self.start < self.end:
            return today and self.start <= now < self.end
        return (today and now >= self.start) or (yesterday and now < self.end)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, readable by `parse_window`."""
        return {
            "days": list(self.days),
            "from": f"{self.start:%H:%M}",
            "to": f"{self.end:%H:%M}",
            "timezone": self.zone.key,
        }


def parse_window(row: object, zone: ZoneInfo | None = None) -> Window:
    """Return the window written as `{days = ["sat", "sun"], from = "22:00", to = "06:00", timezone = "Asia/Shanghai"}`.

    Without days it is every day's; without a zone that of `zone`. Raises ValueError naming the key.
    """
    if not isinstance(row, Mapping):
        raise ValueError(f'{row!r} is no window; write it like {{ from = "22:00", to = "06:00" }}')  # noqa: TRY004 - one error type for bad settings
    for key in row:
        if key not in _KEYS:
            raise ValueError(f"{key!r} is no key of a window{nearest(str(key), _KEYS)}; known: {', '.join(_KEYS)}")
    return Window(
        days=_days(row.get("days", DAYS)),
        start=_time(row, "from"),
        end=_time(row, "to"),
        zone=_zone(row.get("timezone"), zone),
    )


def _days(names: object) -> tuple[Day, ...]:
    if not isinstance(names, list | tuple) or not names:
        raise ValueError(f'days {names!r} are none; write them like ["mon", "tue"], or leave the key out')
    for name in names:
        if name not in DAYS:
            raise ValueError(f"{name!r} is no day{nearest(str(name).lower(), DAYS)}; known: {', '.join(DAYS)}")
    return tuple(day for day in DAYS if day in names)


def _time(row: Mapping[Any, Any], key: str) -> time:
    value = row.get(key)
    try:
        # The end of a day is that of the next day's beginning.
        found = time.fromisoformat("00:00" if value == _MIDNIGHT_AFTER and key == "to" else value)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{key} {value!r} is no time of day; write it like '22:30'") from error
    if found.tzinfo is not None:
        raise ValueError(f"{key} {value!r} names a zone; write the time like '22:30' and the zone as timezone")
    return found


def _zone(name: object, default: ZoneInfo | None) -> ZoneInfo:
    if name is None and default is not None:
        return default
    try:
        return ZoneInfo(name)  # type: ignore[arg-type]
    except (TypeError, ValueError, OSError) as error:
        raise ValueError(f"timezone {name!r} is unknown; use an IANA name such as Asia/Shanghai") from error
    except LookupError as error:  # ZoneInfoNotFoundError
        raise ValueError(f"timezone {name!r} is unknown; use an IANA name such as Asia/Shanghai") from error
