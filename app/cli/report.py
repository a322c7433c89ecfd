"""`gengfu report`: what the nights found out, for people and for other programs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.cli import leave
from app.core.errors import BadArgument, ExitCode, GengfuError

if TYPE_CHECKING:
    from datetime import date

    from app.settings import Paths, Settings


@click.group()
def command() -> None:
    """Reports: read, compare and export what the nights found out."""


@command.command()
@click.argument("day", required=False)
@click.option("--compare", "other", metavar="DAY", help="Show the figures of this day beside them.")
@click.option("--json", "as_json", is_flag=True, help="The stored JSON document itself.")
def show(day: str | None, other: str | None, as_json: bool) -> None:
    """Show the report of DAY (YYYY-MM-DD; without it, the newest)."""
    from app.cli._report_view import print_comparison, print_report
    from app.reporting.export import json_text
    from app.reporting.page_files import disk_samples
    from app.reporting.report_files import load_report, parse_day, report_name

    if other and as_json:
        raise click.UsageError("--compare is for people; `report export` gives both days to programs")
    folder = _settings().paths.daily_reports
    chosen = _chosen(folder, day)
    document = load_report(folder, chosen)
    if as_json:
        click.echo(json_text(document))
    elif other:
        print_comparison(document, load_report(folder, parse_day(other)))
    else:
        samples = disk_samples(folder / report_name(chosen))
        print_report(document, _address(_page(folder, chosen)), samples)


@command.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of a table.")
def list_reports(as_json: bool) -> None:
    """List the stored reports, the newest first."""
    from app.cli._report_view import print_table
    from app.reporting.export import json_text
    from app.reporting.page_values import percent, seconds, shown
    from app.reporting.report_files import load_report, stored_days

    folder = _settings().paths.daily_reports
    lines: list[dict[str, Any]] = []
    broken: list[GengfuError] = []
    for day in reversed(stored_days(folder)):
        try:
            lines.append(_line(load_report(folder, day), _page(folder, day)))
        except GengfuError as error:
            broken.append(error)
    if as_json:
        click.echo(json_text(lines, indent=None))
    elif not lines and not broken:
        click.echo(_none_yet(folder), err=True)
    else:
        rows = [
            [
                shown(line["date"]),
                shown(line["total_tasks"]),
                percent(line["completion_rate"]),
                percent(line["failure_rate"]),
                seconds(line["average_processing_time"]),
                shown(line["revision"]),
                "yes" if line["page"] else "no",
            ]
            for line in lines
        ]
        names = ["day", "tasks", "completed", "failed", "mean", "revision", "page"]
        print_table(names, rows, texts=frozenset({0}))
    for problem in broken:
        click.secho(f"error: {problem}", fg="red", err=True)
    leave(ExitCode.PARTIAL if broken else ExitCode.OK)


@command.command(name="open")
@click.argument("name", required=False)
def open_page(name: str | None) -> None:
    """Print the address of the page of NAME: a day (YYYY-MM-DD), a week (2026-W11) or a month (2026-03).

    Without NAME the newest day's. A page that is not there yet is drawn from the stored report.
    """
    from app.reporting.page_files import page_path, write_page

    settings = _settings()
    report = _report_file(settings.paths, name)
    page = page_path(report)
    if not page.exists():
        write_page(report, settings.general.language)
    click.echo(_address(page))


@command.command()
@click.option(
    "--format", "form", type=click.Choice(["json", "csv"]), required=True, help="JSON array or CSV (RFC 4180)."
)
@click.option("--from", "first", metavar="DAY", help="First day; without it, the oldest that is stored.")
@click.option("--to", "last", metavar="DAY", help="Last day; without it, the newest.")
@click.option(
    "--failed-tasks", "tasks", is_flag=True, help="The failed tasks that the reports describe, instead of the days."
)
def export(form: str, first: str | None, last: str | None, tasks: bool) -> None:
    """Write the stored figures of each day, or failed tasks, to standard output for other programs."""
    from app.cli._report_export import failed_tasks, span_of, stored_figures
    from app.reporting.export import TASK_COLUMNS, as_csv, day_columns, json_text

    days = span_of(first, last)
    lines = list(failed_tasks(days) if tasks else stored_figures(days))
    if form == "json":
        click.echo(json_text(lines))
        return
    for line in as_csv(TASK_COLUMNS if tasks else day_columns(lines), lines):
        click.echo(line, nl=False)


@command.command()
@click.option("--from", "first", metavar="DAY", required=True, help="First day, YYYY-MM-DD.")
@click.option("--to", "last", metavar="DAY", help="Last day; without it, yesterday.")
@click.option("--recompute", is_flag=True, help="Count days again whose figures are stored.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array with what became of each day.")
def backfill(first: str, last: str | None, recompute: bool, as_json: bool) -> None:
    """Compute and store the figures of days that have none, from the rows that are still there.

    With --recompute the reports of days whose figures changed are written anew.
    Exit 5 where rows of a day are gone, so that its figures can't be told any more.
    """
    from datetime import timedelta

    from app.cli._report_backfill import UNTOLD, line_of, tell, watched
    from app.context import open_context
    from app.core.clock import local_date
    from app.counted_days import complete_since, rewrite_outdated
    from app.reporting.backfill import backfill as compute
    from app.reporting.export import json_text
    from app.reporting.report_files import parse_day

    start = parse_day(first)
    with open_context() as context:
        context.prepare_database()
        yesterday = local_date(context.clock.now(), context.zone) - timedelta(days=1)
        end = parse_day(last) if last else yesterday
        steps = compute(
            context.database,
            context.source,
            context.settings.reporting,
            context.zone,
            context.clock,
            start,
            end,
            recompute=recompute,
            complete_since=complete_since(context),
        )
        days = (end - start).days + 1
        done = list(watched(steps, days))
        rewritten = rewrite_outdated(context, end + timedelta(days=1), days=days) if recompute else []
    if as_json:
        click.echo(json_text([line_of(one) for one in done]))
    else:
        tell(done)
    if rewritten:
        click.echo(f"reports written anew: {', '.join(map(str, rewritten))}", err=True)
    leave(ExitCode.PARTIAL if any(one.state in UNTOLD for one in done) else ExitCode.OK)


@command.command()
@click.argument("day")
@click.argument("series")
@click.option("--json", "as_json", is_flag=True, help="The verdict and the steps as one JSON object.")
def explain(day: str, series: str, as_json: bool) -> None:
    """Print how the verdict on SERIES of DAY came about, so that it can be computed again by hand.

    SERIES is total_tasks, completed, failed, failure_rate or average_processing_time.
    """
    from dataclasses import asdict

    from app.cli._report_view import print_lines
    from app.context import open_context
    from app.reporting.explain import explain as explained
    from app.reporting.export import json_text
    from app.reporting.page_values import shown
    from app.reporting.report_files import parse_day
    from app.reporting.rollups import Rollups

    chosen = parse_day(day)
    with open_context() as context:
        context.prepare_own_tables()
        found = explained(Rollups(database=context.database, zone=context.zone, clock=context.clock), chosen, series)
    if as_json:
        click.echo(json_text(asdict(found)))
        return
    for number, step in enumerate(found.steps, start=1):
        print_lines([f"{number}. {shown(step.title)}", *(f"   {shown(line)}" for line in step.lines)])


def _settings() -> "Settings":
    from app.context import open_context

    with open_context() as context:
        return context.settings


def _chosen(folder: Path, day: str | None) -> "date":
    from app.reporting.report_files import parse_day, stored_days

    days = [parse_day(day)] if day else stored_days(folder)[-1:]
    if not days:
        raise BadArgument(_none_yet(folder))
    return days[0]


def _none_yet(folder: Path) -> str:
    return f"there is no report in {folder} yet; the night's statistics write the first one"


def _line(document: dict[str, Any], page: Path | None) -> dict[str, Any]:
    tasks = document["task_statistics"]
    return {
        "date": document.get("date"),
        "total_tasks": tasks.get("total_tasks"),
        "completion_rate": tasks.get("completion_rate"),
        "failure_rate": tasks.get("failure_rate"),
        "average_processing_time": tasks.get("average_processing_time"),
        "revision": document.get("revision"),
        "page": _address(page),
    }


def _page(folder: Path, day: "date") -> Path | None:
    from app.reporting.page_files import page_path
    from app.reporting.report_files import report_name

    path = page_path(folder / report_name(day))
    return path if path.exists() else None


def _address(page: Path | None) -> str | None:
    return None if page is None else page.as_uri()


def _report_file(paths: "Paths", name: str | None) -> Path:
    """Return the stored report of a day, week or month. Raises BadArgument where there is none."""
    from app.reporting.periods import parse_period
    from app.reporting.report_files import report_name

    if name and "-W" in name:
        path = paths.weekly_reports / parse_period("weekly", name).file_name
    elif name and len(name) == len("2026-03"):
        path = paths.monthly_reports / parse_period("monthly", name).file_name
    else:
        path = paths.daily_reports / report_name(_chosen(paths.daily_reports, name))
    if not path.exists():
        raise BadArgument(f"there is no report {path}; `gengfu report list` names the days there are")
    return path
