"""Back up the database into one checked file, and keep the newest few."""

import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import structlog

from app.core.clock import Clock
from app.core.database import Database
from app.core.errors import GengfuError, Locked, OutputUnwritable, PathRefused, RootRefused
from app.core.safe_files import Root, create_marker, open_root
from app.upkeep import dump_postgresql, dump_sqlite
from app.upkeep.dump import BackupFailed
from app.upkeep.settings import UpkeepSettings

_SUFFIX = {"sqlite": "db", "postgresql": "dump"}
_BACKUP = re.compile(r"gengfu_\d{8}_\d{6}\.(db|dump)")
_TEMPORARY = re.compile(r"\.gengfu_\d{8}_\d{6}\.(db|dump)\.[0-9a-f]{12}\.tmp(-journal|-wal|-shm)?")
_ABANDONED_S = 24 * 3600
_log = structlog.get_logger("gengfu.upkeep")


def backup_database(
    database: Database, settings: UpkeepSettings, folder: Path, clock: Clock, zone: ZoneInfo
) -> dict[str, Any]:
    """Write `gengfu_YYYYMMDD_HHMMSS.db` (SQLite) or `.dump` (pg_dump's custom format) into `folder`, by local time.

    The copy is checked (integrity_check, pg_restore --list) and on the disk before it gets its name; only then do older
    backups of the same kind beyond `backup_keep` go. Returns success, file, bytes, seconds, removed_old and warnings;
    where no backup could be made, success false and `error`. A folder that does not exist is made and marked as ours;
    in a folder without our mark nothing is ever removed, which a warning says.
    Raises DatabaseUnavailable, DatabaseBusy, OutputUnwritable, RootRefused, and Locked while another backup is running.
    """
    begun = clock.monotonic()
    _make(folder)
    with _alone(folder), _folder_root(folder) as root:
        try:
            path, warnings = _write(database, settings, folder, clock.now().astimezone(zone), root)
        except BackupFailed as error:
            _log.error("backup_failed", error=str(error))
            return {"success": False, "error": str(error), "file": None, "removed_old": 0, "warnings": []}
        removed, refusals = _remove_old(folder, root, path, settings.backup_keep, clock.now())
        result = {
            "success": True,
            "file": str(path),
            "bytes": path.stat().st_size,
            "seconds": round(clock.monotonic() - begun, 3),
            "removed_old": removed,
            "warnings": warnings + refusals,
        }
    _log.info("backup_written", file=result["file"], bytes=result["bytes"], removed_old=removed)
    return result


def _make(folder: Path) -> None:
    """Create and mark a folder that is not there; one that is there keeps its owner's will."""
    if not folder.exists():
        create_marker(folder)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    try:
        descriptor = os.open(folder / ".backup.lock", os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OutputUnwritable(f"can't write into {folder}: {error.strerror}; fix [upkeep] backup_folder") from error
    try:
        _lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Locked(f"another backup into {folder} is running; wait for it to end") from error


@contextmanager
def _folder_root(folder: Path) -> Iterator[Root | str]:
    """Give the marked folder for removing files, or the reason why nothing may be removed there."""
    try:
        root = open_root("backups", folder)
    except RootRefused as error:
        why = str(error).partition(";")[0]
        yield f"old backups stay ({why}); name a folder in [upkeep] backup_folder that does not exist yet"
        return
    with root:
        yield root


def _write(
    database: Database, settings: UpkeepSettings, folder: Path, at: datetime, root: Root | str
) -> tuple[Path, list[str]]:
    path = folder / f"gengfu_{at:%Y%m%d_%H%M%S}.{_SUFFIX[database.dialect]}"
    if path.exists():
        raise BackupFailed(f"{path} is there already; one backup a second is enough")
    temporary = folder / f".{path.name}.{secrets.token_hex(6)}.tmp"
    try:
        # Made before the copy starts, so that it is private from its first byte on.
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        dump = dump_sqlite if database.dialect == "sqlite" else dump_postgresql
        warnings = dump.dump(database, temporary, settings.backup_timeout_s)
        _sync(temporary)
        temporary.rename(path)
        _sync(folder)
    except OSError as error:
        _discard(root, temporary)
        raise OutputUnwritable(f"can't write {path}: {error.strerror}; free space or fix its permissions") from error
    except BaseException:
        _discard(root, temporary)
        raise
    return path, warnings


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _discard(root: Root | str, temporary: Path) -> None:
    """Give the space of a failed backup back, in a folder that is not ours without removing anything."""
    try:
        if isinstance(root, Root):
            root.remove(os.fsencode(temporary.name), None)
        else:
            os.truncate(temporary, 0)
    except (GengfuError, OSError) as error:
        _log.warning("backup_remains_left", file=str(temporary), error=str(error))


def _remove_old(folder: Path, root: Root | str, newest: Path, keep: int, now: datetime) -> tuple[int, list[str]]:
    """Remove backups of the same kind beyond `keep`, and what killed backups left a day ago or more."""
    names = os.listdir(folder)  # noqa: PTH208 - names are what is compared
    backups = sorted(name for name in names if _BACKUP.fullmatch(name) and name.endswith(newest.suffix))
    old = [name for name in backups if name != newest.name][: max(0, len(backups) - keep)]
    left = [name for name in names if _TEMPORARY.fullmatch(name)]
    if not old and not left:
        return 0, []
    if isinstance(root, str):
        return 0, [f"old backups stay: {root}"]
    refusals: list[str] = []
    removed = sum(_removed(root, name, refusals, None) for name in old)
    for name in left:
        _removed(root, name, refusals, int((now.timestamp() - _ABANDONED_S) * 1e9))
    return removed, refusals


def _removed(root: Root, name: str, refusals: list[str], before_ns: int | None) -> bool:
    """Remove one file, if it is older than `before_ns` where that is given."""
    try:
        entry = root.inspect(os.fsencode(name))
        if entry is None or (before_ns is not None and entry.newest_ns >= before_ns):
            return False
        return root.remove(entry.relative, entry.identity) is not None
    except (PathRefused, RootRefused) as error:
        refusals.append(f"{name} stays: {error}")
        return False
