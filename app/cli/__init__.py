"""The command line: one file for each noun, found by itself; heavy imports wait until a command runs."""

import gc
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from app import __version__
from app.core.errors import ExitCode, GengfuError


class ErrorsInOneLine(click.Group):
    """A group that tells our errors in one line and exits with their code; a bug keeps its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except GengfuError as error:
            for line in str(error).splitlines():
                click.secho(f"error: {line}", fg="red", err=True)
            ctx.exit(error.exit_code)


class Nouns(ErrorsInOneLine):
    """Loads a noun's module only when that noun is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(name for _, name, _ in pkgutil.iter_modules([str(Path(__file__).parent)]) if name[0] != "_")

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = import_module(f"app.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:  # the nearest is looked for among commands that are loaded already
            nouns = self.list_commands(ctx)
            raise click.NoSuchCommand(error.command_name, possibilities=nouns, ctx=ctx) from None


@click.group(cls=Nouns, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="gengfu")
def gengfu() -> None:
    """Gengfu, the night watchman: statistics, clean-up, disk checks and alerts for Celery applications."""


@contextmanager
def uncollected() -> Iterator[None]:
    """Look for no garbage meanwhile: what a short command imports all stays, and looking takes a tenth of its time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def leave(code: ExitCode | int) -> None:
    """End the command with this exit code; 0 just returns."""
    if code:
        click.get_current_context().exit(int(code))
