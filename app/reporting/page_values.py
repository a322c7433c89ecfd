"""Reads a stored report without trusting it to be whole, and words its values for people."""

import math
import re
from collections.abc import Mapping
from typing import Any

from app.reporting.words import Words

_PLACES = {"%": 2, "s": 3}
UNSAID = "–"
"""Shown where nothing is known."""
_INSTANT = re.compile(r"(?P<day>\d{4}-\d\d-\d\d)T(?P<time>\d\d:\d\d:\d\d)(?:[+-]\d\d:\d\d)?", re.ASCII)
_UNITS = {
    "failure_rate": "%",
    "completion_rate": "%",
    "finished_failure_rate": "%",
    "retried_share": "%",
    "average_processing_time": "s",
}


def table(document: Any, *keys: str) -> dict[str, Any]:
    """Return the table under `keys`; empty where there is none."""
    for key in keys:
        document = document.get(key) if isinstance(document, Mapping) else None
    return dict(document) if isinstance(document, Mapping) else {}


def entries(document: Any, *keys: str) -> list[dict[str, Any]]:
    """Return the list of tables under `keys`; empty where there is none."""
    found = table(document, *keys[:-1]).get(keys[-1])
    return [dict(one) for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def number(value: Any) -> float | None:
    """Return `value` if it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def shown(value: Any) -> str:
    r"""Return a value as text in one line: numbers with commas, control and invisible characters as `\u202e`."""
    if value is None:
        return UNSAID
    if (found := number(value)) is not None:
        return f"{found:,}" if isinstance(found, int) else f"{found:,.10g}"
    text = str(value)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def with_unit(value: Any, series: str = "") -> str:
    """Return a value with the unit of its series: `%`, `s`, or none for counts."""
    found = number(value)
    if found is None:
        return UNSAID
    unit = _UNITS.get(series, "")
    # A count may be expected to be 12.3; nobody counts tenths of a task.
    rounded = found if isinstance(found, int) else round(found, _PLACES[unit]) if unit else round(found)
    return f"{shown(rounded)} {unit}".rstrip()


def seconds(value: Any) -> str:
    """Return seconds with their unit."""
    return UNSAID if number(value) is None else f"{shown(value)} s"


def time_span(lower: Any, upper: Any, words: Words) -> str:
    """Return a span of seconds in the units in which people think of it; `upper` is None where it has no end."""
    start, unit = _time(number(lower) or 0)
    if number(upper) is None:
        return words("more_than", start=f"{start} {unit}")
    end, other = _time(number(upper) or 0)
    return f"{start}–{end} {other}" if unit == other or not number(lower) else f"{start} {unit}–{end} {other}"


def filled(buckets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the buckets of a histogram from the first to the last that holds something."""
    places = [place for place, bucket in enumerate(buckets) if number(bucket.get("tasks"))]
    return buckets[places[0] : places[-1] + 1] if places else []


def percent(value: Any) -> str:
    """Return percent with its sign."""
    return UNSAID if number(value) is None else f"{shown(value)} %"


def change(value: Any) -> str:
    """Return a change in percent with its sign in front."""
    found = number(value)
    return UNSAID if found is None else f"{found:+,.10g} %"


def points(value: Any, words: Words) -> str:
    """Return the change of a rate, in percentage points: of a percentage a change in percent misleads."""
    found = number(value)
    return UNSAID if found is None else words("points", change=f"{found:+,.10g}")


def counted(value: Any, words: Words) -> str:
    """Return a number of tasks in words."""
    return words("tasks_count", count=shown(value))


def clock_time(value: Any) -> str:
    """Return the time of day of an instant of the report's own day, and anything else as it is."""
    found = _INSTANT.fullmatch(str(value))
    return shown(value) if found is None else found["time"]


def instant(value: Any) -> str:
    """Return an instant without its seconds and its offset."""
    found = _INSTANT.fullmatch(str(value))
    return shown(value) if found is None else f"{found['day']} {found['time'][:5]}"


def _time(value: float) -> tuple[str, str]:
    for size, unit in ((3600, "h"), (60, "min")):
        if value >= size:
            return f"{value / size:g}", unit
    return f"{value:g}", "s"
