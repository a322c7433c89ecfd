"""`gengfu demo`: a sample application to see the night's work on."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from app.core.database import Database
    from app.demo.create import DemoSummary
    from app.playback import Night


@click.group(name="demo")
def command() -> None:
    """Sample application: tables, tasks, receipts and files to try the program on."""


@command.command()
@click.option("--tasks", type=int, default=20_000, show_default=True, help="Number of tasks, 1 to 50,000,000.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed at the same instant: same rows.")
@click.option("--failing", is_flag=True, help="Many tasks of two of the last days failed, to see alerts rise and end.")
@click.option("--if-empty", is_flag=True, help="Do nothing, and say so, where the tables hold rows already.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
def create(*, tasks: int, seed: int, failing: bool, if_empty: bool, as_json: bool) -> None:
    """Fill the application's empty tables and the configured folders with sample data.

    60 days of tasks with receipts and small files, a temporary folder and old logs. Tables that hold rows and
    folders that hold somebody's files are refused.
    """
    from app.context import open_context
    from app.core.migrate import upgrade
    from app.demo.create import ROOT_NAMES, create_demo
    from app.retention.roots import init_roots

    with open_context() as context:
        if if_empty and _tasks_there(context.database):
            click.echo(f"no sample data made: {context.database.display_url} holds tasks already")
            return
        upgrade(context.database)
        with _progress(tasks) as advance:
            summary = create_demo(
                context.database,
                {name: context.roots[name] for name in ROOT_NAMES if name in context.roots},
                context.settings.paths.logs,
                tasks=tasks,
                seed=seed,
                now=context.clock.now(),
                zone=context.zone,
                on_progress=advance,
                failing=failing,
            )
        init_roots(context.database, context.folders, context.clock, one_spelling=True)
    click.echo(json.dumps(asdict(summary)) if as_json else _readable(summary))


@command.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each night.")
def nights(as_json: bool) -> None:
    """Play the last nights of an application made with `create --failing`: one alert rises, rises on, and ends.

    Only the clock is played with. It is told in the log files, on the console, and at a webhook on this machine.
    """
    from app.context import open_context
    from app.observability.structured_logs import configure_logs
    from app.playback import play

    with open_context() as context:
        configure_logs("app", context.settings.logging, context.settings.paths.logs)
        context.prepare_database()
        for night in play(context):
            click.echo(json.dumps(asdict(night), ensure_ascii=False, default=str) if as_json else _told(night))
        if not as_json:
            paths = context.settings.paths
            click.echo(f"alerts in {paths.logs / 'warning_alerts.log'}, critical_alerts.log and {paths.alert_reports}")


def _told(night: "Night") -> str:
    heard = [f"{alert['labels']['severity']} {body['status']}" for body in night.received for alert in body["alerts"]]
    webhook = f"; the webhook got: {', '.join(heard)}" if heard else ""
    events = ", ".join(night.events) or "nothing to tell"
    figures = f"{night.day}: {night.tasks:,} tasks, {night.failed_percent:g} % failed"
    return f"{night.at:%m-%d %H:%M}  {figures}: {events}{webhook}"


def _tasks_there(database: "Database") -> bool:
    from app.demo.rows import holds_rows

    with database.read() as connection:
        return holds_rows(connection)


@contextmanager
def _progress(tasks: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on stderr, if that is a terminal, while the block runs; nothing stays of it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("sample tasks"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("tasks", total=tasks)
        yield lambda done: progress.update(bar, completed=done)


def _readable(summary: "DemoSummary") -> str:
    return "\n".join(
        (
            f"Sample application created in {summary.seconds:.1f} s",
            f"  tasks      {summary.tasks:>12,}   {summary.expired_tasks:,} of them expired",
            f"  receipts   {summary.receipts:>12,}",
            f"  files      {summary.files:>12,}   {summary.bytes / 1e6:,.1f} MB",
            f"  temporary  {summary.temp_files:>12,}   {summary.expired_temp_files:,} of them older than 24 hours",
            f"  old logs   {summary.old_logs:>12,}   older than 30 days",
        )
    )
