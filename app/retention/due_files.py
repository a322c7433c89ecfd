"""The rows of the outbox that are due, each with the files that a living row still names."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from app.core.safe_files import Root, show
from app.retention import outbox_rows
from app.retention.lock import Flight
from app.retention.problems import Problems
from app.retention.references import odd_references, referenced, roots_left, unexplained_references
from app.retention.roots import OpenRoots
from app.retention.rules import RuleBook
from app.retention.stored_paths import FileColumns
from app.retention.tally import Tally
from app.retention.workplace import Workplace

_SCAN_S = 600.0
_STATES = ("pending", "trashed")


@dataclass(frozen=True, kw_only=True)
class FileWork:
    """The parts of a clean-up that work on files of deleted rows needs."""

    place: Workplace
    columns: FileColumns
    """That keep a file where a living row names it."""
    roots: OpenRoots[Root]
    tally: Tally
    flight: Flight
    problems: Problems

    def each_due(self, state: str, until: float, work_off: Callable[[int, set[tuple[str, str]]], None]) -> bool:
        """Have every due row in `state` worked off, given its id and (root, path) of what must be kept.

        False where the monotonic instant `until` came first, or somebody halted the clean-up. Raises
        DatabaseUnavailable, DatabaseBusy, TooManyOddPaths.
        """
        for row_id, kept in _due_files(self.place, self.columns, state):
            if self.place.clock.monotonic() >= until or self.place.halted() is not None:
                return False
            work_off(row_id, kept)
        return True


def roots_without_rule(place: Workplace, book: RuleBook) -> tuple[set[str], dict[str, str]]:
    """Return the roots in which rules that are off now left files behind, and root -> why others can't be used.

    Raises DatabaseUnavailable, DatabaseBusy.
    """
    with place.database.read(deadline_s=_SCAN_S) as connection:
        left = roots_left(connection, {rule.name for rule in book.rules})
    usable = left & {file.root for file in book.references} & place.folders.keys()
    return usable, {
        name: f"root {name}: files of deleted rows wait there, but no column of [retention] tells any more which are "
        "in use; write the root and its rule back, with enabled = false, until they are gone"
        for name in left - usable
    }


def roots_in_doubt(place: Workplace, columns: FileColumns) -> dict[str, str]:
    """Return root -> why nobody can tell which of its files are in use; nothing is asked while no file is due (R7).

    Raises DatabaseUnavailable, DatabaseBusy.
    """
    if not any(_due_after(place, 0, state) for state in _STATES):
        return {}
    with place.database.read(deadline_s=_SCAN_S) as connection:
        found = unexplained_references(connection, columns)
    return {name: why_in_doubt(name, path) for name, path in found.items()}


def why_in_doubt(root: str, path: str) -> str:
    """Return the line that tells of a root in which a row names a file by such a path, and what mends it."""
    return (
        f"root {root}: a row names a file there as {show(path.encode())}, below no known spelling of the root, so that "
        "nobody can tell which files are in use; files of deleted rows wait until its prefix stands in "
        f"[retention.roots.{root}] aliases, or the row is corrected"
    )


def _due_files(place: Workplace, columns: FileColumns, state: str) -> Iterator[tuple[int, set[tuple[str, str]]]]:
    """Yield the rows, oldest first. The tables are scanned once for many of them together."""
    last = 0
    odd: set[tuple[str, str]] | None = None
    while chunk := _due_after(place, last, state):
        with place.database.read(deadline_s=_SCAN_S) as connection:
            if odd is None:
                odd = odd_references(connection, columns)
            kept = odd | referenced(connection, columns, chunk[0], chunk[-1], state=state)
        for row_id in chunk:
            yield row_id, kept
        last = chunk[-1]


def _due_after(place: Workplace, last: int, state: str) -> list[int]:
    with place.database.read() as connection:
        return outbox_rows.due_after(connection, last, place.clock.now(), state)
