"""Removing N files: ours beside `os.unlink`, `find -delete`, `rm -rf` and the unsafe check of the resolved path.

    make bench BENCH=files N=100000
    python benchmarks/files.py 20000 --folder /srv/disk

Each contestant gets a tree of its own, built anew and alike, in turn. Nothing is asserted: seconds belong to the
machine and its disk, what counts is the ratio within one run. Looking for old files: `BENCH=directories`.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from files_child import build
from measure import Figure, Progress, in_child, machine, median, row_count, table, told_figures, write_results

from app.core.safe_files import create_marker

CHILD = Path(__file__).with_name("files_child.py")
_LIMIT = "os.unlink (limit)"
_OURS = "ours: descriptors, identity"
_OUTBOX = "ours: whole outbox path"
_CONTESTANTS = {_LIMIT: "unlink", _OURS: "ours", _OUTBOX: "outbox", "realpath check (unsafe)": "realpath"}
_COMMANDS = {"find -delete": ("find", "{}", "-type", "f", "-delete"), "rm -rf": ("rm", "-rf", "{}")}
_SHORTEST_S = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", metavar="N", type=row_count, help="files of each tree, 2 KB each")
    parser.add_argument("--rounds", type=row_count, default=3, help="runs of each contestant, in turn (default 3)")
    parser.add_argument("--folder", type=Path, default=None, help="where the trees are built (default TMPDIR)")
    options = parser.parse_args()
    before = machine()
    progress = Progress()
    runs: dict[str, list[Figure]] = defaultdict(list)
    grown: list[float] = []
    with tempfile.TemporaryDirectory(prefix="gengfu-files-", dir=options.folder) as name:
        for number in range(options.rounds):
            _round(Path(name), number, options.files, runs, grown, progress)
    progress.end()
    _tell(runs, grown, before, options.files)


def _round(
    folder: Path, number: int, count: int, runs: dict[str, list[Figure]], grown: list[float], progress: Progress
) -> None:
    for name in (*_CONTESTANTS, *_COMMANDS):
        progress.say(f"round {number + 1}: {name}")
        tree = folder / f"tree-{number}"
        create_marker(tree)
        build(tree, count)
        told = _measured(name, tree, count)
        runs[name].append(Figure(name=name, rows=count, seconds=told["seconds"], peak_rss_mb=told.get("peak_rss_mb")))
        if "grown_mb" in told:
            grown.append(told["grown_mb"])
        for left in (tree, tree.with_name(f"{tree.name}-home")):
            shutil.rmtree(left, ignore_errors=True)


def _measured(name: str, tree: Path, count: int) -> dict[str, Any]:
    if name in _CONTESTANTS:
        return in_child(CHILD, _CONTESTANTS[name], folder=str(tree), count=count)
    started = time.perf_counter()
    subprocess.run([word.format(tree) for word in _COMMANDS[name]], check=True)
    return {"seconds": time.perf_counter() - started}


def _tell(runs: dict[str, list[Figure]], grown: list[float], before: dict[str, Any], count: int) -> None:
    figures = {name: median(name, found) for name, found in runs.items()}
    limit = figures[_LIMIT]
    print(table(f"removing {count:,} files of 2 KB", list(figures.values()), limit))
    print()
    for name in (_OURS, _OUTBOX):
        per_file = figures[name].seconds / count * 1e6
        print(f"{name}: {per_file:.1f} us a file, {figures[name].seconds / limit.seconds:.2f} x os.unlink")
    print(f"the outbox path grew by {max(grown):.1f} MiB")
    if min(figure.seconds for figure in figures.values()) < _SHORTEST_S:
        print("some runs took under 0.1 s: name a larger N for figures that mean anything", file=sys.stderr)
    document = {
        "machine": before,
        "files": count,
        "grown_mb": grown,
        "figures": told_figures(figures.values(), limit),
    }
    print(write_results("files", document))


if __name__ == "__main__":
    main()
