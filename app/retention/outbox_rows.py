"""The table of the outbox: what is due, what is put back, aside or into the trash, and what an operator reads of it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection, delete, func, insert, select, update

from app.core.clock import Clock
from app.core.database import Database
from app.core.errors import DatabaseBusy
from app.core.own_tables import archived_row, file_outbox
from app.retention.outbox_entry import MAX_ATTEMPTS, OutboxFile, packed, unpacked

_log = structlog.get_logger("gengfu.retention")
_CHECKED_TOGETHER = 100_000  # files whose references are looked up in one scan of the tables
_FIRST_RETRY = timedelta(minutes=1)
_LONGEST_WAIT = timedelta(days=1)
_REASONS_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class OutboxRow:
    """One row: files of one batch, or what is left of them."""

    id: int
    run_id: str
    rule: str | None
    attempts: int
    state: str
    files: list[OutboxFile]


def due_after(connection: Connection, last: int, now: datetime, state: str) -> list[int]:
    """Return the ids of the next due rows beyond `last`, as many as have their references looked up together."""
    box = file_outbox.c
    statement = (
        select(box.id, box.file_count)
        .where(box.state == state, box.next_at <= now, box.id > last)
        .order_by(box.id)
        .limit(1000)
    )
    chosen: list[int] = []
    files = 0
    for row_id, count in connection.execute(statement):
        chosen.append(row_id)
        files += count
        if files >= _CHECKED_TOGETHER:
            break
    return chosen


def load(connection: Connection, row_id: int) -> OutboxRow:
    """Return one row."""
    row = connection.execute(select(file_outbox).where(file_outbox.c.id == row_id)).one()
    return OutboxRow(
        id=row.id,
        run_id=row.run_id,
        rule=row.rule,
        attempts=row.attempts,
        state=row.state,
        files=unpacked(row.files),
    )


def rows_of_run(connection: Connection, run_id: str) -> list[int]:
    """Return the ids of a run's rows."""
    box = file_outbox.c
    found = connection.execute(select(box.id).where(box.run_id == run_id).order_by(box.id))
    return list(found.scalars())


def purge_instant(connection: Connection, run_id: str, rule: str | None) -> datetime | None:
    """Return until when the rows of these files are archived, None if they are not: then the files need not wait."""
    archived = select(func.max(archived_row.c.purge_at)).where(archived_row.c.run_id == run_id)
    if rule is not None:
        archived = archived.where(archived_row.c.rule == rule)
    instant: datetime | None = connection.execute(archived).scalar()
    return instant


def rewrite(connection: Connection, row: OutboxRow, files: Sequence[OutboxFile]) -> None:
    """Put these files in place of what the row held. Raises DatabaseBusy where somebody else took the row."""
    changed = connection.execute(
        update(file_outbox)
        .where(file_outbox.c.id == row.id, file_outbox.c.state == row.state)
        .values(files=packed(files), file_count=len(files))
    )
    if changed.rowcount != 1:
        raise DatabaseBusy(f"outbox row {row.id} was changed by somebody else; the next run goes on")


def remove(connection: Connection, row: OutboxRow) -> None:
    """Forget a row that is done."""
    connection.execute(delete(file_outbox).where(file_outbox.c.id == row.id))


def close_as_trashed(connection: Connection, row: OutboxRow, files: Sequence[OutboxFile], purge_at: datetime) -> None:
    """Let a pending row hold what was moved into the trash; without any it is forgotten."""
    if not files:
        remove(connection, row)
        return
    rewrite(connection, row, files)
    connection.execute(
        update(file_outbox).where(file_outbox.c.id == row.id).values(state="trashed", next_at=purge_at, attempts=0)
    )


def put_back(connection: Connection, row: OutboxRow, files: Sequence[OutboxFile], now: datetime) -> None:
    """Try these files again later; a pending row is stuck after five attempts, the trash is never given up."""
    attempts = row.attempts + 1
    state = "stuck" if row.state == "pending" and attempts >= MAX_ATTEMPTS else row.state
    wait = min(_FIRST_RETRY * 2 ** min(attempts - 1, 20), _LONGEST_WAIT)
    connection.execute(
        update(file_outbox)
        .where(file_outbox.c.id == row.id)
        .values(
            files=packed(files),
            file_count=len(files),
            attempts=attempts,
            next_at=now + wait,
            state=state,
            reason=told_reasons(files),
        )
    )
    _log.warning("files_not_removed", outbox=row.id, files=len(files), attempts=attempts, state=state)


def insert_row(
    connection: Connection,
    *,
    run_id: str,
    rule: str | None,
    files: Sequence[OutboxFile],
    now: datetime,
    next_at: datetime,
    state: str = "pending",
    attempts: int = 0,
) -> int:
    """Write a row of its own for these files and return its id."""
    done = connection.execute(
        insert(file_outbox).values(
            run_id=run_id,
            rule=rule,
            created_at=now,
            files=packed(files),
            file_count=len(files),
            attempts=attempts,
            next_at=next_at,
            state=state,
        )
    )
    key = done.inserted_primary_key
    return int(key[0]) if key is not None else 0


def told_reasons(files: Sequence[OutboxFile]) -> str | None:
    """Return why files were not removed, most frequent reason first: `eperm 3, eio`."""
    counts = Counter(file.reason for file in files if file.reason)
    told = [reason if n == 1 else f"{reason} {n}" for reason, n in counts.most_common(_REASONS_SHOWN)]
    return ", ".join(told) or None


def stuck_files(connection: Connection) -> int:
    """Return how many files could not be removed in five attempts."""
    return _count(connection, "stuck")


def pending_files(connection: Connection) -> int:
    """Return how many files of deleted rows are still to be removed."""
    return _count(connection, "pending")


def trashed_files(connection: Connection) -> int:
    """Return how many files wait in the trash."""
    return _count(connection, "trashed")


def stuck_paths(connection: Connection, most: int) -> Iterator[OutboxFile]:
    """Yield at most `most` stuck files, each with its `reason`."""
    statement = select(file_outbox.c.files).where(file_outbox.c.state == "stuck").order_by(file_outbox.c.id)
    for text in connection.execute(statement.limit(most)).scalars():
        for file in unpacked(text):
            if most <= 0:
                return
            most -= 1
            yield file


def retry_stuck(database: Database, clock: Clock) -> int:
    """Let the next clean-up try every stuck file again, five times more, and return how many files that are."""
    is_stuck = file_outbox.c.state == "stuck"
    with database.write() as connection:
        files = stuck_files(connection)
        connection.execute(update(file_outbox).where(is_stuck).values(state="pending", attempts=0, next_at=clock.now()))
    return files


def _count(connection: Connection, state: str) -> int:
    total = select(func.coalesce(func.sum(file_outbox.c.file_count), 0)).where(file_outbox.c.state == state)
    return int(connection.execute(total).scalar_one())
