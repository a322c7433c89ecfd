"""A stored daily report in the terminal, with small bars."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import Any

from rich.bar import Bar
from rich.box import SIMPLE
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from app.reporting.page_disks import disk_lines
from app.reporting.page_figures import figures, quality_lines, verdict_lines
from app.reporting.page_values import (
    change,
    clock_time,
    entries,
    filled,
    number,
    percent,
    points,
    seconds,
    shown,
    table,
    time_span,
    with_unit,
)
from app.reporting.words import Words

WORDS = Words("en")
_STEPS = " ▁▂▃▄▅▆▇█"
_NARROW, _LEAST_BAR, _MOST_BAR = 80, 10, 60
_MESSAGE = 60
"""Characters of an error message at 80 columns."""
_NEWEST = 5
_COMPARED = (
    ("total_tasks", ("total_tasks",)),
    ("completed", ("status_breakdown", "completed")),
    ("failed", ("status_breakdown", "failed")),
    ("completion_rate", ("completion_rate",)),
    ("failure_rate", ("failure_rate",)),
    ("average_processing_time", ("average_processing_time",)),
    ("median", ("processing_time", "median")),
    ("p95", ("processing_time", "p95")),
)
_RATES = frozenset({"completion_rate", "failure_rate"})
_IN_SECONDS = frozenset({"median", "p95"})


def print_report(document: dict[str, Any], page: str | None, disk: Sequence[dict[str, Any]] = ()) -> None:
    """Print a report for people.

    `page` is the address of its HTML page where there is one, `disk` are the samples of the day's disk checks.
    """
    console = _console()
    for part in (*_report(document, console.width), *_disks(document, disk)):
        console.print(part)
    if page:
        # An address is copied: it must not be folded.
        console.print(Text(f"page {shown(page)}"), soft_wrap=True)


def print_comparison(document: dict[str, Any], other: dict[str, Any]) -> None:
    """Print two reports beside each other; the change is from `other` to `document`."""
    console = _console()
    for part in _comparison(document, other):
        console.print(part)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[RenderableType]], *, texts: frozenset[int]) -> None:
    """Print a table; `texts` are the columns of text, all others are numbers."""
    _console().print(_table(columns, rows, texts=texts))


def print_lines(lines: Iterable[str]) -> None:
    """Print lines in which nothing is taken for markup, folded at the terminal's width."""
    console = _console()
    for line in lines:
        console.print(Text(line))


def _console() -> Console:
    return Console(highlight=False, markup=False, emoji=False)


def _report(document: dict[str, Any], width: int) -> Iterator[RenderableType]:
    yield _heading(document)
    yield _figures(document)
    yield from _hours(document)
    yield from _week(document, width)
    yield from _categories(document, width)
    yield from _durations(document, width)
    yield from _verdicts(document)
    yield from _tasks(document, width)
    if told := list(quality_lines(document, WORDS)):
        yield Group(Text("Data quality", style="bold"), *(Text(f"  {line}") for line in told))


def _heading(document: dict[str, Any]) -> Text:
    text = Text(f"Daily report {_day(document)}", style="bold")
    text.append(
        f"  {shown(document.get('timezone') or 'local time')}, revision {shown(document.get('revision'))}", "dim"
    )
    if document.get("day_over") is False:
        text.append("\nthe day was not over when this was counted", "yellow")
    return text


def _day(document: dict[str, Any]) -> str:
    day = shown(document.get("date"))
    try:
        return f"{day} {WORDS.weekday(date.fromisoformat(day).weekday())}"
    except ValueError:
        return day


def _figures(document: dict[str, Any]) -> Table:
    rows = [[figure.name, figure.value, figure.note] for figure in figures(document, WORDS)]
    states = table(document, "task_statistics", "status_breakdown")
    told = ", ".join(f"{shown(name)} {shown(count)}" for name, count in states.items() if count)
    rows.insert(1, ["", "", told])
    return _table(["", "", ""], rows, texts=frozenset({0, 2}), head=False)


def _hours(document: dict[str, Any]) -> Iterator[RenderableType]:
    performance = table(document, "performance_statistics")
    by_hour = table(performance, "hourly_distribution")
    counts = [number(by_hour.get(str(hour))) or 0 for hour in range(24)]
    if any(counts):
        peak = shown(performance.get("peak_hour"))
        yield Text(f"Hours of the day, most at {peak}", style="bold")
        yield Text("  " + "".join(f"{_step(count, max(counts)) * 2} " for count in counts))
        yield Text("  " + "".join(f"{hour:02d} " for hour in range(24)), style="dim")


def _step(value: float, highest: float) -> str:
    # The smallest count that is not nothing can still be seen.
    return _STEPS[max(1, round(value * (len(_STEPS) - 1) / highest))] if value else _STEPS[0]


def _week(document: dict[str, Any], width: int) -> Iterator[RenderableType]:
    trend = table(document, "trend_analysis")
    past = entries(trend, "past_7_days")
    if not past:
        return
    tasks = table(document, "task_statistics")
    today = {key: tasks.get(key) for key in ("total_tasks", "failure_rate", "average_processing_time")}
    days = [*past, {"date": document.get("date")} | today]
    bars = _bars([day.get("total_tasks") for day in days], width - 52)
    yield _table(
        ["day", "tasks", "", "failed", "mean"],
        [
            [
                shown(day.get("date")),
                shown(day.get("total_tasks")),
                bar,
                percent(day.get("failure_rate")),
                seconds(day.get("average_processing_time")),
            ]
            for day, bar in zip(days, bars, strict=True)
        ],
        texts=frozenset({0, 2}),
    )
    direction = shown(trend.get("trend_direction"))
    yield Text(f"  {change(trend.get('trend_percent'))} against the mean of the days before ({direction})")


def _categories(document: dict[str, Any], width: int) -> Iterator[RenderableType]:
    categories = table(document, "error_statistics", "error_categories")
    counted = [(shown(name), number(count) or 0) for name, count in categories.items()]
    ordered = sorted(counted, key=lambda pair: (-pair[1], pair[0]))
    if ordered:
        yield _bar_table("errors by category", ordered, width)


def _durations(document: dict[str, Any], width: int) -> Iterator[RenderableType]:
    buckets = filled(entries(document, "performance_statistics", "duration_histogram"))
    counted = [
        (time_span(bucket.get("from"), bucket.get("below"), WORDS), number(bucket.get("tasks")) or 0)
        for bucket in buckets
    ]
    if counted:
        yield _bar_table("how long tasks took", counted, width)


def _bar_table(name: str, counted: Sequence[tuple[str, float]], width: int) -> Table:
    bars = _bars([count for _, count in counted], width - 40)
    rows = [[label, shown(count), bar] for (label, count), bar in zip(counted, bars, strict=True)]
    return _table([name, "tasks", ""], rows, texts=frozenset({0, 2}))


def _bars(values: Sequence[Any], width: int) -> list[RenderableType]:
    known = [number(value) or 0 for value in values]
    highest, room = max(known, default=0), max(_LEAST_BAR, min(width, _MOST_BAR))
    return [Bar(highest, 0, value, width=room, color="blue") if value > 0 else "" for value in known]


def _verdicts(document: dict[str, Any]) -> Iterator[RenderableType]:
    lines = list(verdict_lines(document, WORDS))
    if lines:
        yield Text("Compared with what is usual", style="bold")
    for line in lines:
        style = {"normal": "green", "anomaly": "red", "level shift": "red"}.get(line.verdict, "dim")
        text = Text(f"  {line.series}: ")
        text.append(line.word, style)
        text.append(f" - {line.told}")
        yield text


def _tasks(document: dict[str, Any], width: int) -> Iterator[RenderableType]:
    if slowest := entries(document, "performance_statistics", "slowest_tasks"):
        rows = [
            [
                shown(one.get("task_id")),
                clock_time(one.get("created_at")),
                shown(one.get("status")),
                seconds(one.get("processing_time")),
            ]
            for one in slowest
        ]
        yield _table(["slowest task", "created", "state", "time"], rows, texts=frozenset({0, 1, 2}))
    if failed := entries(document, "error_statistics", "failed_tasks")[:_NEWEST]:
        room = _MESSAGE + max(0, width - _NARROW)
        rows = [
            [shown(one.get("task_id")), shown(one.get("category")), shown(one.get("message"))[:room]] for one in failed
        ]
        yield _table(["newest failed task", "category", "message"], rows, texts=frozenset({0, 1, 2}))


def _disks(document: dict[str, Any], disk: Sequence[dict[str, Any]]) -> Iterator[RenderableType]:
    lines = [(one.name, one.share, one.free, one.full_at, one.method) for one in disk_lines(document, disk, WORDS)]
    if lines:
        yield _table(["disk", "used", "free", "full", "method"], lines, texts=frozenset({0, 3, 4}))


def _comparison(document: dict[str, Any], other: dict[str, Any]) -> Iterator[RenderableType]:
    rows = []
    for name, keys in _COMPARED:
        value, before = (_under(one, keys) for one in (document, other))
        unit = "average_processing_time" if name in _IN_SECONDS else name
        moved = _points(value, before) if name in _RATES else _difference(value, before)
        rows.append([WORDS(name), with_unit(value, unit), with_unit(before, unit), moved])
    yield _table(["", shown(document.get("date")), shown(other.get("date")), "change"], rows, texts=frozenset({0}))
    counts = [table(one, "error_statistics", "error_categories") for one in (document, other)]
    names = sorted({*counts[0], *counts[1]}, key=lambda name: (-(number(counts[0].get(name)) or 0), name))
    if names:
        told = [
            [
                shown(name),
                *(shown(one.get(name, 0)) for one in counts),
                _difference(*(one.get(name, 0) for one in counts)),
            ]
            for name in names
        ]
        yield _table(["errors by category", "", "", "change"], told, texts=frozenset({0}))


def _under(document: dict[str, Any], keys: Sequence[str]) -> Any:
    return table(document, "task_statistics", *keys[:-1]).get(keys[-1])


def _difference(value: Any, before: Any) -> str:
    known, earlier = number(value), number(before)
    return change(round(100 * (known - earlier) / earlier, 1) if earlier and known is not None else None)


def _points(value: Any, before: Any) -> str:
    known, earlier = number(value), number(before)
    return points(None if known is None or earlier is None else round(known - earlier, 2), WORDS)


def _table(
    columns: Sequence[str], rows: Iterable[Sequence[RenderableType]], *, texts: frozenset[int], head: bool = True
) -> Table:
    made = Table(box=SIMPLE, show_edge=False, show_header=head, pad_edge=True)
    for place, name in enumerate(columns):
        made.add_column(Text(name), justify="left" if place in texts else "right", overflow="fold")
    for row in rows:
        # Text, and not str: nothing out of a row is taken for markup.
        made.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    return made
