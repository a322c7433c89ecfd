"""`gengfu config`: show, check and create settings."""

import json
import os
from pathlib import Path

import click

from app.core.errors import ExitCode, OutputUnwritable


@click.group()
def command() -> None:
    """Settings: what is in force, whether it is right, a fresh copy to edit."""


@command.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
def show(as_json: bool) -> None:
    """Print every setting in force; secrets are masked."""
    from app.settings import load, shown

    settings = shown(load())
    if as_json:
        click.echo(json.dumps(settings, ensure_ascii=False, indent=2, default=str))
        return
    for line in _lines(settings, ()):
        click.echo(line)


@command.command()
def check() -> None:
    """Check every setting; exit 2 and one line for each that is wrong."""
    from app.context import make_context
    from app.jobs import check_schedule
    from app.settings import CONFIG_FILES, config_folder, ignored_aliases, load

    settings = load()
    check_schedule(settings)
    make_context(settings).database.dispose()
    found = [name for name in CONFIG_FILES if (config_folder() / name).exists()]
    click.echo(f"ok: {len(found)} files in {config_folder()}, time zone {settings.zone}, home {settings.home}")
    for name in ignored_aliases(os.environ):
        click.secho(f"note: environment {name} is set and means nothing to this version", fg="yellow", err=True)


@command.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def create(folder: Path) -> None:
    """Write commented copies of all settings files to FOLDER; existing files stay as they are."""
    from app.settings import CONFIG_FILES, shipped_config

    kept = 0
    for name in CONFIG_FILES:
        target = folder / name
        if target.exists():
            kept += 1
            click.secho(f"kept {target}: it exists already", fg="yellow", err=True)
            continue
        _copy(shipped_config() / name, target)
        click.echo(f"wrote {target}")
    click.echo(f"use them with GENGFU_CONFIG={folder.resolve()}")
    if kept:
        click.get_current_context().exit(ExitCode.PARTIAL)


def _copy(shipped: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(shipped.read_text(encoding="utf-8"), encoding="utf-8")
    except OSError as error:
        raise OutputUnwritable(
            f"can't write {target}: {error.strerror}; name a folder that you may write to"
        ) from error


def _lines(value: object, above: tuple[str, ...]) -> list[str]:
    if isinstance(value, dict) and value:
        return [line for key, inner in value.items() for line in _lines(inner, (*above, key))]
    return [f"{'.'.join(above)} = {json.dumps(value, ensure_ascii=False, default=str)}"]
