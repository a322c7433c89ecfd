"""Reports as plain tables for other programs: one line a day, or one line a failed task."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from app.reporting.page_values import shown

_DAY = (
    "date",
    "total_tasks",
    "pending",
    "processing",
    "completed",
    "failed",
    "cancelled",
    "unknown",
    "completion_rate",
    "failure_rate",
    "average_processing_time",
    "median",
    "p95",
    "p99",
    "minimum",
    "maximum",
)
TASK_COLUMNS = ("date", "id", "task_id", "task_type", "created_at", "category", "message", "retries")
# ASVS 1.2.10: what a spreadsheet takes for a formula, the full-width forms included.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%", "＝", "＋", "－", "＠", "｜", "％")


def day_lines(days: Mapping[date, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a line for each day's stored figures, oldest first; categories stand as `error: <name>`.

    Every line has the same keys: a category that a day does not have is 0.
    """
    categories = sorted({name for figures in days.values() for name in figures["error_categories"]})
    return [_day_line(day, days[day], categories) for day in sorted(days)]


def task_lines(reports: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield a line for each failed task that the stored reports describe."""
    for report in reports:
        for task in report.get("error_statistics", {}).get("failed_tasks", ()):
            yield {"date": report.get("date")} | {name: task.get(name) for name in TASK_COLUMNS[1:]}


def day_columns(lines: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the columns of `day_lines`, also where there are no lines."""
    return tuple(lines[0]) if lines else _DAY


def as_csv(columns: Sequence[str], lines: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of a CSV file (RFC 4180) with its head; no cell can act as a formula in a spreadsheet."""
    yield _csv_line(columns)
    for line in lines:
        yield _csv_line([line.get(name) for name in columns])


def neutral(value: Any) -> Any:
    """Return the value for a cell: a text that a spreadsheet would take for a formula gets a `'` in front.

    Numbers stay numbers, a missing value is an empty cell, control and invisible characters are shown escaped.
    """
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    text = shown(str(value))
    # Blanks in front of a formula don't keep a spreadsheet from it; a tab or line end in front is one itself.
    return f"'{text}" if text.lstrip().startswith(_FORMULA) or str(value).startswith(_FORMULA) else text


def json_text(document: Any, *, indent: int | None = 2) -> str:
    r"""Return `document` as JSON that does nothing on a terminal: what is not printable stands as `\u009b`."""
    text = json.dumps(document, ensure_ascii=False, indent=indent, sort_keys=indent is not None)
    return "".join(char if char == "\n" or char.isprintable() else json.dumps(char)[1:-1] for char in text)


def _csv_line(values: Iterable[Any]) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator="\r\n").writerow([neutral(value) for value in values])
    return written.getvalue()


def _day_line(day: date, figures: Mapping[str, Any], categories: Sequence[str]) -> dict[str, Any]:
    states, timing = figures["status_breakdown"], figures["processing_time"]
    known = {"date": day.isoformat()} | states | timing | figures
    errors = {f"error: {name}": figures["error_categories"].get(name, 0) for name in categories}
    return {name: known.get(name) for name in _DAY} | errors
