"""`gengfu retention`: delete what has expired, see what would go, and what is still to go."""

import json
from typing import Any

import click

from app.cli import leave


@click.group()
def command() -> None:
    """Retention: expired rows with their files, temporary files, logs."""


@command.command()
@click.option("--dry-run", is_flag=True, help="Only count what would go; nothing is changed.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole result as one JSON object.")
def run(dry_run: bool, as_json: bool) -> None:
    """Delete what has expired, by the periods in config/retention.toml.

    Exit codes: 0 done, 1 failed, 3 held because a root is not what it should be, 4 another clean-up runs,
    5 something could not be done now.
    """
    from app.cli._night import told
    from app.context import open_context
    from app.jobs import run_here
    from app.observability.structured_logs import configure_logs

    with open_context() as context:
        configure_logs("app", context.settings.logging, context.settings.paths.logs)
        done = run_here(context, "cleanup-expired-tasks", dry_run=dry_run)
    click.echo(json.dumps(done.result, ensure_ascii=False, indent=2) if as_json else told(done.job, done.result))
    leave(done.exit_code)


@command.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
def status(as_json: bool) -> None:
    """Show what has expired, what expires within a day, and files of deleted rows that are still to go."""
    from app.context import open_context
    from app.retention.status import retention_status

    with open_context() as context:
        context.prepare_database()
        facts = retention_status(context.database, context.source, context.settings.retention)
    if as_json:
        click.echo(json.dumps(facts, ensure_ascii=False, indent=2))
    else:
        _print(facts)


def _print(facts: dict[str, Any]) -> None:
    for state, count in facts["expired"].items():
        soon = facts["expires_within_24_h"][state]
        click.echo(f"{state}: {count:,} expired, {soon:,} more within 24 hours")
    if facts["lag_hours"]:
        click.echo(f"the oldest expired row should have gone {facts['lag_hours']:,} hours ago")
    retry = f", next attempt {facts['next_retry_at']}" if facts["next_retry_at"] else ""
    click.echo(f"files of deleted rows: {facts['pending_files']:,} still to go{retry}")
    if facts["stuck_files"]:
        click.secho(f"{facts['stuck_files']:,} could not be removed in five attempts, among them:", fg="red")
        for file in facts["stuck"]:
            click.echo(f"  {file['root']}: {file['path']}")
