"""Finding and removing old files: ours beside `find`, a bare scan and what scripts usually do.

    make bench BENCH=directories N=100000

Equal trees of a thousand files a folder, every tenth forty days old; the contestants take turns. The system calls are
the same for all of them: what differs is the work between two, so that the processor's time is told, too.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from measure import Figure, Progress, machine, median, peak_rss_mb, row_count, table, told_figures, write_results

from app.core.clock import SystemClock
from app.core.database import Database, DatabaseSettings
from app.core.migrate import upgrade
from app.core.safe_files import create_marker, open_root, view_root
from app.core.source_tables import SourceSettings, map_source_tables
from app.retention.directories import DirectoryEngine
from app.retention.folder_rules import DirectoryRule
from app.retention.lock import Flight
from app.retention.problems import Problems
from app.retention.roots import init_roots, open_roots
from app.retention.settings import RetentionSettings
from app.retention.sweep import Sweep
from app.retention.tally import Tally
from app.retention.workplace import Workplace

_PER_FOLDER = 1000
_OLD = timedelta(days=40)
_KEPT = timedelta(days=30)
_ROUNDS = 3


def main() -> None:
    """Measure, print two tables and write a result file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=row_count, nargs="?", default=100_000)
    files = parser.parse_args().files
    progress = Progress()
    with tempfile.TemporaryDirectory(prefix="gengfu-bench-") as place:
        scans = _rounds(progress, "scan", Path(place), files, _SCANS, is_fresh_each_time=False)
        with _workplace(Path(place)) as house:
            ours = {"ours, told and counted": lambda tree: _ours_removing(house, tree)}
            removals = _rounds(progress, "remove", Path(place), files, _REMOVALS | ours, is_fresh_each_time=True)
    progress.end()
    for title, figures in (("finding old files", scans), ("removing them, too", removals)):
        sys.stdout.write(f"{table(title, figures, figures[0])}\n\n")
    told = {"scan": told_figures(scans, scans[0]), "remove": told_figures(removals, removals[0])}
    sys.stdout.write(f"{write_results('directories', {'files': files, 'machine': machine(), **told})}\n")


def _rounds(
    progress: Progress,
    what: str,
    place: Path,
    files: int,
    contestants: dict[str, Callable[[Path], int]],
    *,
    is_fresh_each_time: bool,
) -> list[Figure]:
    runs: dict[str, list[Figure]] = {name: [] for name in contestants}
    tree = place / what / "tree"
    for number in range(_ROUNDS):
        for name, work in contestants.items():
            if is_fresh_each_time or not tree.exists():
                progress.say(f"{what}: making {files:,} files")
                make_tree(tree, files)
            progress.say(f"{what}: {name}, round {number + 1}")
            runs[name].append(_measured(name, work, tree, files))
    return [median(name, figures) for name, figures in runs.items()]


def _measured(name: str, work: Callable[[Path], int], tree: Path, files: int) -> Figure:
    memory, began, used = peak_rss_mb(), time.perf_counter(), os.times()
    found = work(tree)
    seconds, now = time.perf_counter() - began, os.times()
    expected = -(-files // 10)
    if found != expected:
        sys.exit(f"{name} found {found:,} old files, not {expected:,}")
    cpu = sum(now[:4]) - sum(used[:4])
    grown = peak_rss_mb() - memory
    note = f"{cpu / files * 1e6:.1f} us of processor a file, {grown:.1f} MiB grown"
    return Figure(name=name, rows=files, seconds=seconds, note=note)


def make_tree(tree: Path, files: int) -> None:
    """Bring the tree to its full number of files."""
    stamp = time.time() - _OLD.total_seconds()
    for number in range(files):
        path = tree / f"{number // _PER_FOLDER}" / f"文件-{number}.tmp"
        if number % _PER_FOLDER == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_bytes(b"x" * 2048)
        if number % 10 == 0:
            os.utime(path, (stamp, stamp))
    create_marker(tree)


def _find(tree: Path, *action: str) -> int:
    line = ["find", str(tree), "-type", "f", "-mtime", f"+{_KEPT.days}", "-printf", "x", *action]
    return len(subprocess.run(line, stdout=subprocess.PIPE, check=True).stdout)


def _each(tree: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(tree) as listing:
        for item in listing:
            if item.is_dir(follow_symlinks=False):
                yield from _each(Path(item.path))
            else:
                yield item


def _bare(tree: Path) -> int:
    """What Python can do at best: scandir and stat, nothing checked."""
    before = time.time() - _KEPT.total_seconds()
    return sum(item.stat(follow_symlinks=False).st_mtime < before for item in _each(tree))


def _script(tree: Path, *, remove: bool = False) -> int:
    """What scripts do: os.walk, path by path."""
    before, found = time.time() - _KEPT.total_seconds(), 0
    for folder, _, names in os.walk(tree):
        for name in names:
            path = Path(folder) / name
            if path.stat().st_mtime < before:
                found += 1
                if remove:
                    path.unlink()
    return found


def _rule() -> DirectoryRule:
    before = datetime.now(UTC) - _KEPT
    return DirectoryRule(
        name="temp", kind="temp", root="temp", before_ns=int(before.timestamp()) * 10**9, any_stamp=False
    )


def _ours(tree: Path) -> int:
    nothing_busy: frozenset[tuple[int, int]] = frozenset()
    with view_root("temp", tree) as root:
        sweep = Sweep(root, [_rule()], busy=nothing_busy, on_refused=_raise, is_over=lambda: False)
        return sum(len(batch) for batch in sweep.batches())


def _ours_removing(place: Workplace, tree: Path) -> int:
    init_roots(place.database, {"temp": tree}, place.clock)
    tally = Tally(place, "bench")
    with open_roots(open_root, place.database, place.folders, ["temp"]) as roots:
        DirectoryEngine(place, roots, tally, Flight(), Problems()).run([_rule()], float("inf"))
    tally.close()
    return tally.counts["temp"]


@contextmanager
def _workplace(folder: Path) -> Iterator[Workplace]:
    database = Database(f"sqlite:///{folder / 'own.db'}", DatabaseSettings())
    upgrade(database)
    try:
        yield Workplace(
            database=database,
            source=map_source_tables(SourceSettings()),
            settings=RetentionSettings(),
            folders={"temp": folder / "remove" / "tree"},
            active_logs=frozenset(),
            clock=SystemClock(),
            lock_file=folder / "lock",
        )
    finally:
        database.dispose()


def _raise(refusal: Exception) -> None:
    raise refusal


_SCANS = {"find -mtime": _find, "bare scan in Python": _bare, "ours": _ours, "os.walk script": _script}
_REMOVALS = {
    "find -mtime -delete": lambda tree: _find(tree, "-delete"),
    "os.walk script": lambda tree: _script(tree, remove=True),
}

if __name__ == "__main__":
    main()
