"""`gengfu health`: the state of what the program stands on."""

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from app.cli import leave
from app.core.errors import ExitCode

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

_BAR = 10
_DAY_H = 24
_MOST_HOURS = 2 * _DAY_H
_COLOURS = {"normal": "green", "warning": "yellow", "critical": "red"}


@click.group()
def command() -> None:
    """Health: what the program stands on."""


@command.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def disk(as_json: bool) -> None:
    """Measure every configured disk and tell when it will be full; keeps no sample, sends no alert.

    Exits 1 if nothing could be measured, 5 if some of it could not.
    """
    from app.context import open_context
    from app.jobs import look_at_disks

    with open_context() as context:
        result = look_at_disks(context)
    if as_json:
        click.echo(json.dumps(result, ensure_ascii=False, indent=2))
    else:
        _print(result)
    for line in result["history_errors"]:
        click.secho(f"not seen: earlier samples: {_clean(line)}", fg="yellow", err=True)
    for error in result["errors"]:
        click.secho(f"error: {_clean(error['path'])}: {_clean(error['why'])}", fg="red", err=True)
    if not result["success"]:
        leave(ExitCode.FAILED)
    leave(ExitCode.PARTIAL if result["errors"] else ExitCode.OK)


def _print(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.text import Text

    if not result["mounts"]:
        return
    console = Console(highlight=False, markup=False, emoji=False)
    console.print(_table(result["mounts"]))
    for mount in result["mounts"]:
        space, inodes = mount["forecast"], mount["inode_forecast"]
        console.print(Text(f"{_clean(mount['mount'])}: {_told(space)}"))
        if inodes is not None and inodes["hours_left"] is not None:
            console.print(Text(f"{_clean(mount['mount'])}, inodes: {_told(inodes)}"))


def _told(found: dict[str, Any]) -> str:
    return f"{found['verdict']}: {found['reason']}"


def _table(mounts: list[dict[str, Any]]) -> "Table":
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE, show_edge=False, pad_edge=False)
    table.add_column("mount", overflow="fold")
    table.add_column("used", no_wrap=True)
    for name in ("free", "of", "inodes", "full"):
        table.add_column(name, justify="right", no_wrap=True)
    for mount in mounts:
        inodes = mount["inodes_percent"]
        table.add_row(
            Text(_clean(mount["mount"]) + (" (read-only)" if mount["read_only"] else "")),
            _usage(mount["usage_percent"], mount["status"]),
            Text(f"{mount['free_gb']:,.1f} GB"),
            Text(f"{mount['total_gb']:,.1f} GB"),
            Text("-" if inodes is None else f"{inodes:.0f} %", style=_COLOURS[mount["inodes_status"]]),
            Text(_when(mount["forecast"], mount["inode_forecast"])),
        )
    return table


def _usage(percent: float, status: str) -> "Text":
    from rich.text import Text

    filled = min(_BAR, max(1, round(percent / 100 * _BAR))) if percent else 0
    return Text.assemble(("█" * filled + "░" * (_BAR - filled), _COLOURS[status]), f" {percent:3.0f} %")


def _when(space: dict[str, Any], inodes: dict[str, Any] | None) -> str:
    """The sooner of both, in hours or with its day; otherwise what can be said of the space."""
    filling = [found for found in (space, inodes) if found is not None and found["hours_left"] is not None]
    if not filling:
        return "?" if space["verdict"] == "insufficient data" else "steady"
    soonest = min(filling, key=lambda found: float(found["hours_left"]))
    hours = float(soonest["hours_left"])
    if not hours:
        return "full"
    if hours < _MOST_HOURS:
        return f"in {hours:.0f} h"
    return f"in {hours / _DAY_H:.0f} d, {datetime.fromisoformat(soonest['full_at']):%m-%d}"


def _clean(text: str) -> str:
    """Mount names come from outside: nothing of them may act on the terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
