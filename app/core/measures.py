"""Ages and sizes as people write them: `30d`, `24h`, `90m`, `10GB`."""

import re
from datetime import timedelta
from typing import Annotated, Any

from app.core.settings_file import Before

LONGEST = timedelta(days=36_500)
"""A century: what lies further back or ahead is no date any more."""
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")
_AGES = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
# Decimal, as disks are sold and `du --si` counts; the binary ones have their own names.
_SIZES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 1 << 10, "MIB": 1 << 20} | {
    "GIB": 1 << 30,
    "TIB": 1 << 40,
}


def parse_age(value: Any) -> timedelta:
    """Return the time span written as `30d`, `24h`, `90m`, `45s` or `2w`. Raises ValueError naming the value."""
    if isinstance(value, timedelta):
        return value
    found = _NUMBER.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or found.group(2).lower() not in _AGES:
        raise ValueError(f"{value!r} is no time span; write it like '30d', '24h', '90m' or '45s'")
    seconds = float(found.group(1)) * _AGES[found.group(2).lower()]
    if seconds > LONGEST.total_seconds():
        raise ValueError(f"{value!r} is too long a time span; {LONGEST.days}d is the longest")
    return timedelta(seconds=seconds)


def age_text(span: timedelta) -> str:
    """Return a time span in its largest whole unit, the way `parse_age` reads it."""
    seconds = span.total_seconds()
    for unit in ("d", "h", "m"):
        if seconds and seconds % _AGES[unit] == 0:
            return f"{seconds / _AGES[unit]:.0f}{unit}"
    return f"{seconds:g}s"


def parse_size(value: Any) -> int:
    """Return the bytes written as `10GB`, `512MiB` or a plain number. Raises ValueError naming the value."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = _NUMBER.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or found.group(2).upper() not in _SIZES:
        raise ValueError(f"{value!r} is no size; write it like '500MB', '10GB' or '2GiB'")
    return int(float(found.group(1)) * _SIZES[found.group(2).upper()])


Age = Annotated[timedelta, Before(parse_age)]
"""A settings field that takes a time span as text."""
Size = Annotated[int, Before(parse_size)]
"""A settings field that takes a number of bytes as text."""
