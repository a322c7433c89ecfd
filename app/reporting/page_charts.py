"""The charts of a report page, each with the table that holds the same figures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from app.reporting.charts import Bar, Caption, Point, lying_bars, standing_bars, timeline
from app.reporting.page_figures import Table
from app.reporting.page_values import (
    UNSAID,
    counted,
    entries,
    filled,
    number,
    percent,
    shown,
    table,
    time_span,
    with_unit,
)
from app.reporting.words import Words

_UNUSUAL = frozenset({"anomaly", "level shift"})
_LABELS = 8
"""Most labels below a chart that fit beside each other."""
_DISK_POINTS = 96
_LONGEST_LINE = 400
"""Days."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart ready for the page; `svg` is empty where there is nothing to draw."""

    key: str
    title: str
    svg: str
    table: Table
    legend: tuple[tuple[str, str], ...] = ()
    """(CSS class, words) of what is drawn."""


def charts_of(document: dict[str, Any], words: Words, disk: Sequence[dict[str, Any]]) -> Iterator[Chart]:
    """Yield the charts of a daily, weekly or monthly report; `disk` are the samples of the day's disk checks."""
    yield _hours(document, words)
    if days := entries(document, "days"):
        yield _line("days", words("days"), days, words)
        yield _line("failure-days", words("failure_days"), days, words, series="failure_rate")
    elif history := entries(document, "trend_analysis", "history"):
        yield _line("week", words("week"), history[-8:], words)
        yield _line("eight-weeks", words("eight_weeks", days=len(_every_day(history)) - 1), history, words)
    elif past := entries(document, "trend_analysis", "past_7_days"):
        yield _line("week", words("week"), [*past, _today(document)], words)
    yield _durations(document, words)
    yield _categories(document, words)
    yield from _disks(document, words, disk)


def _hours(document: dict[str, Any], words: Words) -> Chart:
    performance = table(document, "performance_statistics")
    hours = {hour: number(value) or 0 for hour, value in table(performance, "hourly_distribution").items()}
    counts = [(hour, hours.get(str(hour), 0)) for hour in range(24)]
    peak = performance.get("peak_hour")
    bars = [
        Bar(
            label=f"{hour:02d}",
            value=count,
            told=counted(count, words),
            role="peak" if count and hour == peak else "usual",
        )
        for hour, count in counts
    ]
    told = words("hours_told", total=shown(sum(count for _, count in counts)), peak=shown(peak))
    return _bars_chart("hours", words("hours"), bars, told, ("hour", "tasks"), words, every=3)


def _durations(document: dict[str, Any], words: Words) -> Chart:
    buckets = filled(entries(document, "performance_statistics", "duration_histogram"))
    bars = [
        Bar(
            label=time_span(bucket.get("from"), bucket.get("below"), words),
            value=number(bucket.get("tasks")) or 0,
            told=counted(number(bucket.get("tasks")) or 0, words),
        )
        for bucket in buckets
    ]
    return _lying("durations", bars, ("duration", "tasks"), words)


def _categories(document: dict[str, Any], words: Words) -> Chart:
    categories = table(document, "error_statistics", "error_categories")
    counts = [(shown(name), count) for name, value in categories.items() if (count := number(value))]
    total = sum(count for _, count in counts)
    ordered = sorted(counts, key=lambda pair: (-pair[1], pair[0]))
    bars = [
        Bar(label=name, value=count, told=f"{counted(count, words)} ({percent(round(100 * count / total, 1))})")
        for name, count in ordered
    ]
    return _lying("categories", bars, ("category", "tasks"), words)


def _lying(key: str, bars: list[Bar], columns: tuple[str, str], words: Words) -> Chart:
    svg = ""
    if bars:
        highest = max(bars, key=lambda bar: bar.value)
        told = words("bars_told", label=highest.label, told=highest.told)
        svg = lying_bars(Caption(key=key, title=words(key), description=told), bars)
    return Chart(key=key, title=words(key), svg=svg, table=_table(bars, columns, words))


def _bars_chart(
    key: str, title: str, bars: list[Bar], told: str, columns: tuple[str, str], words: Words, *, every: int
) -> Chart:
    drawn = any(bar.value for bar in bars)
    caption = Caption(key=key, title=title, description=told)
    svg = standing_bars(caption, bars, every=every) if drawn else ""
    return Chart(key=key, title=title, svg=svg, table=_table(bars, columns, words))


def _table(bars: Sequence[Bar], columns: tuple[str, str], words: Words) -> Table:
    rows = tuple((bar.label, bar.told) for bar in bars)
    return Table(columns=(words(columns[0]), words(columns[1])), rows=rows, numeric=frozenset({1}))


def _line(key: str, title: str, days: Sequence[dict[str, Any]], words: Words, series: str = "total_tasks") -> Chart:
    days = _every_day(days)
    points = [_point(day, series, words) for day in days]
    known = [(point.label, point.value) for point in points if point.value is not None]
    columns = ("day", "tasks" if series == "total_tasks" else series, "expected", "lower", "upper", "verdict")
    rows = tuple(_day_row(day, series, words) for day in days)
    banded = any(point.lower is not None for point in points)
    kept = len(columns) if banded else 2
    numbers = Table(
        columns=tuple(map(words, columns[:kept])),
        rows=tuple(row[:kept] for row in rows),
        numeric=frozenset({1, 2, 3, 4}),
    )
    if not known:
        return Chart(key=key, title=title, svg="", table=numbers)
    least, most = (pick(value for _, value in known) for pick in (min, max))
    told = words(
        "line_told",
        first=known[0][0],
        last=known[-1][0],
        least=with_unit(least, series),
        most=with_unit(most, series),
    )
    svg = timeline(Caption(key=key, title=title, description=told), points, every=max(1, -(-len(points) // _LABELS)))
    legend = (("actual", "legend_actual"), ("expected", "legend_expected"), ("band", "legend_band"))
    odd = (("odd", "legend_odd"),) if any(point.odd for point in points) else ()
    # A line alone needs no key.
    drawn = (*(legend if banded else legend[:1] if odd else ()), *odd)
    return Chart(
        key=key, title=title, svg=svg, table=numbers, legend=tuple((role, words(name)) for role, name in drawn)
    )


def _every_day(days: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the days with an empty one for each that is missing between them: a line must not hide a gap."""
    try:
        dated = {date.fromisoformat(str(day.get("date"))): day for day in days}
    except ValueError:
        return list(days)
    first, span = min(dated), (max(dated) - min(dated)).days
    if span > _LONGEST_LINE:
        return list(days)
    each = [first + timedelta(days=after) for after in range(span + 1)]
    return [dated.get(day, {"date": day.isoformat()}) for day in each]


def _point(day: dict[str, Any], series: str, words: Words) -> Point:
    value = number(day.get(series))
    judged = series == "total_tasks"
    band = {key: number(day.get(key)) if judged else None for key in ("expected", "lower", "upper")}
    told = counted(value, words) if judged and value is not None else with_unit(value, series)
    odd = judged and day.get("verdict") in _UNUSUAL
    # Month and day are enough: a line spans eight weeks.
    return Point(label=shown(day.get("date"))[5:], value=value, told=told, odd=odd, **band)


def _day_row(day: dict[str, Any], series: str, words: Words) -> tuple[str, ...]:
    verdict = day.get("verdict")
    return (
        shown(day.get("date")),
        with_unit(day.get(series), series),
        *(with_unit(day.get(key)) for key in ("expected", "lower", "upper")),
        words.known(shown(verdict)) if verdict else UNSAID,
    )


def _today(document: dict[str, Any]) -> dict[str, Any]:
    return {"date": document.get("date"), "total_tasks": table(document, "task_statistics").get("total_tasks")}


def _disks(document: dict[str, Any], words: Words, samples: Sequence[dict[str, Any]]) -> Iterator[Chart]:
    """Yield the use of each disk over the day; where no check was kept, the one that the report measured."""
    mounts: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for sample in samples:
        for mount in entries(sample, "mounts"):
            mounts.setdefault(shown(mount.get("mount")), []).append((shown(sample.get("at"))[11:16], mount))
    for place, (name, measured) in enumerate(sorted(mounts.items())):
        yield _disk(f"disk-{place}", f"{words('disk')}: {name}", _thinned(measured), words)
    fullest = table(document, "system_statistics", "disk_usage")
    if fullest and not mounts:
        yield _disk_now(fullest, words)


def _disk(key: str, title: str, measured: Sequence[tuple[str, dict[str, Any]]], words: Words) -> Chart:
    points = [
        Point(label=at, value=number(mount.get("usage_percent")), told=percent(mount.get("usage_percent")))
        for at, mount in measured
    ]
    known = [point.value for point in points if point.value is not None]
    rows = tuple(
        (at, percent(mount.get("usage_percent")), f"{shown(mount.get('free_gb'))} GB") for at, mount in measured
    )
    numbers = Table(columns=tuple(map(words, ("time", "used", "free"))), rows=rows, numeric=frozenset({1, 2}))
    if not known:
        return Chart(key=key, title=title, svg="", table=numbers)
    told = words("bars_told", label=title, told=percent(max(known)))
    caption = Caption(key=key, title=title, description=told)
    svg = timeline(caption, points, every=max(1, -(-len(points) // _LABELS)), most=100)
    return Chart(key=key, title=title, svg=svg, table=numbers)


def _disk_now(mount: dict[str, Any], words: Words) -> Chart:
    name = shown(mount.get("mount"))
    parts = (("used", mount.get("used_gb"), "usual"), ("free", mount.get("free_gb"), "rest"))
    bars = [
        Bar(label=words(key), value=number(size) or 0, told=f"{shown(size)} GB", role=role) for key, size, role in parts
    ]
    told = words("bars_told", label=words("used"), told=percent(mount.get("usage_percent")))
    title = words("disk_now") if name == UNSAID else f"{words('disk_now')}: {name}"
    caption = Caption(key="disk-now", title=title, description=told)
    svg = lying_bars(caption, bars) if any(bar.value for bar in bars) else ""
    rows = ((name, *(f"{shown(mount.get(key))} GB" for key in ("total_gb", "used_gb", "free_gb"))),)
    columns = tuple(map(words, ("mount", "size", "used", "free")))
    return Chart(
        key="disk-now", title=title, svg=svg, table=Table(columns=columns, rows=rows, numeric=frozenset({1, 2, 3}))
    )


def _thinned(measured: Sequence[tuple[str, dict[str, Any]]]) -> Sequence[tuple[str, dict[str, Any]]]:
    """A check each minute would draw more dots than there are pixels."""
    step = -(-len(measured) // _DISK_POINTS)
    return measured[:: max(1, step)]
