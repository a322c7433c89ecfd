"""The night's statistics on N tasks: the daily report beside the limit and beside the naive way.

    make bench BENCH=night N=1000000
    python benchmarks/night.py 200000 --sqlite

Runs on the PostgreSQL named in BENCH_DATABASE_URL (databases `bench_*` are created there and dropped), else on one
started from the wheel. All contestants read the same rows, in turn. Nothing is asserted: seconds belong to the machine,
what counts is the ratio within one run. The night's clean-up is measured by `BENCH=retention`.
"""

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from databases import SqliteStand, postgres_stand
from measure import Figure, Progress, in_child, machine, median, row_count, table, told_figures, write_results
from night_limits import group_day, group_day_with_percentiles
from sample import ZONE, Sample, build_sample, require_room

from app.core.clock import local_date, local_day_window

CHILD = Path(__file__).with_name("night_child.py")
_PERCENTILES = "the same with percentiles"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line asks for."""

    tasks: int
    sqlite: bool
    rounds: int
    seed: int


@dataclass(kw_only=True)
class Bench:
    """One run: its rows and what it found."""

    options: Options
    sample: Sample
    progress: Progress
    runs: dict[str, list[Figure]] = field(default_factory=lambda: defaultdict(list))

    def result(self, name: str) -> Figure:
        return median(name, self.runs[name])


def main() -> None:
    options, progress = _options(), Progress()
    with tempfile.TemporaryDirectory(prefix="gengfu-bench-") as name:
        folder = Path(name)
        require_room(options.tasks, folder)
        before = machine()
        with nullcontext(SqliteStand(folder)) if options.sqlite else postgres_stand() as stand:
            sample = build_sample(stand, folder, options.tasks, options.seed, progress)
            bench = Bench(options=options, sample=sample, progress=progress)
            _measure(bench)
            progress.end()
            _tell(bench, before)


def _options() -> Options:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tasks", metavar="N", type=row_count, help="rows in the task table")
    parser.add_argument("--sqlite", action="store_true", help="measure on SQLite instead of PostgreSQL")
    parser.add_argument("--rounds", type=row_count, default=3, help="runs of each, in turn (default 3)")
    parser.add_argument("--seed", type=int, default=1)
    return Options(**vars(parser.parse_args()))


def _measure(bench: Bench) -> None:
    day = local_date(bench.sample.now, ZoneInfo(ZONE)) - timedelta(days=1)
    window = local_day_window(day, ZoneInfo(ZONE))
    arguments = {"day": day.isoformat(), "zone": ZONE}
    with bench.sample.copied() as url:
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
    figures = [bench.result(name) for name in bench.runs]
    doubts = [*bench.sample.doubts(), *_doubts(before)]
    about = bench.sample.stand.describe()
    print(
        f"{about['kind']} {about['server_version']}, {bench.options.tasks:,} tasks ({about['size_mb']:,} MiB); "
        f"{before['cores']} cores; medians of {bench.options.rounds} rounds"
    )
    print(f"\n{table('daily statistics', figures, figures[0])}\n")
    for doubt in doubts:
        print(f"MEANINGLESS: {doubt}")
    document = {
        "machine": before,
        "database": about,
        "options": vars(bench.options),
        "meaningless": doubts,
        "statistics": told_figures(figures, figures[0]),
        "runs": {name: [vars(run) for run in runs] for name, runs in bench.runs.items()},
    }
    path = write_results(f"night-{about['kind']}-{bench.options.tasks}", document)
    print(f"figures: {path}")


def _doubts(before: dict[str, Any]) -> Iterator[str]:
    if before["load_before"] > before["cores"]:
        yield f"the machine was busy before: load {before['load_before']} on {before['cores']} cores"


if __name__ == "__main__":
    main()
