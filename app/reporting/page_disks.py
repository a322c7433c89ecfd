"""The disks of a day in words: what was used when they were last measured, and when they will be full."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.reporting.page_figures import Table
from app.reporting.page_values import UNSAID, entries, instant, number, percent, shown, table
from app.reporting.words import Words

_COLUMNS = ("mount", "size", "used", "free", "full_at", "method")
_TWO_DAYS_H = 48
_FILLS = frozenset({"full", "filling", "filling fast"})


@dataclass(frozen=True, kw_only=True)
class DiskLine:
    """A disk, or its inodes, in words."""

    name: str
    size: str
    used: str
    share: str
    """Used share of what ordinary users can have."""
    free: str
    full_at: str
    """When it will be full, or why that is not said."""
    method: str


def disk_lines(document: dict[str, Any], samples: Sequence[dict[str, Any]], words: Words) -> Iterator[DiskLine]:
    """Yield each disk, and its inodes where they run out.

    `samples` are those of the day's disk checks, the newest last; without them the report's own disk is told.
    """
    for mount in disks_of(document, samples):
        yield _space(mount, words)
        if table(mount, "inode_forecast").get("verdict") in _FILLS:
            yield _inodes(mount, words)


def disk_table(document: dict[str, Any], samples: Sequence[dict[str, Any]], words: Words) -> Table:
    """Return the same as a table; without rows where nothing was measured."""
    lines = disk_lines(document, samples, words)
    rows = tuple((one.name, one.size, f"{one.used} ({one.share})", one.free, one.full_at, one.method) for one in lines)
    return Table(columns=tuple(map(words, _COLUMNS)), rows=rows, numeric=frozenset({1, 2, 3}))


def disks_of(document: dict[str, Any], samples: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return each disk as it was measured last, with its forecast where there is one."""
    newest: dict[str, dict[str, Any]] = {}
    for mount in _measured(samples):
        name = shown(mount.get("mount"))
        # Not every check has a forecast: one without must not hide the one before.
        newest[name] = {key: newest.get(name, {}).get(key) for key in ("forecast", "inode_forecast")} | mount
    fullest = table(document, "system_statistics", "disk_usage")
    return [newest[name] for name in sorted(newest)] or ([fullest] if fullest else [])


def _measured(samples: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for sample in samples:
        yield from entries(sample, "mounts")


def _space(mount: dict[str, Any], words: Words) -> DiskLine:
    full_at, method = _forecast(table(mount, "forecast"), words)
    return DiskLine(
        name=shown(mount.get("mount")),
        size=_gb(mount.get("total_gb")),
        used=_gb(mount.get("used_gb")),
        share=percent(mount.get("usage_percent")),
        free=_gb(mount.get("free_gb")),
        full_at=full_at,
        method=method,
    )


def _inodes(mount: dict[str, Any], words: Words) -> DiskLine:
    used, free = number(mount.get("inodes_used")), number(mount.get("inodes_free"))
    full_at, method = _forecast(table(mount, "inode_forecast"), words)
    return DiskLine(
        name=f"{shown(mount.get('mount'))} ({words('inodes')})",
        size=shown(None if used is None or free is None else used + free),
        used=shown(used),
        share=percent(mount.get("inodes_percent")),
        free=shown(free),
        full_at=full_at,
        method=method,
    )


def _forecast(found: dict[str, Any], words: Words) -> tuple[str, str]:
    verdict, method = found.get("verdict"), found.get("method")
    told = words(f"forecast_{method}") if method in {"slow", "fast"} else UNSAID
    if verdict == "full":
        return words("full_now"), told
    if verdict in _FILLS and (left := number(found.get("hours_left"))) is not None:
        return f"{instant(_to_minutes(found.get('full_at')))} ({_span(left, words)})", told
    return words("does_not_fill") if verdict == "steady" else _unsure(verdict, words), told


def _unsure(verdict: Any, words: Words) -> str:
    return UNSAID if verdict is None else words.known(shown(verdict))


def _span(hours: float, words: Words) -> str:
    if hours < _TWO_DAYS_H:
        return words("in_hours", count=round(hours))
    return words("in_days", count=f"{round(hours / 24):,}")


def _to_minutes(value: Any) -> Any:
    # A forecast has no seconds; `instant` reads instants that have.
    try:
        return datetime.fromisoformat(value).isoformat(timespec="seconds")
    except (TypeError, ValueError):
        return value


def _gb(value: Any) -> str:
    return UNSAID if number(value) is None else f"{shown(value)} GB"
