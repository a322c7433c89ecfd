"""Deleting expired rows: parents, children and the note of their files in one transaction for each batch."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import ColumnElement, Connection, Row, delete, insert, select, tuple_
from sqlalchemy.exc import DBAPIError

from app.core.errors import DatabaseBusy, DatabaseUnavailable, PathRefused, RootRefused
from app.core.own_tables import file_outbox
from app.core.safe_files import Root
from app.core.source_tables import SourceTable
from app.retention.expiry import Expiry, cursor_of, expired
from app.retention.lock import Flight
from app.retention.outbox_entry import OutboxFile, packed
from app.retention.problems import Problems
from app.retention.roots import OpenRoots
from app.retention.stored_paths import FileColumn, FileColumns, is_final
from app.retention.tally import REFUSED, Tally
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
            self._write_down(connection, self._named(left, receipts), added)
            self._place.checkpoint("files written down")
            added.update(tasks=len(left), receipts=len(receipts), batches=1)
        _log.debug("rows_deleted", table=tasks.name, status=rule.word, rows=len(left), receipts=len(receipts))
        return Batch(rows=len(left), last=(parents[-1][1], parents[-1][0]))

    def _selection(self, rule: Expiry, cursor: tuple[Any, Any] | None, size: int) -> Any:
        """Select by keyset, not "the first N": behind an old snapshot those would walk over all rows deleted so far."""
        tasks = self._place.source.tasks
        key, finished = tasks.table.c.id, cursor_of(tasks, self._dialect)
        statement = select(key, finished).where(expired(tasks, rule, self._dialect))
        if cursor is not None:
            statement = statement.where(tuple_(finished, key) > tuple_(*cursor))
        # On PostgreSQL the lock also reads the row again: one that was retried meanwhile no longer matches.
        return statement.order_by(finished, key).limit(size).with_for_update(skip_locked=True)

    def _delete_children(self, connection: Connection, keys: list[Any]) -> Sequence[Row[Any]]:
        receipts = self._place.source.receipts
        if receipts is None:
            return []
        statement = delete(receipts.table).where(receipts.table.c.task_id.in_(keys))
        returned = self._returned(receipts, self._columns.receipts)
        return connection.execute(statement.returning(*returned)).all()

    def _delete_parents(self, connection: Connection, rule: Expiry, keys: list[Any]) -> Sequence[Row[Any]]:
        tasks = self._place.source.tasks
        statement = delete(tasks.table).where(tasks.table.c.id.in_(keys), expired(tasks, rule, self._dialect))
        left = connection.execute(statement.returning(*self._returned(tasks, self._columns.tasks))).all()
        if len(left) != len(keys):
            # Their children are deleted already: the whole batch is undone.
            raise DatabaseBusy(
                f"{len(keys) - len(left)} of {len(keys)} expired rows of {tasks.name} stayed when they were deleted; "
                "does a trigger hold them?"
            )
        return left

    def _returned(self, table: SourceTable, columns: tuple[FileColumn, ...]) -> list[ColumnElement[Any]]:
        files = [column.raw(self._dialect).label(f"file_{n}") for n, column in enumerate(columns)]
        return [table.table.c.id, *files]

    def _named(
        self, tasks: Sequence[Row[Any]], receipts: Sequence[Row[Any]]
    ) -> Iterator[tuple[FileColumn, str | bytes]]:
        for columns, rows in ((self._columns.tasks, tasks), (self._columns.receipts, receipts)):
            for row in rows:
                for column, value in zip(columns, tuple(row)[1:], strict=True):
                    if value is not None:
                        yield column, value

    def _write_down(
        self, connection: Connection, named: Iterator[tuple[FileColumn, str | bytes]], added: Counter[str]
    ) -> None:
        files = list(self._left_behind(named, added))
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
        self, named: Iterator[tuple[FileColumn, str | bytes]], added: Counter[str]
    ) -> Iterator[OutboxFile]:
        """Yield each existing file once, as it is now; count every naming of one that is missing or is refused."""
        counted_as: dict[tuple[str, str], str | None] = {}
        for column, value in named:
            try:
                key = column.root, column.relative(value)
            except PathRefused as refusal:
                added[REFUSED + refusal.reason] += 1
                continue
            if key not in counted_as:
                found = self._look_at(*key)
                counted_as[key] = found if isinstance(found, str) else None
                if isinstance(found, OutboxFile):
                    yield found
            if reason := counted_as[key]:
                added[reason] += 1

    def _look_at(self, root: str, path: str) -> OutboxFile | str:
        """Return the file, or the name of the count that tells why there is none."""
        try:
            entry = self._roots.ready[root].inspect(path.encode())
        except PathRefused as refusal:
            # What the system forbids today is tried again when the row is gone.
            return REFUSED + refusal.reason if is_final(refusal.reason) else OutboxFile(root=root, path=path)
        except RootRefused as error:
            self._roots.hold(root, str(error))
            raise
        return "missing" if entry is None else OutboxFile.of(root, path, entry)
