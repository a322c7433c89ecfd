"""One contestant of the file benchmark, in a process of its own: `python files_child.py WORK`, arguments on stdin."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from measure import answer, peak_rss_mb
from sqlalchemy import insert

from app.core.clock import SystemClock
from app.core.database import Database, DatabaseSettings
from app.core.migrate import upgrade
from app.core.own_tables import file_outbox
from app.core.safe_files import Identity, open_root
from app.core.source_tables import SourceSettings, map_source_tables
from app.demo import schema
from app.retention.due_files import FileWork
from app.retention.lock import Flight
from app.retention.outbox import FileEngine
from app.retention.outbox_entry import OutboxFile, packed
from app.retention.problems import Problems
from app.retention.roots import init_roots, open_roots
from app.retention.settings import RetentionSettings
from app.retention.stored_paths import FileColumns
from app.retention.tally import Tally
from app.retention.workplace import Workplace

_A_FOLDER = 500
_A_BATCH = 2_000  # files of one outbox row


def paths(count: int) -> Iterator[str]:
    """Yield the paths of the tree below its root, neighbours one after the other."""
    for number in range(count):
        yield f"2026/{number // _A_FOLDER:05}/{number:08}.jpg"


def build(folder: Path, count: int) -> None:
    """Write the files, 2 KB each."""
    content = b"x" * 2048
    for number, path in enumerate(paths(count)):
        full = folder / path
        if number % _A_FOLDER == 0:
            full.parent.mkdir(parents=True, exist_ok=True)
        full.write_bytes(content)


def unlink(folder: Path, count: int) -> dict[str, Any]:
    """The limit: one system call a file, whatever stands there."""
    full = [str(folder / path) for path in paths(count)]
    return timed(lambda: [os.unlink(path) for path in full])  # noqa: PTH108 - the bare call is what is measured


def realpath(folder: Path, count: int) -> dict[str, Any]:
    """The common check, which a swapped folder deceives."""
    full = [str(folder / path) for path in paths(count)]
    top = os.path.realpath(folder)

    def work() -> None:
        for path in full:
            if os.path.realpath(path).startswith(f"{top}/"):
                os.unlink(path)  # noqa: PTH108 - the bare call is what is measured

    return timed(work)


def ours(folder: Path, count: int) -> dict[str, Any]:
    """Removal by descriptor with the comparison of identities."""
    files = [(path.encode(), Identity.of((folder / path).stat())) for path in paths(count)]
    with open_root("bench", folder) as root:
        return timed(lambda: [outcome for outcome in root.remove_each(files) if not isinstance(outcome, int)])


def outbox(folder: Path, count: int) -> dict[str, Any]:
    """All that a run does for the files of deleted rows: references, condemnation, removal, counting, two commits."""
    place, columns = _workplace(folder)
    _fill(place, folder, count)
    before = peak_rss_mb()
    with open_roots(open_root, place.database, place.folders, ["uploads"]) as roots:
        tally = Tally(place, "bench")
        work = FileWork(place=place, columns=columns, roots=roots, tally=tally, flight=Flight(), problems=Problems())
        engine = FileEngine(work)
        told = timed(lambda: engine.run(place.clock.monotonic() + 3600))
    if tally.counts["files"] != count:
        sys.exit(f"{tally.counts['files']} of {count} files were removed")
    return {**told, "grown_mb": round(peak_rss_mb() - before, 1)}


def timed(work: Callable[[], object]) -> dict[str, Any]:
    """Return the seconds that `work` takes."""
    started = time.perf_counter()
    work()
    return {"seconds": time.perf_counter() - started}


def _workplace(folder: Path) -> tuple[Workplace, FileColumns]:
    home = folder.with_name(f"{folder.name}-home")
    home.mkdir()
    database = Database(f"sqlite:///{home / 'bench.db'}", DatabaseSettings())
    upgrade(database)
    with database.write() as connection:
        schema.metadata.create_all(connection)
    folders = {"uploads": folder}
    place = Workplace(
        database=database,
        source=map_source_tables(SourceSettings()),
        settings=RetentionSettings(),
        folders=folders,
        active_logs=frozenset(),
        clock=SystemClock(),
        lock_file=home / "lock",
    )
    init_roots(database, folders, place.clock)
    return place, FileColumns()


def _fill(place: Workplace, folder: Path, count: int) -> None:
    """Write the outbox as the deletion of the rows would have."""
    now = datetime.now(UTC) - timedelta(seconds=1)
    batch: list[OutboxFile] = []
    with place.database.write() as connection, open_root("uploads", folder) as root:
        for number, path in enumerate(paths(count), 1):
            entry = root.inspect(path.encode())
            if entry is None:
                sys.exit(f"{path} is not there")
            batch.append(OutboxFile.of("uploads", path, entry))
            if len(batch) == _A_BATCH or number == count:
                row = {"run_id": "bench", "created_at": now, "next_at": now, "attempts": 0, "state": "pending"}
                connection.execute(insert(file_outbox).values(files=packed(batch), file_count=len(batch), **row))
                batch.clear()


WORKS: dict[str, Callable[[Path, int], dict[str, Any]]] = {
    "unlink": unlink,
    "realpath": realpath,
    "ours": ours,
    "outbox": outbox,
}

if __name__ == "__main__":
    arguments = json.load(sys.stdin)
    answer(WORKS[sys.argv[1]](Path(arguments["folder"]), arguments["count"]))
