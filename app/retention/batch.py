"""One transaction's worth of expired rows, in the same words for every database."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy import Connection

from app.core.errors import GengfuError
from app.retention.stored_paths import FileColumn

Cursor = tuple[Any, Any]
"""Time and key of the last row that a pass has looked at, JSON-able."""


class RowsStayed(GengfuError):
    """Rows that were told to go are still there: a trigger or a rule of the database keeps them."""


@dataclass(frozen=True, kw_only=True)
class Doomed:
    """Rows that are locked, each of which has expired."""

    rows: int
    keys: Any
    """As the database wants them back."""
    last: Cursor


@dataclass(frozen=True, kw_only=True)
class Gone:
    """What was deleted."""

    rows: int
    children: tuple[int, ...] = ()
    """Rows of each child table, in the order of the rule."""
    paths: list[tuple[FileColumn, Iterable[str | bytes | memoryview | None]]] = field(default_factory=list)
    """What each file column held."""


class Batches(Protocol):
    """The statements of one pass on one kind of database."""

    def lock(
        self, connection: Connection, cursor: Cursor | None, size: int, end: Cursor | None = None
    ) -> Doomed | None:
        """Lock at most `size` expired rows behind the cursor, passing over those that others hold; None: no more.

        With `end` only rows up to there. Raises DatabaseUnavailable where the clean-up's lock was lost.
        """
        ...

    def delete(self, connection: Connection, doomed: Doomed, checkpoint: Callable[[str], None]) -> Gone:
        """Delete the locked rows, their children first, and archive them where the rule says so.

        The whole condition is repeated in the DELETE. Raises RowsStayed when fewer rows went than were locked.
        """
        ...


def require_all_gone(doomed: Doomed, rows: int, table: str) -> None:
    """Raise RowsStayed where fewer rows went: their children are deleted already, so the whole batch is undone.

    More may go where the partitions of a table have rows of one key; each of them has expired.
    """
    if rows < doomed.rows:
        raise RowsStayed(
            f"{doomed.rows - rows} of {doomed.rows} expired rows of {table} stayed when they were deleted; "
            "does a trigger hold them?"
        )
