"""`gengfu retention undo RUN`: rows and files of a run brought back from the archive and the trash.

Each archive row is brought back in a transaction of its own, in which it also ends: killed anywhere, the next attempt
goes on. What can't be brought back stays in the archive until its time is over.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy.exc import DBAPIError

from app.core.database import Database
from app.core.errors import BadArgument, SchemaMismatch
from app.core.own_tables import archived_row, file_outbox, rule_run
from app.core.safe_files import open_root
from app.retention import stored_state
from app.retention.lock import single_flight
from app.retention.restorers import Result, restorer, said
from app.retention.roots import open_roots
from app.retention.trash import restore
from app.retention.workplace import Workplace

_KEY = "retention:undo:"
_SHOWN = 20


@dataclass(kw_only=True)
class Undone:
    """What came back, and what did not."""

    run_id: str
    dry_run: bool
    rows: Counter[str] = field(default_factory=Counter)
    """Table -> rows brought back, or with `dry_run` kept in the archive."""
    conflicts: Counter[str] = field(default_factory=Counter)
    """Table -> rows whose key is in use again; the row that is there stays."""
    refused: Counter[str] = field(default_factory=Counter)
    """What the database said -> rows that it would not take, such as for a foreign key that no longer holds."""
    missing: int = 0
    """Rows that the run deleted and the archive no longer holds."""
    files: Counter[str] = field(default_factory=Counter)
    """restored, taken (something else stands there), missing, failed; with `dry_run` kept (in the trash)."""
    lines: tuple[str, ...] = ()
    """A line for each of the first files that did not come back."""
    purge_at: str | None = None
    """When the first of what is kept will be gone."""

    @property
    def complete(self) -> bool:
        """All that was deleted stands there again."""
        return not (self.conflicts or self.refused or self.missing or self.files.keys() - {"restored"})

    def told(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "run_id": self.run_id,
            "dry_run": self.dry_run,
            "complete": self.complete,
            "rows": dict(self.rows),
            "conflicts": dict(self.conflicts),
            "refused": dict(self.refused.most_common(_SHOWN)),
            "missing_rows": self.missing,
            "files": dict(self.files),
            "files_left": list(self.lines),
            "purge_at": self.purge_at,
        }


def undo(place: Workplace, run_id: str, *, undo_id: str, dry_run: bool = False) -> Undone:
    """Bring back what a run deleted: parents first, then children, then files. Running it again is harmless.

    Raises BadArgument where nothing of the run is kept, and Locked while a clean-up runs.
    """
    if dry_run:
        return _look(place.database, run_id)
    with single_flight(place, undo_id):
        done = _look(place.database, run_id)
        done.dry_run = False
        done.rows.clear()
        done.files.clear()
        while _bring_back_once(place, done):
            pass
        # Last: until then a clean-up's purge would find no row that names them.
        _bring_back_files(place, done)
    return done


def _bring_back_once(place: Workplace, done: Undone) -> bool:
    """Bring back what fits now; tell whether more may fit after that: what waits for a row that just came back."""
    before = done.rows.total()
    done.conflicts.clear()
    done.refused.clear()
    for archived in _archived_ids(place.database, done.run_id):
        _bring_back(place, archived, done)
        place.checkpoint("archive row brought back")
    return bool(done.refused) and done.rows.total() > before


def _bring_back_files(place: Workplace, done: Undone) -> None:
    with open_roots(open_root, place.database, place.folders, place.folders) as roots:
        back = restore(place, roots, done.run_id)
    counts = {"restored": back.files, "taken": back.taken, "missing": back.missing, "failed": back.failed}
    done.files.update({what: count for what, count in counts.items() if count})
    done.lines = tuple(back.told)


def _look(database: Database, run_id: str) -> Undone:
    done = Undone(run_id=run_id, dry_run=True)
    with database.read() as connection:
        kept = connection.execute(
            select(archived_row.c.table_name, func.sum(archived_row.c.row_count), func.min(archived_row.c.purge_at))
            .where(archived_row.c.run_id == run_id)
            .group_by(archived_row.c.table_name)
        ).all()
        trashed = select(func.sum(file_outbox.c.file_count), func.min(file_outbox.c.next_at))
        files, files_until = connection.execute(
            trashed.where(file_outbox.c.run_id == run_id, file_outbox.c.state == "trashed")
        ).one()
        deleted = connection.execute(
            select(func.sum(rule_run.c.rows + rule_run.c.children)).where(rule_run.c.run_id == run_id)
        ).scalar()
        back_before = _back_before(connection, run_id)
    if not kept and not files:
        raise BadArgument(_nothing_kept(run_id, deleted))
    done.rows.update({table: int(rows) for table, rows, _ in kept})
    done.files.update({"kept": int(files)} if files else {})
    ends = [end for end in (*(row[2] for row in kept), files_until) if end is not None]
    done.purge_at = min(ends).isoformat(timespec="seconds")
    done.missing = max(0, int(deleted or 0) - back_before - sum(done.rows.values()))
    return done


def _back_before(connection: Connection, run_id: str) -> int:
    """Rows that earlier attempts brought back."""
    return int((stored_state.get(connection, _KEY + run_id) or {}).get("rows", 0))


def _nothing_kept(run_id: str, deleted: int | None) -> str:
    if deleted is None:
        return f"there is no run {run_id!r} that deleted rows; `celery_beat_manager.py history` lists runs"
    if not deleted:
        return f"run {run_id} deleted no rows"
    return (
        f"nothing of the {deleted:,} rows of run {run_id} is kept: they were brought back already, their time is over, "
        "or [retention] keep_deleted was 0; restore a backup"
    )


def _archived_ids(database: Database, run_id: str) -> list[int]:
    statement = select(archived_row.c.id).where(archived_row.c.run_id == run_id)
    with database.read() as connection:
        return list(connection.execute(statement.order_by(archived_row.c.is_child, archived_row.c.id)).scalars())


def _bring_back(place: Workplace, archived: int, done: Undone) -> None:
    result = Result()
    table_name, rows = "", 0
    try:
        with place.database.write() as connection:
            row = connection.execute(select(archived_row).where(archived_row.c.id == archived)).first()
            if row is None:
                return
            table_name, rows = row.table_name, row.row_count
            restorer(connection, table_name).restore(row.rows, result)
            _close(connection, archived, result)
            _count(connection, done.run_id, result.back, place.clock.now())
            place.checkpoint("rows written back")
    except SchemaMismatch as error:
        done.refused[str(error)] += rows
        return
    except DBAPIError as error:
        # Such as a constraint that is only looked at when the transaction ends: nothing of it was kept.
        done.refused[said(error)] += rows
        return
    done.rows[table_name] += result.back
    done.conflicts.update({table_name: result.conflicts} if result.conflicts else {})
    done.refused.update(result.refused)


def _count(connection: Connection, run_id: str, back: int, now: datetime) -> None:
    if back:
        stored_state.put(connection, _KEY + run_id, {"rows": _back_before(connection, run_id) + back}, now)


def _close(connection: Connection, archived: int, result: Result) -> None:
    this = archived_row.c.id == archived
    if not result.left:
        connection.execute(delete(archived_row).where(this))
        return
    rest = f"[{','.join(result.left)}]"
    connection.execute(update(archived_row).where(this).values(rows=rest, row_count=len(result.left)))
