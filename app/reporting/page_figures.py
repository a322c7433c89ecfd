"""The figures, verdicts and tables of a report page, worded."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from app.reporting.figures import STATES
from app.reporting.page_values import (
    change,
    clock_time,
    entries,
    number,
    percent,
    points,
    seconds,
    shown,
    table,
    with_unit,
)
from app.reporting.words import Words

_COMPARED = (
    "total_tasks",
    "tasks_per_day",
    "completed",
    "failed",
    "completion_rate",
    "failure_rate",
    "average_processing_time",
)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure with its unit, and what to know about it."""

    name: str
    value: str
    note: str = ""
    verdict: str = ""
    """`normal`, `anomaly`, `level shift`, `insufficient data`; empty where nobody judged."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table; `numeric` are the columns of numbers."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()


@dataclass(frozen=True, kw_only=True)
class VerdictLine:
    """A verdict in words."""

    series: str
    verdict: str
    word: str
    told: str


def figures(document: dict[str, Any], words: Words) -> Iterator[Figure]:
    """Yield the figures at the top of a page, those that the report does not hold left out."""
    tasks, performance = table(document, "task_statistics"), table(document, "performance_statistics")
    judged = {str(one.get("series")): one for one in verdicts_of(document)}
    rows = (
        ("total_tasks", with_unit(tasks.get("total_tasks")), ""),
        ("tasks_per_day", with_unit(tasks.get("tasks_per_day")), ""),
        ("completion_rate", percent(tasks.get("completion_rate")), ""),
        ("failure_rate", percent(tasks.get("failure_rate")), _bounds(tasks, words)),
        ("average_processing_time", seconds(tasks.get("average_processing_time")), ""),
        *_times(table(tasks, "processing_time")),
        ("queue_wait", seconds(table(tasks, "queue_wait").get("mean")), ""),
        ("throughput", shown(performance.get("throughput_per_hour")), ""),
        ("peak_hour", _hour(performance.get("peak_hour")), ""),
        ("busiest_day", shown(table(performance, "busiest_day").get("date")), ""),
        ("retried_share", percent(table(document, "error_statistics", "retry_statistics").get("retried_share")), ""),
    )
    for name, value, note in rows:
        if value != shown(None):
            verdict = judged.get(name, {})
            usual = _usual(verdict, name, words) if verdict else ""
            yield Figure(name=words(name), value=value, note=usual or note, verdict=str(verdict.get("verdict", "")))


def verdict_lines(document: dict[str, Any], words: Words) -> Iterator[VerdictLine]:
    """Yield each series' verdict in words."""
    for one in verdicts_of(document):
        verdict = str(one.get("verdict"))
        yield VerdictLine(
            series=words.known(shown(one.get("series"))),
            verdict=verdict,
            word=words.known(shown(verdict)),
            told=_told(one, verdict, words),
        )


def verdict_table(document: dict[str, Any], words: Words) -> Table:
    """Return everything that a verdict rests on."""
    rows = []
    for one in verdicts_of(document):
        series = str(one.get("series"))
        bounds = [with_unit(one.get(key), series) for key in ("value", "expected", "lower", "upper")]
        method = one.get("method")
        told = words.known(shown(method)) if method else shown(None)
        rows.append((words.known(shown(series)), *bounds, shown(one.get("z")), told, shown(one.get("n_history"))))
    names = ("series", "value", "expected", "lower", "upper", "score", "method", "history")
    return Table(columns=tuple(map(words, names)), rows=tuple(rows), numeric=frozenset({1, 2, 3, 4, 5, 7}))


def change_table(document: dict[str, Any], words: Words) -> Table:
    """Return a period's figures beside those of the period before."""
    compared = table(document, "comparison", "figures")
    rows = []
    for name in _COMPARED:
        one = table(compared, name)
        if one:
            values = (with_unit(one.get("value"), name), with_unit(one.get("before"), name))
            moved = (
                points(one.get("change_points"), words) if "change_points" in one else change(one.get("change_percent"))
            )
            rows.append((words(name), *values, moved))
    names = ("series", "value", "before", "change")
    return Table(columns=tuple(map(words, names)), rows=tuple(rows), numeric=frozenset({1, 2, 3}))


def failed_table(document: dict[str, Any], words: Words) -> Table:
    """Return the failed tasks that the report describes."""
    keys = ("id", "task_id", "task_type", "created_at", "category", "message", "retries")
    rows = [tuple(_cell(one, key) for key in keys) for one in entries(document, "error_statistics", "failed_tasks")]
    names = ("id", "task", "type", "created", "category", "message", "retries")
    return Table(columns=tuple(map(words, names)), rows=tuple(rows), numeric=frozenset({0, 6}))


def slowest_table(document: dict[str, Any], words: Words) -> Table:
    """Return the tasks that took longest."""
    rows = [
        (
            *(_cell(one, key) for key in ("id", "task_id", "task_type", "created_at")),
            words.known(shown(one.get("status"))),
            seconds(one.get("processing_time")),
        )
        for one in entries(document, "performance_statistics", "slowest_tasks")
    ]
    names = ("id", "task", "type", "created", "state", "time")
    return Table(columns=tuple(map(words, names)), rows=tuple(rows), numeric=frozenset({0, 5}))


def state_table(document: dict[str, Any], words: Words) -> Table:
    """Return the tasks of each state with their share."""
    found = table(document, "task_statistics", "status_breakdown")
    # In the order of a task's life, where the file has that of the alphabet.
    states = {name: found[name] for name in (*STATES, *found) if name in found}
    total = sum(count for value in states.values() if (count := number(value)))
    rows = [
        (
            words.known(shown(name)),
            shown(value),
            percent(round(100 * (number(value) or 0) / total, 2) if total else 0.0),
        )
        for name, value in states.items()
    ]
    return Table(columns=tuple(map(words, ("state", "tasks", "share"))), rows=tuple(rows), numeric=frozenset({1, 2}))


def system_lines(document: dict[str, Any], words: Words) -> Iterator[str]:
    """Yield what was measured about the machine and the queues, a line each."""
    resources = table(document, "system_statistics", "resources")
    for name in ("cpu_percent", "memory_percent"):
        if number(resources.get(name)) is not None:
            yield f"{words(name)}: {percent(resources[name])}"
    broker = table(document, "system_statistics", "queue_statistics")
    if broker.get("available") is False:
        yield words("broker_away", why=shown(broker.get("why")))
    elif queues := table(broker, "queues"):
        told = ", ".join(f"{shown(name)} {shown(count)}" for name, count in queues.items())
        yield f"{words('waiting')}: {told}"


def quality_lines(document: dict[str, Any], words: Words) -> Iterator[str]:
    """Yield what the rows don't say, a line each; nothing where all is well."""
    for name, value in table(document, "data_quality").items():
        if value:
            told = ", ".join(map(shown, value)) if isinstance(value, list) else shown(value)
            yield f"{words.known(shown(name))}: {told}"


def verdicts_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the verdicts of a daily report."""
    return entries(document, "trend_analysis", "verdicts")


def _cell(entry: dict[str, Any], key: str) -> str:
    value = entry.get(key)
    if key == "created_at":
        return clock_time(value)
    # Names of rows are no quantities: 1,234 is not the task's number.
    return str(value) if key == "id" and isinstance(value, int) else shown(value)


def _times(timing: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for name in ("median", "p95", "p99", "maximum"):
        yield name, seconds(timing.get(name)), ""


def _hour(value: Any) -> str:
    return shown(None) if number(value) is None else f"{int(value):02d}:00–{int(value) + 1:02d}:00"


def _bounds(tasks: dict[str, Any], words: Words) -> str:
    lower, upper = tasks.get("failure_rate_lower"), tasks.get("failure_rate_upper")
    if number(lower) is None or number(upper) is None:
        return ""
    return words("bounds", lower=percent(lower), upper=percent(upper))


def _usual(verdict: dict[str, Any], series: str, words: Words) -> str:
    if number(verdict.get("lower")) is None or number(verdict.get("upper")) is None:
        return ""
    return words("usual", lower=with_unit(verdict["lower"], series), upper=with_unit(verdict["upper"], series))


def _told(one: dict[str, Any], verdict: str, words: Words) -> str:
    series = str(one.get("series"))
    if number(one.get("value")) is None:
        return words("told_nothing")
    values = {key: with_unit(one.get(key), series) for key in ("value", "expected", "lower", "upper")}
    if verdict == "insufficient data" or number(one.get("lower")) is None:
        return words("told_insufficient", value=values["value"], days=shown(one.get("n_history", one.get("days"))))
    inside = "told_normal" if _inside(one) else "told_small"
    key = {"anomaly": "told_anomaly", "level shift": "told_shift"}.get(verdict, inside)
    return words(key, **values)


def _inside(one: dict[str, Any]) -> bool:
    """A value may lie outside its band and still be no anomaly: a change of less than 20 % or ten units is none."""
    value, lower, upper = (number(one.get(key)) for key in ("value", "lower", "upper"))
    return value is None or lower is None or upper is None or lower <= value <= upper
