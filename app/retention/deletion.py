"""One transaction: rows are locked and deleted with their children, their files written down, all of it counted."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection, insert

from app.core.own_tables import file_outbox
from app.core.safe_files import Root
from app.retention.archive import ArchiveSlip
from app.retention.batch import Batches, Doomed, Gone
from app.retention.batch_size import BatchSize
from app.retention.batches_postgresql import PostgresBatches
from app.retention.batches_sqlite import SqliteBatches
from app.retention.expiry import Expiry
from app.retention.left_behind import LeftBehind
from app.retention.lock import Flight
from app.retention.outbox_entry import OutboxFile, packed
from app.retention.pass_progress import Allowance, PassProgress, Stretch
from app.retention.roots import OpenRoots
from app.retention.rules import RowRule
from app.retention.tally import Entry, Tally, rule_key
from app.retention.workplace import Workplace

_KINDS: dict[str, Callable[[Expiry, ArchiveSlip | None, Flight], Batches]] = {
    "postgresql": PostgresBatches,
    "sqlite": SqliteBatches,
}


@dataclass(kw_only=True)
class Worker:
    """One of those who delete, each in transactions of its own."""

    size: BatchSize
    stretch: Stretch | None = None
    """What it took in a transaction that failed, to be taken again before anything else."""


@dataclass(frozen=True, kw_only=True)
class PassAtWork:
    """One pass of a rule."""

    rule: RowRule
    batches: Batches
    progress: PassProgress


class Deletion:
    """Deletes the rows of a pass batch by batch. Safe to use from several threads."""

    def __init__(self, place: Workplace, roots: OpenRoots[Root], tally: Tally, flight: Flight) -> None:
        self._place = place
        self._roots = roots
        self._tally = tally
        self._flight = flight

    def begin(self, expiry: Expiry, allowance: Allowance) -> PassAtWork:
        """Return a pass that goes on from where it came to."""
        rule, name = expiry.rule, expiry.cursor_name
        now = self._place.clock.now()
        slip = ArchiveSlip(run_id=self._tally.run_id, rule=rule.name, at=now, purge_at=now + rule.keep_deleted)
        make = _KINDS[self._place.database.dialect]
        return PassAtWork(
            rule=rule,
            batches=make(expiry, slip if rule.keep_deleted else None, self._flight),
            progress=PassProgress(name, self._tally.cursors.get(name), allowance),
        )

    def delete_batch(self, work: PassAtWork, worker: Worker) -> Gone | None:
        """Delete one batch in a transaction of its own; None: the worker found no row.

        Raises what the database does, RowsStayed, and RootRefused when the root of a file was lost; then all of it
        is undone, and the worker keeps its stretch.
        """
        checkpoint = self._place.checkpoint
        with self._tally.entry() as entry:
            doomed = self._locked(work, worker, entry)
            if doomed is None:
                gone = None
            else:
                checkpoint("rows locked")
                gone = work.batches.delete(entry.connection, doomed, checkpoint)
                self._look_at_files(entry, work.rule, gone)
                checkpoint("files written down")
                self._count(entry, work.rule, gone.rows, gone.children)
        if entry.step is None or entry.step.rest is None:
            worker.stretch = None
        return gone

    def _locked(self, work: PassAtWork, worker: Worker, entry: Entry) -> Doomed | None:
        lock, size = partial(work.batches.lock, entry.connection), worker.size.rows
        if worker.stretch is not None:
            doomed, entry.step = work.progress.again(worker.stretch, lock, size)
        else:
            doomed, entry.step = work.progress.take(lock, size)
            worker.stretch = entry.step.stretch
        return doomed

    def _look_at_files(self, entry: Entry, rule: RowRule, gone: Gone) -> None:
        left = LeftBehind(roots=self._roots, counts=entry.counts)
        for column, values in gone.paths:
            left.add(column, values)
        self._write_down(entry.connection, rule, left.files)

    def _write_down(self, connection: Connection, rule: RowRule, files: list[OutboxFile]) -> None:
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
                next_at=now + self._place.settings.file_grace,
                state="pending",
                rule=rule.name,
            )
        )

    def _count(self, entry: Entry, rule: RowRule, rows: int, children: tuple[int, ...]) -> None:
        """By rule, and for the report's old keys what went of the application's task and receipt tables."""
        source, counts = self._place.source, entry.counts
        counts.update({"batches": 1, rule_key(rule.name, "batches"): 1, rule_key(rule.name, "rows"): rows})
        if sum(children):
            counts[rule_key(rule.name, "children")] += sum(children)
        for table, count in zip(rule.tables, (rows, *children), strict=True):
            if table.fullname == source.tasks.name:
                counts["tasks"] += count
            elif source.receipts is not None and table.fullname == source.receipts.name and count:
                counts["receipts"] += count
