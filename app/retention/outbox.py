"""Removing the files of deleted rows, after the commit that deleted the rows (rules R4 and R5).

For each outbox row: a transaction that writes down which of its files are condemned, their removal (or their move into
the trash, while their rows are archived), a transaction that closes the row and counts. Killed anywhere between, the
next run finds a condemned file gone and knows it was us.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from app.retention import outbox_rows
from app.retention.due_files import FileWork
from app.retention.outbox_entry import OutboxFile
from app.retention.outbox_rows import OutboxRow, pending_files, retry_stuck, stuck_files, stuck_paths, trashed_files
from app.retention.removal import Removal, sync_trash
from app.retention.tally import rule_key
from app.retention.verdict_on_files import TrashNames, Verdict

__all__ = ["FileEngine", "pending_files", "retry_stuck", "stuck_files", "stuck_paths", "trashed_files"]

QUARANTINE = timedelta(days=7)
"""Files on their way into the trash whose rows are archived no more wait there for so long."""


class FileEngine:
    """Works off the outbox, oldest first, what earlier runs left behind included."""

    def __init__(self, work: FileWork) -> None:
        self._work = work
        self._place = work.place
        self._roots = work.roots
        self._told_kept: set[tuple[str, str]] = set()
        self._purge_instants: dict[tuple[str, str | None], datetime | None] = {}

    def run(self, until: float) -> bool:
        """Remove what is due; see `FileWork.each_due`. Every file removed until it raises is accounted for."""
        return self._work.each_due("pending", until, self._work_off)

    def _work_off(self, row_id: int, kept: set[tuple[str, str]]) -> None:
        with self._place.database.read() as connection:
            row = outbox_rows.load(connection, row_id)
            # A row without files was emptied by a run that was killed before it could close it.
            if row.files and not any(file.root in self._roots.ready for file in row.files):
                return
            verdict = self._verdict(connection, row, kept)
        with self._work.tally.transaction() as (connection, added):
            self._work.flight.check(connection)
            verdict.judge(row.files, added)
            count_for_rule(added, row.rule)
            outbox_rows.rewrite(connection, row, verdict.open)
            self._place.checkpoint("files condemned")
        done = self._remove(verdict)
        self._place.checkpoint("files removed")
        with self._work.tally.transaction() as (connection, added):
            self._work.flight.check(connection)
            added.update(done)
            count_for_rule(added, row.rule)
            self._close(connection, row, verdict)
            self._place.checkpoint("outbox row closed")
        self._place.checkpoint("files counted")

    def _verdict(self, connection: Connection, row: OutboxRow, kept: set[tuple[str, str]]) -> Verdict:
        return Verdict(
            roots=self._roots,
            kept=kept,
            told_kept=self._told_kept,
            problems=self._work.problems,
            purge_at=self._purge_at(connection, row),
            names=TrashNames(row.run_id),
        )

    def _purge_at(self, connection: Connection, row: OutboxRow) -> datetime | None:
        """Return until when the files are kept: as long as their rows are."""
        key = row.run_id, row.rule
        if key not in self._purge_instants:
            self._purge_instants[key] = outbox_rows.purge_instant(connection, *key)
        instant = self._purge_instants[key]
        if instant is None and any(file.trash for file in row.files):
            return self._place.clock.now() + QUARANTINE
        return instant

    def _remove(self, verdict: Verdict) -> Counter[str]:
        """Remove or move the condemned files and return what is to be counted."""
        removal = Removal()
        removal.run(verdict.condemned, self._roots, self._place.checkpoint)
        for file, refusal in removal.refused:
            verdict.refuse(file, refusal, removal.done)
        verdict.moved += removal.moved
        verdict.waiting += removal.waiting
        for trouble in sync_trash(removal.moved, self._roots):
            self._work.problems.add(trouble)
        return removal.done + verdict.moved_before

    def _close(self, connection: Connection, row: OutboxRow, verdict: Verdict) -> None:
        now = self._place.clock.now()
        # One row can hold what has one fate; the rest gets rows of its own, lest files that only wait are called stuck.
        if verdict.failed:
            outbox_rows.put_back(connection, row, verdict.failed, now)
        elif verdict.waiting:
            outbox_rows.rewrite(connection, row, verdict.waiting)
        else:
            outbox_rows.remove(connection, row)
        if verdict.failed and verdict.waiting:
            self._insert(connection, row, verdict.waiting, now)
        if verdict.moved:
            self._insert(connection, row, verdict.moved, verdict.purge_at or now + QUARANTINE, state="trashed")

    def _insert(
        self,
        connection: Connection,
        row: OutboxRow,
        files: Sequence[OutboxFile],
        next_at: datetime,
        state: str = "pending",
    ) -> None:
        outbox_rows.insert_row(
            connection,
            run_id=row.run_id,
            rule=row.rule,
            files=files,
            now=self._place.clock.now(),
            next_at=next_at,
            state=state,
            attempts=row.attempts if state == "pending" else 0,
        )


def count_for_rule(counts: Counter[str], rule: str | None) -> None:
    """Count what went with the files of a rule under its name, too."""
    if rule is not None:
        counts.update({rule_key(rule, what): counts[what] for what in ("files", "bytes") if counts[what]})
