"""Files that are moved aside and can still be brought back: their purge when their time is over, and their return.

A row of the outbox in the state `trashed` holds them until `next_at`. Names in the trash are ours alone: a file that
is no longer there was purged or brought back by us, by a run that was killed before it could say so.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from msgspec.structs import replace
from sqlalchemy import Connection

from app.core.errors import PathRefused, RootRefused
from app.core.safe_files import Reason, Root
from app.retention import outbox_rows
from app.retention.due_files import FileWork
from app.retention.outbox import count_for_rule
from app.retention.outbox_entry import OutboxFile
from app.retention.outbox_rows import OutboxRow
from app.retention.removal import Removal, in_order, sync_trash, went_back
from app.retention.roots import OpenRoots
from app.retention.verdict_on_files import TrashNames
from app.retention.workplace import Workplace

_TOGETHER = 2000  # files of one row of the outbox, as many as a batch of rows leaves behind
_SHOWN = 20


@dataclass(kw_only=True)
class Restored:
    """What `restore` brought back."""

    files: int = 0
    bytes: int = 0
    """What they occupy on disk."""
    taken: int = 0
    """Something else stands in their place: they stay in the trash until their time is over."""
    missing: int = 0
    """Neither in the trash nor in their place."""
    failed: int = 0
    """The system forbade it, or their root is held: running it again tries them again."""
    told: list[str] = field(default_factory=list)
    """A line for each of the first twenty that could not be brought back."""

    def tell(self, line: str) -> None:
        """Note one line, up to twenty."""
        if len(self.told) < _SHOWN:
            self.told.append(line)


def purge_due(work: FileWork, until: float) -> bool:
    """Remove from the trash what waited long enough; see `FileWork.each_due`.

    A file that a living row names again goes back to its place instead. Counts `files` and `bytes` (on disk) that are
    gone, and `restored`.
    """
    return work.each_due("trashed", until, _Purge(work).purge)


def set_aside(
    work: FileWork, *, run_id: str, rule: str, files: Sequence[OutboxFile], purge_at: datetime
) -> Counter[str]:
    """Move files that no row names into the trash until `purge_at`; return the counts `trashed` and `trashed_bytes`.

    They are written down first: killed in the middle, the next clean-up ends it. What can't be moved is told in
    `problems` and stays where it is.
    """
    place, roots = work.place, work.roots
    total: Counter[str] = Counter()
    ordered = sorted(files, key=in_order)
    for start in range(0, len(ordered), _TOGETHER):
        names = TrashNames(run_id)
        chunk = [file.condemn(names.next()) for file in ordered[start : start + _TOGETHER]]
        with work.tally.transaction() as (connection, _):
            work.flight.check(connection)
            now = place.clock.now()
            row_id = outbox_rows.insert_row(connection, run_id=run_id, rule=rule, files=chunk, now=now, next_at=now)
        place.checkpoint("files condemned")
        removal = Removal()
        removal.run(chunk, roots, place.checkpoint)
        for file, refusal in removal.refused:
            work.problems.add(f"{file.root}: {refusal}")
        for trouble in sync_trash(removal.moved, roots):
            work.problems.add(trouble)
        with work.tally.transaction() as (connection, added):
            work.flight.check(connection)
            added.update(removal.done)
            row = outbox_rows.load(connection, row_id)
            outbox_rows.close_as_trashed(connection, row, removal.moved, purge_at)
        total.update(removal.done)
        place.checkpoint("files counted")
    return total


def restore(place: Workplace, roots: OpenRoots[Root], run_id: str) -> Restored:
    """Bring back every file of a run that stands in the trash, never over anything that took its place.

    The caller holds the clean-up's lock. Killed in the middle, running it again goes on. Raises DatabaseUnavailable,
    DatabaseBusy.
    """
    told = Restored()
    with place.database.read() as connection:
        ids = outbox_rows.rows_of_run(connection, run_id)
    for row_id in ids:
        with place.database.read() as connection:
            row = outbox_rows.load(connection, row_id)
        is_closed = row.state == "trashed"
        left = [file for file in row.files if not _brought_back(roots, file, told, is_closed=is_closed)]
        place.checkpoint("files brought back")
        for trouble in sync_trash(row.files, roots):
            told.tell(trouble)
        if len(left) < len(row.files):
            with place.database.maintain() as connection:
                _keep_or_forget(connection, row, left)
    return told


class _Purge:
    """The parts of one purge."""

    def __init__(self, work: FileWork) -> None:
        self._work = work
        self._place = work.place
        self._roots = work.roots

    def purge(self, row_id: int, kept: set[tuple[str, str]]) -> None:
        with self._place.database.read() as connection:
            self._work.flight.check(connection)
            row = outbox_rows.load(connection, row_id)
        done: Counter[str] = Counter()
        failed: list[OutboxFile] = []
        waiting: list[OutboxFile] = []
        for file in row.files:
            root = self._roots.ready.get(file.root)
            if root is None:
                waiting.append(file)
                continue
            try:
                self._one(root, file, kept, done)
            except PathRefused as refusal:
                failed.append(replace(file, reason=refusal.reason))
                self._work.problems.add(f"{file.root}: {refusal}")
            except RootRefused as error:
                self._roots.hold(file.root, str(error))
                waiting.append(file)
            self._place.checkpoint("trash purged")
        with self._work.tally.transaction() as (connection, added):
            self._work.flight.check(connection)
            added.update(done)
            count_for_rule(added, row.rule)
            if failed:
                outbox_rows.put_back(connection, row, [*failed, *waiting], self._place.clock.now())
            else:
                _keep_or_forget(connection, row, waiting)
        self._place.checkpoint("trash counted")

    def _one(self, root: Root, file: OutboxFile, kept: set[tuple[str, str]], done: Counter[str]) -> None:
        if file.key in kept and went_back(root, file):
            done["restored"] += 1
            return
        # Where something else took its place, the row has its file.
        freed = root.purge(file.trash or "", file.identity)
        if freed is None and _stands_in_place(root, file):
            return  # brought back by a run that was killed before it could say so
        done["files"] += 1
        done["bytes"] += file.disk_bytes if freed is None else freed


def _brought_back(roots: OpenRoots[Root], file: OutboxFile, told: Restored, *, is_closed: bool) -> bool:
    """Tell whether the row need hold the file no more; unless it `is_closed`, a killed run may have moved it or not."""
    if not is_closed and file.trash is None:
        return False
    root = roots.ready.get(file.root)
    try:
        if root is None:
            told.failed += 1
            told.tell(f"{file.root}: {roots.held.get(file.root, 'this root is not configured')}")
            return False
        size = root.restore(file.trash or "", file.relative, file.identity)
        if size is None and not is_closed:
            return False  # where it stands, the next clean-up finds whether a row names it
        if size is None and not _stands_in_place(root, file):
            told.missing += 1
            told.tell(f"{file.root}: missing: {file.path}")
            return True
    except (PathRefused, RootRefused) as error:
        is_taken = isinstance(error, PathRefused) and error.reason == Reason.TAKEN
        told.taken += is_taken
        told.failed += not is_taken
        told.tell(f"{file.root}: {error}")
        return False
    told.files += 1
    told.bytes += file.disk_bytes if size is None else size
    return True


def _stands_in_place(root: Root, file: OutboxFile) -> bool:
    try:
        entry = root.inspect(file.relative)
    except PathRefused:
        return False
    return entry is not None and entry.identity == file.identity


def _keep_or_forget(connection: Connection, row: OutboxRow, files: Sequence[OutboxFile]) -> None:
    if files:
        outbox_rows.rewrite(connection, row, files)
    else:
        outbox_rows.remove(connection, row)
