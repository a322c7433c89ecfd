"""What one clean-up works with; made by the composition root, by tests with parts of their own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from app.core.clock import Clock
from app.core.database import Database
from app.core.source_tables import SourceTables
from app.retention.settings import RetentionSettings


def _nothing(_told: object) -> None:
    """Take no notice."""


def _not_halted() -> str | None:
    """Nobody wants the clean-up to stop."""
    return None


def _all_counted(_table: str, _cutoff: datetime) -> str | None:
    """Nobody wants the rows counted before they go."""
    return None


def _not_critical(_folder: Path) -> bool:
    """No disk is nearly full."""
    return False


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of a clean-up that begins."""

    kind: Literal["rule", "files", "folders"]
    """Rows of one rule, files that rows left behind, files that go by age alone."""
    name: str
    """The rule's, else that of the kind."""
    counted: tuple[str, ...]
    """The counts of `on_progress` whose sum tells how far it is."""
    before: int
    """Their sum as it begins, for a killed run's counts are among them."""
    total: int | None = None
    """Rows or files to go; None: not known."""
    total_is: Literal["exact", "estimate", "bound"] = "exact"
    """`bound`: there are at least so many."""

    def done(self, counts: Mapping[str, int]) -> int:
        """Return how many rows or files went since it began."""
        return sum(counts.get(name, 0) for name in self.counted) - self.before


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """The parts of a clean-up."""

    database: Database
    source: SourceTables
    settings: RetentionSettings
    folders: Mapping[str, Path]
    """Root name -> absolute path, our log folder as `logs` included; see `roots.root_folders`."""
    active_logs: frozenset[str]
    """Names below the log folder that are written to and never removed."""
    clock: Clock
    """Dates files and measures durations; the cut-off of rows comes from the database's clock."""
    lock_file: Path
    on_progress: Callable[[Mapping[str, int]], None] = _nothing
    """Called after every transaction with the counts so far."""
    on_stage: Callable[[Stage], None] = _nothing
    """Called when a part begins."""
    halted: Callable[[], str | None] = _not_halted
    """Asked between batches: why the run is to stop now (paused, shutting down), or None."""
    uncounted: Callable[[str, datetime], str | None] = _all_counted
    """Asked before a rule's first delete with its table and cutoff: which statistics its rows are still needed for, or
    None."""
    critical: Callable[[Path], bool] = _not_critical
    """Tells whether the disk of a folder is so full that files must go before rows."""
    checkpoint: Callable[[str], None] = _nothing
    """Called at every point between two effects; fault tests end the run there."""
