"""`gengfu report`: the stored daily reports, readable in a terminal."""

import json
from typing import TYPE_CHECKING, Any

import click

from app.cli import leave
from app.core.errors import ExitCode, GengfuError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType
    from rich.table import Table

_BARS = "▁▂▃▄▅▆▇█"
_TIMES = (("median", "median"), ("p95", "p95"), ("p99", "p99"), ("max", "maximum"))
_MESSAGE = 60
"""Characters of an error message shown in the terminal."""


@click.group()
def command() -> None:
    """Daily reports: read what the night found out."""


@command.command()
@click.argument("day", required=False)
@click.option("--json", "as_json", is_flag=True, help="The stored JSON document itself.")
def show(day: str | None, as_json: bool) -> None:
    """Show the report of DAY (YYYY-MM-DD; without it, the newest)."""
    from app.context import open_context
    from app.core.errors import BadArgument
    from app.reporting.report_files import load_report, parse_day, stored_days

    with open_context() as context:
        folder = context.settings.paths.daily_reports
    days = [parse_day(day)] if day else stored_days(folder)[-1:]
    if not days:
        raise BadArgument(f"there is no report in {folder} yet; the night's statistics write the first one")
    document = load_report(folder, days[0])
    if as_json:
        click.echo(json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True))
    else:
        _print(_readable(document))


@command.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of a table.")
def list_reports(as_json: bool) -> None:
    """List the stored reports, the newest first."""
    from app.context import open_context
    from app.reporting.report_files import load_report, stored_days

    with open_context() as context:
        folder = context.settings.paths.daily_reports
    lines: list[dict[str, Any]] = []
    broken: list[GengfuError] = []
    for day in reversed(stored_days(folder)):
        try:
            lines.append(_line(load_report(folder, day)))
        except GengfuError as error:
            broken.append(error)
    if as_json:
        click.echo(json.dumps(lines, ensure_ascii=False))
    elif not lines and not broken:
        click.echo(f"there is no report in {folder} yet; the night's statistics write the first one", err=True)
    else:
        rows = [[*map(_cell, line.values())] for line in lines]
        _print([_table(["day", "tasks", "completed %", "failed %", "mean s", "revision"], rows)])
    for problem in broken:
        click.secho(f"error: {problem}", fg="red", err=True)
    leave(ExitCode.PARTIAL if broken else ExitCode.OK)


def _line(document: dict[str, Any]) -> dict[str, Any]:
    tasks = document["task_statistics"]
    return {
        "date": document.get("date"),
        "total_tasks": tasks.get("total_tasks"),
        "completion_rate": tasks.get("completion_rate"),
        "failure_rate": tasks.get("failure_rate"),
        "average_processing_time": tasks.get("average_processing_time"),
        "revision": document.get("revision"),
    }


def _readable(document: dict[str, Any]) -> "Iterable[RenderableType]":
    yield _plain(f"Daily report {document.get('date')} ({document.get('timezone', 'local time')})")
    yield from _tasks(document["task_statistics"])
    yield from _performance(document.get("performance_statistics", {}))
    yield from _errors(document.get("error_statistics", {}))
    yield from _trend(document.get("trend_analysis", {}))
    yield from _quality(document.get("data_quality", {}))


def _tasks(tasks: dict[str, Any]) -> "Iterable[RenderableType]":
    times = tasks.get("processing_time", {})
    states = tasks.get("status_breakdown", {})
    yield _table(["tasks", *states], [[_cell(tasks.get("total_tasks")), *map(_cell, states.values())]])
    yield _plain(
        f"completed {_cell(tasks.get('completion_rate'))} %   failed {_cell(tasks.get('failure_rate'))} %"
        f" (95 %: {_cell(tasks.get('failure_rate_lower'))} to {_cell(tasks.get('failure_rate_upper'))})"
    )
    yield _plain(
        f"seconds: mean {_cell(tasks.get('average_processing_time'))}"
        + "".join(f"   {name} {_cell(times.get(key))}" for name, key in _TIMES)
    )


def _performance(performance: dict[str, Any]) -> "Iterable[RenderableType]":
    hours = [performance.get("hourly_distribution", {}).get(str(hour), 0) for hour in range(24)]
    yield _plain(f"hours 0-23: {_bars(hours)}   peak hour {_cell(performance.get('peak_hour'))}")
    if slowest := performance.get("slowest_tasks"):
        rows = [
            [_cell(one.get("task_id")), _cell(one.get("status")), _cell(one.get("processing_time"))] for one in slowest
        ]
        yield _table(["slowest task", "state", "seconds"], rows)


def _errors(errors: dict[str, Any]) -> "Iterable[RenderableType]":
    categories = errors.get("error_categories", {})
    if categories:
        ordered = sorted(categories.items(), key=lambda pair: (-pair[1], pair[0]))
        yield _table(["errors by category", "tasks"], [[_cell(name), _cell(count)] for name, count in ordered])
    if failed := errors.get("failed_tasks"):
        rows = [[_cell(one.get("task_id")), _cell(one.get("message"))[:_MESSAGE]] for one in failed[:5]]
        yield _table(["newest failed task", "message"], rows)
    retries = errors.get("retry_statistics", {})
    yield _plain(
        f"tasks that needed a retry: {_cell(retries.get('retried_tasks'))} ({_cell(retries.get('retried_share'))} %)"
    )


def _trend(trend: dict[str, Any]) -> "Iterable[RenderableType]":
    if past := trend.get("past_7_days"):
        keys = ("date", "total_tasks", "failed", "failure_rate", "average_processing_time")
        rows = [[_cell(day.get(key)) for key in keys] for day in past]
        yield _table(["days before", "tasks", "failed", "failed %", "mean s"], rows)
    yield _plain(f"against their mean: {_cell(trend.get('trend_percent'))} % ({_cell(trend.get('trend_direction'))})")
    for anomaly in trend.get("anomalies", []):
        yield _plain(
            f"unusual: {anomaly.get('series')} is {_cell(anomaly.get('value'))},"
            f" usual {_cell(anomaly.get('lower'))} to {_cell(anomaly.get('upper'))}"
        )


def _quality(quality: dict[str, Any]) -> "Iterable[RenderableType]":
    if told := [f"{name.replace('_', ' ')} {_cell(value)}" for name, value in quality.items() if value]:
        yield _plain("data quality: " + ", ".join(told))


def _bars(values: list[int]) -> str:
    highest = max(values, default=0)
    return "".join(_BARS[value * (len(_BARS) - 1) // highest] if highest else _BARS[0] for value in values)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, int | float):
        return f"{value:,}"
    # Texts come from the application's rows: nothing of them may act on the terminal.
    return "".join(char if char.isprintable() else " " for char in str(value))


def _plain(line: str) -> "RenderableType":
    from rich.text import Text

    return Text(_cell(line))


def _table(columns: "Iterable[str]", rows: "Iterable[list[str]]") -> "Table":
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE, show_edge=False)
    for number, name in enumerate(columns):
        table.add_column(
            name, justify="left" if number == 0 or name in {"message", "state"} else "right", overflow="fold"
        )
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _print(parts: "Iterable[RenderableType]") -> None:
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    for part in parts:
        console.print(part)
