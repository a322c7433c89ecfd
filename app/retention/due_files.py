"""The rows of the outbox that are due, each with the files that a living row still names."""

from collections.abc import Iterator

from app.retention import outbox_rows
from app.retention.references import odd_references, referenced
from app.retention.stored_paths import FileColumns
from app.retention.workplace import Workplace

_SCAN_S = 600.0


def due_files(place: Workplace, columns: FileColumns, state: str) -> Iterator[tuple[int, set[tuple[str, str]]]]:
    """Yield the id of each due row in `state`, oldest first, with (root, path) of what must be kept.

    The tables are scanned once for many rows together. Raises DatabaseUnavailable, DatabaseBusy, TooManyOddPaths.
    """
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
