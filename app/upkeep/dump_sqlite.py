"""Copy a SQLite database while it is in use."""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from app.core.database import Database
from app.upkeep.dump import BackupFailed

_BUSY_S = 30.0


def dump(database: Database, target: Path, _timeout_s: int) -> list[str]:
    """Copy the database into the empty file `target`, check the copy, return no warnings. Raises BackupFailed."""
    source = database.file
    if source is None or str(source) in {".", ":memory:"}:
        raise BackupFailed("a database in memory can't be backed up; set DATABASE_URL to a file")
    try:
        _copy(source, target)
        _check(target)
    except sqlite3.Error as error:
        raise BackupFailed(f"{source} can't be copied: {error}") from error
    return []


def _copy(source: Path, target: Path) -> None:
    """Copy in one step: in WAL mode that keeps no writer waiting, while in small steps each write begins it anew."""
    # Read-write, never created: a reader alone can't recover the write-ahead log of a killed writer.
    address = f"file:{quote(str(source.absolute()))}?mode=rw"
    with (
        closing(sqlite3.connect(address, uri=True, timeout=_BUSY_S)) as original,
        closing(sqlite3.connect(target)) as copy,
    ):
        original.backup(copy)
        # The copy must be whole in its one file.
        copy.execute("PRAGMA journal_mode = DELETE")


def _check(target: Path) -> None:
    with closing(sqlite3.connect(f"file:{quote(str(target.absolute()))}?mode=ro", uri=True)) as copy:
        verdict = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if verdict != "ok":
        raise BackupFailed(f"the copy is damaged: {verdict}; check the database itself with PRAGMA integrity_check")
