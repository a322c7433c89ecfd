"""The bars of `gengfu retention run`: one for each rule that deletes, one for the files its rows leave behind."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task
from rich.table import Column
from rich.text import Text

if TYPE_CHECKING:
    from app.retention.workplace import Stage

_NAME_COLUMNS = 18
_SIGNS = {"exact": "", "estimate": "~", "bound": ">="}


class RunProgress:
    """Takes what a clean-up tells of itself; without a terminal it shows nothing."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._stage: Stage | None = None
        # Until the first row may go days are counted and rules judged, on large tables for seconds.
        self._task = bars.add_task("looking", total=None, unit="", sign="")

    def begin(self, stage: "Stage") -> None:
        """Show a bar of its own for a stage; the one before stays as it ended."""
        self._end()
        self._stage = stage
        self._task = self._bars.add_task(
            _name(stage), total=stage.total, unit=_unit(stage), sign=_SIGNS[stage.total_is]
        )

    def advance(self, counts: Mapping[str, int]) -> None:
        """Show how far the stage is, by the counts of the whole run."""
        if self._stage is not None:
            done = self._stage.done(counts)
            self._bars.tasks[-1].total = _total(self._stage, done)  # to `update` None is no change
            self._bars.update(self._task, completed=done)

    def _end(self) -> None:
        if self._stage is None:
            self._bars.remove_task(self._task)
            return
        self._bars.stop_task(self._task)
        if self._stage.total is None or self._stage.total_is != "exact":
            # Without a total it would go on as if something moved, and a guess is one no more.
            self._bars.update(self._task, total=self._bars.tasks[-1].completed, sign="")


@contextmanager
def shown() -> Iterator[RunProgress | None]:
    """Give what draws on stderr for the block, None where that is no terminal; nothing stays of it."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (_Name(), BarColumn(bar_width=None), _Amount(), _Rate(), _Time())
    with Progress(*columns, console=console, transient=True, expand=True) as bars:
        yield RunProgress(bars)


def _total(stage: "Stage", done: int) -> int | None:
    """Of a total that was counted too low nothing is left to expect; of one that was guessed nobody knows what."""
    if stage.total is None or (stage.total_is != "exact" and done >= stage.total):
        return None
    return max(stage.total, done)


def _name(stage: "Stage") -> str:
    return stage.name if stage.kind == "rule" else stage.kind


def _unit(stage: "Stage") -> str:
    return "rows" if stage.kind == "rule" else "files"


class _Whole(ProgressColumn):
    """On a narrow window the bar gives way, not the figures."""

    def get_table_column(self) -> Column:
        return Column(no_wrap=True)


class _Name(_Whole):
    def render(self, task: Task) -> Text:
        name = Text(task.description)
        name.truncate(_NAME_COLUMNS, overflow="ellipsis")
        return name


class _Amount(_Whole):
    def render(self, task: Task) -> Text:
        if not task.fields["unit"]:
            return Text()
        total = f"/{task.fields['sign']}{task.total:,.0f}" if task.total is not None else ""
        return Text(f"{task.completed:,.0f}{total} {task.fields['unit']}", justify="right", style="progress.download")


class _Rate(_Whole):
    """Of the last half minute while it runs, of all when it has ended."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if task.elapsed and (task.stop_time is not None or not speed):
            speed = task.completed / task.elapsed
        return Text(f"{speed or 0:,.0f}/s" if task.fields["unit"] else "", justify="right", style="progress.data.speed")


class _Time(_Whole):
    """What remains while it runs, what it took when it has ended."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        if task.stop_time is not None:
            took = timedelta(seconds=int(task.elapsed or 0))
            return Text(f"in {took}", justify="right", style="progress.elapsed")
        remains = task.time_remaining
        told = (
            f"{task.fields['sign']}{timedelta(seconds=int(remains))}"
            if remains is not None and task.total
            else "-:--:--"
        )
        return Text(told, justify="right", style="progress.remaining")
