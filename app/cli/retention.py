"""`gengfu retention`: delete what has expired, look before, let pass what is held, bring back what went."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from app.cli import leave
from app.cli._orphans import orphans
from app.core.errors import BadArgument, ExitCode

if TYPE_CHECKING:
    from app.context import Context
    from app.retention.folder_plan import FolderPlan
    from app.retention.rule_plan import RulePlan


@click.group()
def command() -> None:
    """Retention: expired rows with their files, temporary files, logs."""


command.add_command(orphans)

_INTERRUPTED = 128 + signal.SIGINT  # as shells tell it
_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
_rules = click.option(
    "--rule", "rules", multiple=True, metavar="NAME", help="Only this rule; may be given several times."
)


@command.command()
@_rules
@click.option("--dry-run", is_flag=True, help="Only count what would go; nothing is changed.")
@click.option("--budget", metavar="TIME", help="Stop after this long, such as 10m; the next run goes on.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole result as one JSON object.")
def run(rules: tuple[str, ...], dry_run: bool, budget: str | None, as_json: bool) -> None:
    """Delete what has expired, by the rules in config/retention.toml.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 held by a guard or because a root is not what it should be,
    4 another clean-up runs, 5 something could not be done now, 130 interrupted.
    """
    from msgspec import structs

    from app.cli._night import told
    from app.cli._retention_progress import shown
    from app.context import open_context
    from app.execution.confinement import confine_process
    from app.jobs import run_here
    from app.observability.structured_logs import configure_logs

    arguments: dict[str, Any] = {"dry_run": dry_run, "rules": list(rules) or None}
    if budget is not None:
        arguments["budget_s"] = _span(budget).total_seconds()
    with _interruptible(dry_run=dry_run), open_context() as context, nullcontext() if dry_run else shown() as bars:
        logging = context.settings.logging
        if bars is not None:
            arguments |= {"on_progress": bars.advance, "on_stage": bars.begin}
            # The log file has it all; lines between the bars would tear them.
            logging = structs.replace(logging, console="off" if logging.console == "auto" else logging.console)
        configure_logs("app", logging, context.settings.paths.logs)
        if not dry_run:
            confine_process(context)
        done = run_here(context, "cleanup-expired-tasks", **arguments)
    if as_json:
        click.echo(json.dumps(done.result, ensure_ascii=False, indent=2))
    else:
        click.echo(told(done.job, done.result))
        if "run_id" in done.result and not dry_run:
            click.echo(f"  run {done.result['run_id']}")  # what `undo` and `approve` ask for
    leave(done.exit_code)


@command.command()
@_as_json
def status(as_json: bool) -> None:
    """Show each rule's backlog, lag and last runs, and files of deleted rows that are still to go."""
    from app.cli._retention_tables import print_status
    from app.retention.status import retention_status

    with _ready() as context:
        facts = retention_status(context.database, context.source, context.settings.retention, context.folders)
        zone = context.zone
    if as_json:
        click.echo(json.dumps(facts, ensure_ascii=False, indent=2))
    else:
        print_status(facts, zone)


@command.command(name="rules")
@_as_json
def rules_(as_json: bool) -> None:
    """List every rule in the order in which they run."""
    from app.cli._retention_tables import print_rules
    from app.context import open_context
    from app.core.settings_reader import plain
    from app.retention.remembered import remembered
    from app.retention.rules import row_rules

    with open_context() as context:
        settings = context.settings.retention
        found = row_rules(context.source, settings, context.folders)
    told = [{"name": rule.name, "order": rule.order, **remembered(rule)} for rule in found]
    folders = [{"name": name, **plain(rule)} for name, rule in settings.folders.items()]
    if as_json:
        click.echo(json.dumps({"rows": told, "folders": folders}, ensure_ascii=False, indent=2))
    else:
        print_rules(told, folders)


@command.command()
@_as_json
def check(as_json: bool) -> None:
    """Hold every rule against the live tables: columns, types, indexes, foreign keys, rights, triggers.

    What is missing is named with the statement that mends it. Exit codes: 0 every rule can run, 2 one can't.
    """
    from app.cleaning import workplace
    from app.cli._retention_tables import print_checks
    from app.retention.check import check_rules

    with _ready() as context:
        found = check_rules(workplace(context))
    if as_json:
        click.echo(json.dumps([one.told() for one in found], ensure_ascii=False, indent=2))
    else:
        print_checks(found)
    leave(ExitCode.USAGE if any(one.refused for one in found) else ExitCode.OK)


@command.command()
@_rules
@_as_json
def plan(rules: tuple[str, ...], as_json: bool) -> None:
    """Show what each rule would delete now: rows, children, files, bytes, what stays and why, and the index used.

    Rules of folders are told too. Nothing is locked or changed. Large tables are estimated, with bounds. Exit code 3: a
    rule would be held or refused.
    """
    from app.cleaning import workplace
    from app.cli._retention_tables import print_plans
    from app.retention.folder_plan import plan_all

    with _ready() as context:
        of_rows, of_folders = plan_all(workplace(context), list(rules) or None)
    found: list[RulePlan | FolderPlan] = [*of_rows, *of_folders]
    if as_json:
        click.echo(json.dumps([one.told() for one in found], ensure_ascii=False, indent=2))
    else:
        print_plans(of_rows, of_folders)
    leave(ExitCode.HELD if any(one.state != "go" for one in found) else ExitCode.OK)


@command.command()
@click.argument("run_id", metavar="RUN")
@_rules
@_as_json
def approve(run_id: str, rules: tuple[str, ...], as_json: bool) -> None:
    """Let the rules that RUN held pass once, in their next run.

    It covers the reasons that were told and at most twice the rows; who approved is recorded.
    """
    from app.retention.rule_runs import RuleRuns

    with _ready() as context:
        approved = RuleRuns(context.database, context.clock).approve(run_id, _who(), rules)
    if as_json:
        names = [{"rule": run.rule, "reasons": [reason.text for reason in run.reasons]} for run in approved]
        click.echo(json.dumps({"run_id": run_id, "approved_by": _who(), "rules": names}, ensure_ascii=False, indent=2))
        return
    for run in approved:
        click.echo(f"{run.rule}: passes in its next run, once, although it")
        for reason in run.reasons:
            click.echo(f"  {reason.text}")


@command.command()
@click.argument("run_id", metavar="RUN")
@click.option("--dry-run", is_flag=True, help="Only tell what could be brought back.")
@_as_json
def undo(run_id: str, dry_run: bool, as_json: bool) -> None:
    """Bring back the rows and files that RUN deleted, as long as `[retention] keep_deleted` keeps them.

    Nothing is overwritten; running it again is harmless. Exit codes: 0 all is back, 2 nothing is kept, 4 a clean-up
    runs, 5 something could not be brought back.
    """
    from app.cleaning import workplace
    from app.cli._retention_tables import print_undone
    from app.retention import undo as undoing
    from app.schedule.runs import new_run_id

    with _ready() as context:
        done = undoing.undo(workplace(context), run_id, undo_id=new_run_id(), dry_run=dry_run)
        zone = context.zone
    if as_json:
        click.echo(json.dumps(done.told(), ensure_ascii=False, indent=2))
    else:
        print_undone(done, zone)
    leave(ExitCode.OK if dry_run or done.complete else ExitCode.PARTIAL)


@command.command()
@_as_json
def retry(as_json: bool) -> None:
    """Let the next clean-up try stuck files again, once their cause is mended."""
    from app.retention.outbox import retry_stuck

    with _ready() as context:
        files = retry_stuck(context.database, context.clock)
    click.echo(json.dumps({"files": files}) if as_json else f"{files:,} stuck files will be tried again")


@contextmanager
def _ready() -> "Iterator[Context]":
    """The wired parts, with our own tables there; the application's are each command's affair."""
    from app.context import open_context

    with open_context() as context:
        context.prepare_own_tables()
        yield context


@contextmanager
def _interruptible(*, dry_run: bool) -> Iterator[None]:
    """On Ctrl-C tell how things stand."""
    try:
        yield
    except KeyboardInterrupt:
        stands = (
            "nothing was changed" if dry_run else "what it did is done and counted, the rest waits for the next run"
        )
        click.echo(f"\ninterrupted: {stands}", err=True)
        leave(_INTERRUPTED)


def _span(text: str) -> timedelta:
    from app.core.measures import parse_age

    try:
        span = parse_age(text)
    except ValueError as error:
        raise BadArgument(f"--budget: {error}") from error
    if not span:
        raise BadArgument("--budget: no time at all; give it a minute at least, such as 1m")
    return span


def _who() -> str:
    import getpass
    import socket

    return f"{getpass.getuser()}@{socket.gethostname()}"
