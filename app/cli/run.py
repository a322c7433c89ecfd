"""`gengfu run`: a job in this process, without broker or worker."""

import json

import click

from app.cli import leave
from app.core.errors import BadArgument


@click.command()
@click.argument("name", required=False)
@click.option("--night", is_flag=True, help="The night's jobs in their order, with a summary.")
@click.option("--day", help="Statistics: the local day to report, YYYY-MM-DD.")
@click.option("--dry-run", is_flag=True, help="Clean-up: only count what would go.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole result as one JSON object.")
def command(name: str | None, night: bool, day: str | None, dry_run: bool, as_json: bool) -> None:
    """Run the job NAME here and now and print its result; exits non-zero if it failed."""
    if night == bool(name):
        raise click.UsageError("give the name of a job, or --night; `celery_beat_manager.py list` shows all names")
    if night:
        _night()
        return
    from app.cli._night import told
    from app.context import open_context
    from app.jobs import run_here
    from app.observability.structured_logs import configure_logs

    with open_context() as context:
        configure_logs("app", context.settings.logging, context.settings.paths.logs)
        done = run_here(context, str(name), **_arguments(str(name), day, dry_run=dry_run))
    click.echo(json.dumps(done.result, ensure_ascii=False, indent=2) if as_json else told(done.job, done.result))
    leave(done.exit_code)


def _arguments(name: str, day: str | None, *, dry_run: bool) -> dict[str, object]:
    arguments: dict[str, object] = {}
    if day is not None:
        _only_for(name, "generate-daily-statistics", "--day")
        arguments["day"] = day
    if dry_run:
        _only_for(name, "cleanup-expired-tasks", "--dry-run")
        arguments["dry_run"] = True
    return arguments


def _only_for(name: str, job: str, option: str) -> None:
    if name != job:
        raise BadArgument(f"{option} belongs to {job}, not to {name}")


def _night() -> None:
    from app.cli._night import NIGHT, summary
    from app.context import open_context
    from app.jobs import run_here
    from app.observability.structured_logs import configure_logs

    with open_context() as context:
        configure_logs("app", context.settings.logging, context.settings.paths.logs)
        runs = [run_here(context, name) for name in NIGHT]
        for line in summary(context.settings.paths, {run.job: run.result for run in runs}):
            click.echo(line)
    leave(max(run.exit_code for run in runs))
