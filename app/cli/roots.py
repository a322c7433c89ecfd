"""`gengfu roots`: the folders in which files may be removed."""

import json
from typing import TYPE_CHECKING, Any

import click

from app.cli import leave
from app.core.errors import ExitCode

if TYPE_CHECKING:
    from app.retention.roots import RootState


@click.group()
def command() -> None:
    """Roots: the only folders in which files are ever removed."""


@command.command()
@click.argument("names", nargs=-1)
@click.option("--one-spelling", is_flag=True, help="All rows spell a file's name alike, on a disk that ignores case.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of lines.")
def init(names: tuple[str, ...], one_spelling: bool, as_json: bool) -> None:
    """Mark the roots NAMES (all without names) with .gengfu-root and remember their ids in the database.

    Folders are created where they are missing. Run it again to accept another volume.
    """
    from app.context import open_context
    from app.retention.roots import init_roots, root_folders

    with open_context() as context:
        context.prepare_own_tables()
        paths = context.settings.paths
        folders = root_folders(context.settings.retention, paths.below_home, paths.logs)
        states = init_roots(context.database, folders, context.clock, names, one_spelling=one_spelling)
    _print(states, as_json=as_json)


@command.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of lines.")
def list_(as_json: bool) -> None:
    """Show every root and whether files may be removed there; exits 3 if one is held."""
    from app.context import open_context
    from app.retention.roots import list_roots, root_folders

    with open_context() as context:
        context.prepare_own_tables()
        paths = context.settings.paths
        states = list_roots(context.database, root_folders(context.settings.retention, paths.below_home, paths.logs))
    _print(states, as_json=as_json)
    leave(ExitCode.HELD if any(state.why_held for state in states) else ExitCode.OK)


def _print(states: "list[RootState]", *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([_plain(state) for state in states], ensure_ascii=False, indent=2))
        return
    for state in states:
        click.echo(f"{state.name:<14} {'held ' if state.why_held else 'ready'}  {state.path}")
        if state.why_held:
            click.secho(f"{'':<14} {state.why_held}", fg="yellow")


def _plain(state: "RootState") -> dict[str, Any]:
    return {"name": state.name, "path": str(state.path), "id": state.marker_id, "held": state.why_held}
