"""Deleting expired rows: parents, children and the note of their files in one transaction for each batch."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    String,
    any_,
    delete,
    insert,
    literal,
    select,
    tuple_,
    type_coerce,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import NullType

from app.core.errors import DatabaseBusy, DatabaseUnavailable, RootRefused
from app.core.own_tables import file_outbox
from app.core.safe_files import Root
from app.core.source_tables import SourceTable
from app.retention.expiry import Expiry, cursor_of, expired
from app.retention.left_behind import LeftBehind
from app.retention.lock import Flight
from app.retention.outbox_entry import OutboxFile, packed
from app.retention.problems import Problems
from app.retention.roots import OpenRoots
from app.retention.stored_paths import FileColumn, FileColumns
from app.retention.tally import Tally
from app.retention.workplace import Workplace

_log = structlog.get_logger("gengfu.retention")
_FEWEST_ROWS = 100
_GOOD_BATCHES = 10
_MOST_FAILURES = 3
_SQLITE_PAUSE_S = 0.005  # between two write locks the application gets its turn: SQLite queues nobody


@dataclass(kw_only=True)
class BatchSize:
    """How many rows the next transaction takes: half after each time-out, twice as many after ten good ones."""

    most: int
    rows: int
    good: int = 0
    failures: int = 0

    @property
    def hopeless(self) -> bool:
        """Three time-outs in a row: somebody else needs the table more."""
        return self.failures >= _MOST_FAILURES

    def succeeded(self) -> None:
        self.failures = 0
        self.good += 1
        if self.good >= _GOOD_BATCHES:
            self.good, self.rows = 0, min(self.most, self.rows * 2)

    def failed(self) -> None:
        self.good = 0
        self.failures += 1
        self.rows = max(min(_FEWEST_ROWS, self.most), self.rows // 2)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one transaction did."""

    rows: int
    last: tuple[Any, Any] | None
    """Finish time and key of the last row, from which the next batch goes on."""


class RowEngine:
    """Deletes what has expired, oldest first, one status word after the other."""

    def __init__(
        self, place: Workplace, columns: FileColumns, roots: OpenRoots[Root], tally: Tally, flight: Flight
    ) -> None:
        self._place = place
        self._columns = columns
        self._roots = roots
        self._tally = tally
        self._flight = flight
        self._dialect = place.database.dialect
        self._size = BatchSize(most=place.settings.batch_size, rows=place.settings.batch_size)

    def run(self, rules: Sequence[Expiry], until: float, problems: Problems) -> str:
        """Delete until all is done or the monotonic instant `until`.

        Returns done | budget | partial (the database is busy) | failed (gone, or it refuses) | held (a root is lost).
        """
        try:
            return "done" if all(self._expire(rule, until) for rule in rules) else "budget"
        except DatabaseBusy as error:
            problems.add(str(error))
            return "partial"
        except RootRefused:
            return "held"
        except DatabaseUnavailable as error:
            problems.add(str(error))
            return "failed"
        except DBAPIError as error:
            problems.add(f"the database refused to delete rows of {self._place.source.tasks.name}: {error.orig}")
            return "failed"

    def _expire(self, rule: Expiry, until: float) -> bool:
        """Delete all rows of one rule; False where time ran out first."""
        cursor: tuple[Any, Any] | None = None
        while self._place.clock.monotonic() < until:
            size = self._size.rows
            try:
                batch = self._delete_batch(rule, cursor, size)
            except DatabaseBusy:
                self._size.failed()
                if self._size.hopeless:
                    raise
                continue
            self._size.succeeded()
            if batch.rows:
                self._place.checkpoint("batch committed")
            if batch.rows < size:
                return True
            cursor = batch.last
            self._give_way()
        return False

    def _give_way(self) -> None:
        if self._dialect == "sqlite":
            time.sleep(_SQLITE_PAUSE_S)

    def _delete_batch(self, rule: Expiry, cursor: tuple[Any, Any] | None, size: int) -> Batch:
        tasks = self._place.source.tasks
        with self._tally.transaction() as (connection, added):
            self._flight.check(connection)
            parents = connection.execute(self._selection(rule, cursor, size)).all()
            if not parents:
                return Batch(rows=0, last=None)
            self._place.checkpoint("rows locked")
            keys = [row[0] for row in parents]
            receipts = self._delete_children(connection, keys)
            self._place.checkpoint("children deleted")
            left = self._delete_parents(connection, rule, keys)
            self._place.checkpoint("parents deleted")
            self._write_down(connection, self._left_behind(left, receipts, added))
            self._place.checkpoint("files written down")
            added.update(tasks=len(left), receipts=len(receipts), batches=1)
        _log.debug("rows_deleted", table=tasks.name, status=rule.word, rows=len(left), receipts=len(receipts))
        return Batch(rows=len(left), last=(parents[-1][1], parents[-1][0]))

    def _selection(self, rule: Expiry, cursor: tuple[Any, Any] | None, size: int) -> Any:
        """Select by keyset, not "the first N": behind an old snapshot those would walk over all rows deleted so far."""
        tasks = self._place.source.tasks
        key, finished = tasks.table.c.id, cursor_of(tasks, self._dialect)
        # Only the database itself reads the finish time again: two thousand times as the driver gives them will do.
        read = type_coerce(finished, NullType())
        statement = select(key, read).where(expired(tasks, rule, self._dialect))
        if cursor is not None:
            statement = statement.where(tuple_(finished, key) > tuple_(*cursor))
        # On PostgreSQL the lock also reads the row again: one that was retried meanwhile no longer matches.
        return statement.order_by(finished, key).limit(size).with_for_update(skip_locked=True)

    def _delete_children(self, connection: Connection, keys: list[Any]) -> Sequence[Row[Any]]:
        receipts = self._place.source.receipts
        if receipts is None:
            return []
        statement = delete(receipts.table).where(keys_among(receipts.table.c.task_id, keys, self._dialect))
        returned = self._returned(receipts, self._columns.receipts)
        return connection.execute(statement.returning(*returned)).all()

    def _delete_parents(self, connection: Connection, rule: Expiry, keys: list[Any]) -> Sequence[Row[Any]]:
        tasks = self._place.source.tasks
        named = keys_among(tasks.table.c.id, keys, self._dialect)
        statement = delete(tasks.table).where(named, expired(tasks, rule, self._dialect))
        left = connection.execute(statement.returning(*self._returned(tasks, self._columns.tasks))).all()
        if len(left) != len(keys):
            # Their children are deleted already: the whole batch is undone.
            raise DatabaseBusy(
                f"{len(keys) - len(left)} of {len(keys)} expired rows of {tasks.name} stayed when they were deleted; "
                "does a trigger hold them?"
            )
        return left

    def _returned(self, table: SourceTable, columns: tuple[FileColumn, ...]) -> list[ColumnElement[Any]]:
        files: list[ColumnElement[Any]] = [
            column.raw(self._dialect).label(f"file_{n}") for n, column in enumerate(columns)
        ]
        # Something must come back, for the rows are counted.
        return files or [table.table.c.id]

    def _write_down(self, connection: Connection, files: list[OutboxFile]) -> None:
        if not files:
            return
        now = self._place.clock.now()
        connection.execute(
            insert(file_outbox).values(
                run_id=self._tally.run_id,
                created_at=now,
                files=packed(files),
                file_count=len(files),
                attempts=0,
                next_at=now,
                state="pending",
            )
        )

    def _left_behind(
        self, tasks: Sequence[Row[Any]], receipts: Sequence[Row[Any]], added: Counter[str]
    ) -> list[OutboxFile]:
        left = LeftBehind(roots=self._roots, counts=added)
        for columns, rows in ((self._columns.tasks, tasks), (self._columns.receipts, receipts)):
            # Column by column: most values are NULL, and a loop over rows costs more than all the rest of them.
            for column, values in zip(columns, zip(*rows, strict=True), strict=False):
                left.add(column, values)
        return left.files


def keys_among(column: ColumnElement[Any], keys: Sequence[Any], dialect: str) -> ColumnElement[bool]:
    """Return the condition that `column` holds one of `keys`.

    PostgreSQL gets them as one array, whose type it takes from the column: two thousand parameters cost it and us more
    than the deletion.
    """
    if dialect != "postgresql" or not all(isinstance(key, int | str) for key in keys):
        return column.in_(keys)
    return column == any_(literal(f"{{{','.join(map(_element, keys))}}}", String()))


def _element(key: int | str) -> str:
    if isinstance(key, int):
        return str(key)
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
