"""The night's work on N tasks: the clean-up and the daily report beside the limit and beside the naive way.

    make bench BENCH=night N=1000000
    python benchmarks/night.py 200000 --sqlite

Runs on the PostgreSQL named in BENCH_DATABASE_URL (databases `bench_*` are created there and dropped), else on one
started from the wheel. All contestants work on copies of the same data, in turn. Nothing is asserted: seconds belong
to the machine, what counts is the ratio within one run.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from databases import SqliteStand, Stand, postgres_stand
from measure import Figure, Progress, in_child, machine, median, row_count, table, told_figures, write_results
from night_limits import EXPIRED, bound, delete_all, group_day, group_day_with_percentiles
from sqlalchemy import Connection, text

from app.core.clock import SystemClock, local_date, local_day_window
from app.core.database import Database, DatabaseSettings
from app.core.migrate import upgrade
from app.demo.create import ROOT_NAMES, DemoSummary, create_demo
from app.retention.roots import init_roots

CHILD = Path(__file__).with_name("night_child.py")
ZONE = "Asia/Shanghai"
_BYTES_A_TASK = 2_500  # on disk, for the base, one copy and the log of its deletion
_FILE_COLUMNS = {"image_path": "uploads", "document_path": "documents", "screenshot_path": "screenshots"}
_FEWEST = 1_000
_SHORTEST_S = 0.1
_PERCENTILES = "the same with percentiles"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line asks for."""

    tasks: int
    sqlite: bool
    files: int
    rounds: int
    sample: int
    seed: int


@dataclass(kw_only=True)
class Bench:
    """One run: where it works and what it found."""

    options: Options
    stand: Stand
    folder: Path
    progress: Progress
    now: datetime
    expired: int = 0
    doubts: list[str] = field(default_factory=list)
    runs: dict[str, list[Figure]] = field(default_factory=lambda: defaultdict(list))
    documents: list[dict[str, Any]] = field(default_factory=list)

    @property
    def folders(self) -> Mapping[str, Path]:
        return {name: self.folder / "roots" / name for name in (*ROOT_NAMES, "logs")}

    @property
    def cutoffs(self) -> dict[str, datetime]:
        return {
            "completed": self.now - timedelta(days=30),
            "failed": self.now - timedelta(days=7),
            "earliest": datetime(1990, 1, 1, tzinfo=UTC),
        }

    def result(self, name: str) -> Figure:
        return median(name, self.runs[name])


def main() -> None:
    options = _options()
    progress = Progress()
    with tempfile.TemporaryDirectory(prefix="gengfu-bench-") as folder:
        _require_room(options, Path(folder))
        before = machine()
        with _stand(options, Path(folder)) as stand:
            now = datetime.now(UTC).replace(microsecond=0)
            bench = Bench(options=options, stand=stand, folder=Path(folder), progress=progress, now=now)
            _build(bench)
            for number in range(options.rounds):
                _measure_cleanup(bench, number)
            _measure_orm(bench)
            _measure_statistics(bench)
            progress.end()
            _tell(bench, before)


def _options() -> Options:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tasks", metavar="N", type=row_count, help="rows in the task table")
    parser.add_argument("--sqlite", action="store_true", help="measure on SQLite instead of PostgreSQL")
    parser.add_argument("--files", type=row_count, default=0, help="make this many files of expired rows (default 0)")
    parser.add_argument("--rounds", type=row_count, default=3, help="runs of limit and ours, in turn (default 3)")
    parser.add_argument("--sample", type=row_count, default=2_000, help="rows of the ORM run (default 2000)")
    parser.add_argument("--seed", type=int, default=1)
    return Options(**vars(parser.parse_args()))


def _require_room(options: Options, folder: Path) -> None:
    needed, free = options.tasks * _BYTES_A_TASK, shutil.disk_usage(folder).free
    if needed > free:
        sys.exit(
            f"{options.tasks:,} tasks need some {needed / 1e9:.1f} GB below {folder}, {free / 1e9:.1f} GB are free; "
            "name a smaller N or set TMPDIR"
        )


def _stand(options: Options, folder: Path) -> Any:
    return nullcontext(SqliteStand(folder)) if options.sqlite else postgres_stand()


def _build(bench: Bench) -> None:
    bench.progress.say(f"building {bench.options.tasks:,} tasks")
    database = Database(bench.stand.base, DatabaseSettings(deadline_s=7200))
    try:
        upgrade(database)
        for folder in bench.folders.values():
            folder.mkdir(parents=True)
        summary = _created(bench, database)
        init_roots(database, bench.folders, SystemClock())
        with database.read() as connection:
            _write_files(bench, connection)
    finally:
        database.dispose()
    bench.expired = summary.expired_tasks
    bench.stand.settle()
    bench.doubts += [*_doubts_of_data(bench), *bench.stand.doubts()]


def _created(bench: Bench, database: Database) -> DemoSummary:
    options = bench.options
    return create_demo(
        database,
        {},
        bench.folders["logs"],
        tasks=options.tasks,
        seed=options.seed,
        now=bench.now,
        zone=ZoneInfo(ZONE),
        on_progress=lambda done: bench.progress.update(f"building: {done:,} of {options.tasks:,} tasks"),
        files=False,
    )


def _write_files(bench: Bench, connection: Connection) -> None:
    """Give some of the expired rows real files: what their removal costs is measured with them."""
    left = bench.options.files
    for column, root in _FILE_COLUMNS.items():
        paths = connection.execute(
            text(f"SELECT DISTINCT {column} FROM tasks WHERE {EXPIRED} AND {column} IS NOT NULL LIMIT :left"),
            {**bound(bench.cutoffs, connection), "left": left},
        ).scalars()
        for path in paths:
            left -= _write_file(bench.folder / "files" / root, path)


def _write_file(root: Path, path: str) -> bool:
    target = root / path
    if not target.resolve().is_relative_to(root):  # the sample has hostile paths, too
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(b"\0" * 2_000)
    return True


def _doubts_of_data(bench: Bench) -> Iterator[str]:
    if bench.options.tasks < _FEWEST:
        yield f"{bench.options.tasks:,} tasks are too few: below {_FEWEST:,} only the fixed costs show"
    if not bench.expired:
        yield "nothing has expired: there is nothing to delete"
    elif bench.expired < _FEWEST:
        yield f"only {bench.expired:,} rows have expired: below {_FEWEST:,} only the fixed costs show"


def _measure_cleanup(bench: Bench, number: int) -> None:
    contestants = [
        ("one DELETE per table (limit)", _delete_all),
        ("ours", _clean_up),
    ]
    # Whoever comes first finds another machine than the second: they take turns.
    for name, work in contestants if number % 2 == 0 else contestants[::-1]:
        bench.progress.say(f"clean-up, round {number + 1} of {bench.options.rounds}: {name}")
        with _copied(bench) as url:
            bench.runs[name].append(work(bench, url))


def _delete_all(bench: Bench, url: str) -> Figure:
    return delete_all(url, bench.cutoffs)


def _clean_up(bench: Bench, url: str) -> Figure:
    if (bench.folder / "files").exists():
        shutil.copytree(bench.folder / "files", bench.folder / "roots", dirs_exist_ok=True)
        os.sync()
    folders = {name: str(path) for name, path in bench.folders.items()}
    lock = str(bench.folder / "cleanup.lock")
    told = in_child(CHILD, "cleanup", url=url, folders=folders, lock_file=lock, expected=bench.expired)
    document = told["document"]
    bench.documents.append(told)
    if document["state"] != "done":
        bench.doubts.append(f"our clean-up ended as {document['state']}: {document['errors']}")
    note = (
        f"{document['receipts_cleaned']:,} receipts, {document['files_cleaned']:,} files; "
        f"rows alone {told['rows_seconds']:.2f} s; {told['cpu_s']:.1f} s of CPU outside the database"
    )
    rows = document["tasks_cleaned"]
    return Figure(name="ours", rows=rows, seconds=told["seconds"], peak_rss_mb=told["peak_rss_mb"], note=note)


def _measure_orm(bench: Bench) -> None:
    bench.progress.say(f"ORM row by row on {bench.options.sample:,} rows")
    cutoffs = {name: at.isoformat() for name, at in bench.cutoffs.items()}
    with _copied(bench) as url:
        told = in_child(CHILD, "orm", url=url, sample=bench.options.sample, cutoffs=cutoffs)
    name, note = "ORM row by row", "a sample, in one transaction"
    bench.runs[name].append(Figure(name=name, rows=told["rows"], seconds=told["seconds"], note=note))


def _measure_statistics(bench: Bench) -> None:
    day = local_date(bench.now, ZoneInfo(ZONE)) - timedelta(days=1)
    window = local_day_window(day, ZoneInfo(ZONE))
    arguments = {"day": day.isoformat(), "zone": ZONE}
    with _copied(bench) as url:
        for number in range(bench.options.rounds):
            bench.progress.say(f"statistics, round {number + 1} of {bench.options.rounds}")
            bench.runs["one GROUP BY over the day (limit)"].append(group_day(url, *window))
            if not bench.options.sqlite:
                bench.runs[_PERCENTILES].append(group_day_with_percentiles(url, *window))
            ours = in_child(CHILD, "report", url=url, **arguments)
            naive = in_child(CHILD, "rows_in_python", url=url, **arguments)
            memory = ours["peak_rss_mb"]
            for name, key in (("ours, a day's report", "seconds"), ("ours, with seven days to add", "first_seconds")):
                figure = Figure(name=name, rows=ours["rows"], seconds=ours[key], peak_rss_mb=memory)
                bench.runs[name].append(figure)
            name = "eight days' rows in Python"
            pulled = Figure(name=name, rows=naive["rows"], seconds=naive["seconds"], peak_rss_mb=naive["peak_rss_mb"])
            bench.runs[name].append(pulled)


def _tell(bench: Bench, before: dict[str, Any]) -> None:
    cleanup = [bench.result(name) for name in ("one DELETE per table (limit)", "ours", "ORM row by row")]
    statistics = [bench.result(name) for name in bench.runs if name not in {figure.name for figure in cleanup}]
    bench.doubts += _doubts_of_figures(cleanup, before)
    print(_headline(bench, before))
    print(f"\n{table('clean-up', cleanup, cleanup[0])}")
    print(f"\n{table('daily statistics', statistics, statistics[0])}\n")
    for doubt in bench.doubts:
        print(f"MEANINGLESS: {doubt}")
    document = {
        "machine": before,
        "database": bench.stand.describe(),
        "options": vars(bench.options),
        "meaningless": bench.doubts,
        "cleanup": told_figures(cleanup, cleanup[0]),
        "statistics": told_figures(statistics, statistics[0]),
        "runs": {name: [vars(run) for run in runs] for name, runs in bench.runs.items()},
        "reports": bench.documents,
    }
    name = f"night-{bench.stand.describe()['kind']}-{bench.options.tasks}"
    print(f"figures: {write_results(name, document)}")


def _headline(bench: Bench, before: dict[str, Any]) -> str:
    about = bench.stand.describe()
    return (
        f"{about['kind']} {about['server_version']}, {bench.options.tasks:,} tasks ({about['size_mb']:,} MiB), "
        f"{bench.expired:,} expired; {before['cores']} cores; medians of {bench.options.rounds} rounds"
    )


def _doubts_of_figures(cleanup: list[Figure], before: dict[str, Any]) -> Iterator[str]:
    limit, ours = cleanup[0], cleanup[1]
    if limit.seconds < _SHORTEST_S:
        yield f"the limit took {limit.seconds:.3f} s: too short to be compared with; name a larger N"
    # A few rows expire while the others are measured.
    if abs(limit.rows - ours.rows) > max(10, limit.rows // 200):
        yield f"the limit deleted {limit.rows:,} rows and ours {ours.rows:,}: they did not do the same"
    if before["load_before"] > before["cores"]:
        yield f"the machine was busy before: load {before['load_before']} on {before['cores']} cores"


@contextmanager
def _copied(bench: Bench) -> Iterator[str]:
    url = bench.stand.copy("copy")
    try:
        yield url
    finally:
        bench.stand.drop("copy")


if __name__ == "__main__":
    main()
