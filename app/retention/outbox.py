"""Removing the files of deleted rows, after the commit that deleted the rows (rules R4 and R5).

For each outbox row: a transaction that writes down which of its files are condemned, their removal, a transaction that
closes the row and counts. Killed anywhere between, the next run finds a condemned file gone and knows it was us.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta

import structlog
from sqlalchemy import Connection, delete, func, insert, select, update

from app.core.errors import DatabaseBusy, PathRefused, RootRefused
from app.core.own_tables import file_outbox
from app.core.safe_files import Root
from app.retention.lock import Flight
from app.retention.outbox_entry import MAX_ATTEMPTS, OutboxFile, packed, unpacked
from app.retention.problems import Problems
from app.retention.references import odd_references, referenced
from app.retention.roots import OpenRoots
from app.retention.stored_paths import FileColumns, is_final
from app.retention.tally import REFUSED, Tally
from app.retention.workplace import Workplace

_log = structlog.get_logger("gengfu.retention")
_CHECKED_TOGETHER = 100_000  # files whose references are looked up in one scan of the tables
_SCAN_S = 600.0
_FIRST_RETRY = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class _Row:
    id: int
    run_id: str
    attempts: int
    files: list[OutboxFile]


@dataclass(kw_only=True)
class _Verdict:
    """What becomes of the files of one outbox row."""

    condemned: list[OutboxFile] = field(default_factory=list)
    waiting: list[OutboxFile] = field(default_factory=list)  # their root is held
    failed: list[OutboxFile] = field(default_factory=list)


class FileEngine:
    """Works off the outbox, oldest first, what earlier runs left behind included."""

    def __init__(
        self,
        place: Workplace,
        columns: FileColumns,
        roots: OpenRoots[Root],
        tally: Tally,
        flight: Flight,
        problems: Problems,
    ) -> None:
        self._place = place
        self._columns = columns
        self._roots = roots
        self._tally = tally
        self._flight = flight
        self._problems = problems
        self._told_kept: set[tuple[str, str]] = set()

    def run(self, until: float) -> bool:
        """Remove what is due; False where the monotonic instant `until` came first.

        Raises DatabaseUnavailable, DatabaseBusy, TooManyOddPaths; every file removed until then is accounted for.
        """
        last = 0
        odd: set[tuple[str, str]] | None = None
        while chunk := self._due_after(last):
            with self._place.database.read(deadline_s=_SCAN_S) as connection:
                if odd is None:
                    odd = odd_references(connection, self._columns)
                kept = odd | referenced(connection, self._columns, chunk[0], chunk[-1])
            for row_id in chunk:
                if self._place.clock.monotonic() >= until:
                    return False
                self._work_off(row_id, kept)
            last = chunk[-1]
        return True

    def _due_after(self, last: int) -> list[int]:
        """Return the next due rows, as many as have their references looked up together."""
        box = file_outbox.c
        statement = (
            select(box.id, box.file_count)
            .where(box.state == "pending", box.next_at <= self._place.clock.now(), box.id > last)
            .order_by(box.id)
            .limit(1000)
        )
        with self._place.database.read() as connection:
            found = connection.execute(statement).all()
        chosen: list[int] = []
        files = 0
        for row_id, count in found:
            chosen.append(row_id)
            files += count
            if files >= _CHECKED_TOGETHER:
                break
        return chosen

    def _work_off(self, row_id: int, kept: set[tuple[str, str]]) -> None:
        row = self._load(row_id)
        if not any(file.root in self._roots.ready for file in row.files):
            return
        with self._tally.transaction() as (connection, added):
            self._flight.check(connection)
            verdict = self._judge(row, kept, added)
            self._rewrite(connection, row, [*verdict.condemned, *verdict.waiting, *verdict.failed])
            self._place.checkpoint("files condemned")
        done = self._remove(verdict)
        self._place.checkpoint("files removed")
        with self._tally.transaction() as (connection, added):
            self._flight.check(connection)
            added.update(done)
            self._close(connection, row, verdict)
            self._place.checkpoint("outbox row closed")
        self._place.checkpoint("files counted")

    def _load(self, row_id: int) -> _Row:
        with self._place.database.read() as connection:
            row = connection.execute(select(file_outbox).where(file_outbox.c.id == row_id)).one()
        return _Row(id=row.id, run_id=row.run_id, attempts=row.attempts, files=unpacked(row.files))

    def _judge(self, row: _Row, kept: set[tuple[str, str]], added: Counter[str]) -> _Verdict:
        verdict = _Verdict()
        for file in row.files:
            try:
                self._judge_one(file, kept, verdict, added)
            except PathRefused as refusal:
                self._refuse(file, refusal, verdict, added)
            except RootRefused as error:
                self._roots.hold(file.root, str(error))
                verdict.waiting.append(file)
        return verdict

    def _judge_one(self, file: OutboxFile, kept: set[tuple[str, str]], verdict: _Verdict, added: Counter[str]) -> None:
        root = self._roots.ready.get(file.root)
        if root is None:
            verdict.waiting.append(file)
            return
        entry = root.inspect(file.relative)
        if entry is None and file.condemned:
            added.update(files=1, bytes=file.disk_bytes)
        elif entry is None:
            added["already_gone"] += 1
        elif file.key in kept:
            added["referenced"] += file.key not in self._told_kept
            self._told_kept.add(file.key)
        else:
            verdict.condemned.append(replace(file if file.identity else file.seen(entry), condemned=True))

    def _remove(self, verdict: _Verdict) -> Counter[str]:
        """Remove the condemned files and return what is to be counted; what can't be removed goes to `failed`."""
        done: Counter[str] = Counter()
        lost: dict[str, str] = {}
        for file in verdict.condemned:
            try:
                freed = self._roots.ready[file.root].remove(file.relative, file.identity)
            except PathRefused as refusal:
                self._refuse(replace(file, condemned=False), refusal, verdict, done)
                continue
            except RootRefused as error:
                lost[file.root] = str(error)
                verdict.waiting.append(replace(file, condemned=False))
                continue
            done["files"] += 1
            done["bytes"] += file.disk_bytes if freed is None else freed
            self._place.checkpoint("file removed")
        for name, why in lost.items():
            self._roots.hold(name, why)
        return done

    def _refuse(self, file: OutboxFile, refusal: PathRefused, verdict: _Verdict, added: Counter[str]) -> None:
        if is_final(refusal.reason):
            added[REFUSED + refusal.reason] += 1
            return
        verdict.failed.append(file)
        self._problems.add(f"{file.root}: {refusal}")

    def _rewrite(self, connection: Connection, row: _Row, files: list[OutboxFile]) -> None:
        changed = connection.execute(
            update(file_outbox)
            .where(file_outbox.c.id == row.id, file_outbox.c.state == "pending")
            .values(files=packed(files), file_count=len(files))
        )
        if changed.rowcount != 1:
            raise DatabaseBusy(f"outbox row {row.id} was changed by somebody else; the next run goes on")

    def _close(self, connection: Connection, row: _Row, verdict: _Verdict) -> None:
        waiting = verdict.waiting
        if verdict.failed:
            self._put_back(connection, row, verdict.failed)
            if waiting:
                # Not to be called stuck together with files that can't be removed.
                self._put_aside(connection, row, waiting)
        elif waiting:
            self._rewrite(connection, row, waiting)
        else:
            connection.execute(delete(file_outbox).where(file_outbox.c.id == row.id))

    def _put_back(self, connection: Connection, row: _Row, files: list[OutboxFile]) -> None:
        attempts = row.attempts + 1
        state = "stuck" if attempts >= MAX_ATTEMPTS else "pending"
        next_at = self._place.clock.now() + _FIRST_RETRY * 2 ** (attempts - 1)
        connection.execute(
            update(file_outbox)
            .where(file_outbox.c.id == row.id)
            .values(files=packed(files), file_count=len(files), attempts=attempts, next_at=next_at, state=state)
        )
        _log.warning("files_not_removed", outbox=row.id, files=len(files), attempts=attempts, state=state)

    def _put_aside(self, connection: Connection, row: _Row, files: list[OutboxFile]) -> None:
        now = self._place.clock.now()
        connection.execute(
            insert(file_outbox).values(
                run_id=row.run_id,
                created_at=now,
                files=packed(files),
                file_count=len(files),
                attempts=row.attempts,
                next_at=now,
                state="pending",
            )
        )


def stuck_files(connection: Connection) -> int:
    """Return how many files could not be removed in five attempts."""
    return _count(connection, "stuck")


def pending_files(connection: Connection) -> int:
    """Return how many files of deleted rows are still to be removed."""
    return _count(connection, "pending")


def stuck_paths(connection: Connection, most: int) -> Iterator[OutboxFile]:
    """Yield at most `most` stuck files."""
    statement = select(file_outbox.c.files).where(file_outbox.c.state == "stuck").order_by(file_outbox.c.id)
    for text in connection.execute(statement.limit(most)).scalars():
        for file in unpacked(text):
            if most <= 0:
                return
            most -= 1
            yield file


def _count(connection: Connection, state: str) -> int:
    total = select(func.coalesce(func.sum(file_outbox.c.file_count), 0)).where(file_outbox.c.state == state)
    return int(connection.execute(total).scalar_one())
