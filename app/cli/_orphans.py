"""`gengfu retention orphans`: files that no row names."""

import json
from typing import TYPE_CHECKING, Any

import click

from app.cli import leave
from app.core.errors import ExitCode

if TYPE_CHECKING:
    from app.retention.orphans import Orphans, Search
    from app.retention.trash import Restored

_MB = 1_000_000


@click.command()
@click.option("--root", "names", multiple=True, help="Look only below this root; may be given several times.")
@click.option("--quarantine", is_flag=True, help="Move what was found aside; the clean-up removes it after seven days.")
@click.option(
    "--share", type=float, default=0.1, show_default=True, help="Move nothing where more than this part is orphaned."
)
@click.option(
    "--despite-unexplained", is_flag=True, help="Move even though rows name files in a way that no alias explains."
)
@click.option("--restore", metavar="RUN", help="Bring back what the quarantine of this run took.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
def orphans(
    names: tuple[str, ...],
    *,
    quarantine: bool,
    share: float,
    despite_unexplained: bool,
    restore: str | None,
    as_json: bool,
) -> None:
    """Find files older than a day that no row names; nothing is changed unless you ask for it.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a root is held, 4 a clean-up runs, 5 something could not be moved.
    """
    from app.cleaning import workplace
    from app.context import open_context
    from app.observability.structured_logs import configure_logs
    from app.retention.orphans import find_orphans, quarantine_orphans, restore_orphans
    from app.schedule.runs import new_run_id

    if restore and (quarantine or names):
        raise click.UsageError("--restore brings back a whole run; it goes with neither --quarantine nor --root")
    run_id = new_run_id()
    with open_context() as context:
        configure_logs("app", context.settings.logging, context.settings.paths.logs)
        context.prepare_own_tables()
        place = workplace(context)
        if restore:
            back = restore_orphans(place, restore)
            _tell_restored(back, restore, as_json=as_json)
            leave(ExitCode.PARTIAL if back.failed or back.taken or back.missing else ExitCode.OK)
            return
        found = (
            quarantine_orphans(place, run_id=run_id, names=names, share=share, despite_unexplained=despite_unexplained)
            if quarantine
            else find_orphans(place, run_id=run_id, names=names)
        )
    if as_json:
        click.echo(json.dumps(_told(found), ensure_ascii=False, indent=2))
    else:
        _tell(found)
    held = any(root.why_held for root in found.roots)
    leave(ExitCode.HELD if held else ExitCode.PARTIAL if found.problems else ExitCode.OK)


def _told(found: "Search") -> dict[str, Any]:
    return {"run_id": found.run_id, "roots": [root.told() for root in found.roots], "errors": list(found.problems)}


def _tell(found: "Search") -> None:
    for root in found.roots:
        _tell_root(root)
    for line in found.problems:
        click.secho(line, fg="red", err=True)
    if moved := sum(root.moved for root in found.roots):
        click.echo(
            f"{moved:,} moved aside; the clean-up removes them after seven days. "
            f"Back again: gengfu retention orphans --restore {found.run_id}"
        )


def _tell_root(root: "Orphans") -> None:
    click.echo(f"{root.root}: {root.orphans:,} of {root.files:,} files are orphans, {root.bytes / _MB:,.1f} MB on disk")
    if root.kept:
        click.echo("  not orphans: " + ", ".join(f"{count:,} {reason}" for reason, count in sorted(root.kept.items())))
    for path in root.examples:
        click.echo(f"  {path}")
    if root.orphans > len(root.examples):
        click.echo(f"  and {root.orphans - len(root.examples):,} more")
    if root.unexplained:
        click.echo(f"  {root.unexplained:,} rows name files by an absolute path or an address that no alias explains")
    if root.why_held:
        click.secho(f"  held: {root.why_held}", fg="yellow")


def _tell_restored(back: "Restored", run: str, *, as_json: bool) -> None:
    told = {"files": back.files, "bytes": back.bytes, "taken": back.taken, "missing": back.missing}
    told |= {"failed": back.failed}
    if as_json:
        click.echo(json.dumps({"run_id": run, **told, "lines": back.told}, ensure_ascii=False, indent=2))
        return
    click.echo(f"{back.files:,} files are back, {back.bytes / _MB:,.1f} MB")
    for line in back.told:
        click.echo(f"  {line}")
