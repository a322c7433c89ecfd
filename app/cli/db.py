"""`gengfu db`: the connection, and our own tables."""

import json
from typing import Any

import click

from app.cli import leave
from app.core.errors import ExitCode


@click.group()
def command() -> None:
    """Database: is it there, is it complete, bring our own tables up to date."""


@command.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
def check(as_json: bool) -> None:
    """Ask the database SELECT 1; tell its version, its latency and what is missing (exit 1)."""
    from app.context import open_context
    from app.health.checks.database import check_database

    with open_context() as context:
        facts = check_database(context.database, context.source, context.clock)
        if as_json:
            click.echo(json.dumps(facts, ensure_ascii=False, default=str))
        else:
            _print(context.database.display_url, facts)
    leave(ExitCode.OK if facts["status"] == "ok" else ExitCode.FAILED)


@command.command()
def upgrade() -> None:
    """Create or upgrade our own tables (prefix gengfu_); the application's tables are never changed."""
    from app.context import open_context
    from app.core.migrate import HEAD, upgrade

    with open_context() as context:
        before = upgrade(context.database)
        context.mark_log_folder()
        where = context.database.display_url
    click.echo(
        f"{where}: own tables are at version {HEAD}" + ("" if before == HEAD else f" (before: {before or 'none'})")
    )


def _print(url: str, facts: dict[str, Any]) -> None:
    if "latency_ms" not in facts:
        click.secho(facts["detail"] if url in facts["detail"] else f"{url}: {facts['detail']}", fg="red")
        return
    click.echo(f"{url}: SELECT 1 answered in {facts['latency_ms']} ms ({facts['version']})")
    for line in facts.get("missing", []):
        click.secho(f"missing: {line}", fg="red")
    if not facts.get("missing"):
        click.echo("own and application tables are complete")
