"""`gengfu report backfill`: progress and summary."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app.reporting.backfill import DayDone

UNTOLD = frozenset({"rows gone"})
"""States of a day whose figures can't be told any more."""


def watched(steps: Iterable[DayDone], total: int) -> Iterator[DayDone]:
    """Yield the days with a bar on standard error; none where that is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("days", total=max(0, total))
        for done in steps:
            progress.update(bar, advance=1, description=str(done.day))
            yield done


def line_of(done: DayDone) -> dict[str, Any]:
    """Return what became of a day as JSON has it."""
    return {
        "date": done.day.isoformat(),
        "state": done.state,
        "rows": done.rows,
        "revision": done.revision,
        "why": done.why or None,
    }


def tell(done: list[DayDone]) -> None:
    """Print how many days came to which end, and those whose figures can't be told any more."""
    for state, days in Counter(one.state for one in done).items():
        click.echo(f"{state}: {days:,} days")
    for one in done:
        if one.state in UNTOLD:
            click.echo(f"{one.day}: {one.why}")
