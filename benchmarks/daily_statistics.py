"""The figures of one day in a table of N tasks over 60 days, beside the limit and beside the usual ways.

    make bench BENCH=statistics N=1000000
    python benchmarks/daily_statistics.py 200000 --database sqlite

On SQLite and on PostgreSQL (BENCH_DATABASE_URL, else one started from the wheel). The limit is one bare statement with
the main figures, without guards against odd rows; beside it stands one with all the figures of a report. Nothing is
asserted: seconds belong to the machine, what counts is the ratio within one run. Processor time (of contestant and
server) is the better guide where the machine does other things too.
"""

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from daily_statistics_data import DAY, ZONE, build
from databases import SqliteStand, Stand, postgres_stand
from measure import Figure, Progress, in_child, machine, median, row_count, table, told_figures, write_results

CHILD = Path(__file__).with_name("daily_statistics_child.py")
_CONTESTANTS = {
    "bare_statement": "one bare statement (limit)",
    "bare_all_figures": "bare, all our figures",
    "read_day": "ours, the figures alone",
    "report": "ours, the whole report",
    "one_query_each": "one query per figure",
    "rows_of_day": "the day's rows in Python",
    "rows_of_week": "the week's rows in Python",
    "orm_rows_of_week": "the week's rows as objects",
}
_FEWEST = 5_000
_SHORTEST_S = 0.01


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line asks for."""

    tasks: int
    database: str
    rounds: int
    messages: int


@dataclass(kw_only=True)
class Bench:
    """One database and what was found on it."""

    options: Options
    stand: Stand
    progress: Progress
    doubts: list[str] = field(default_factory=list)
    runs: dict[str, list[Figure]] = field(default_factory=lambda: defaultdict(list))

    def result(self, name: str) -> Figure:
        return median(_CONTESTANTS.get(name, name), self.runs[name])


def main() -> None:
    options = _options()
    before = machine()
    kinds = ("sqlite", "postgresql") if options.database == "both" else (options.database,)
    for kind in kinds:
        with tempfile.TemporaryDirectory(prefix="gengfu-bench-") as folder, _stand(kind, Path(folder)) as stand:
            bench = Bench(options=options, stand=stand, progress=Progress())
            bench.progress.say(f"building {options.tasks:,} tasks on {kind}")
            build(stand.base, options.tasks, options.messages)
            stand.settle()
            bench.doubts += stand.doubts()
            for number in range(options.rounds):
                _measure(bench, number)
            bench.progress.end()
            _tell(bench, before)


def _options() -> Options:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tasks", metavar="N", type=row_count, help="rows in the task table, over 60 days")
    parser.add_argument("--database", choices=("both", "sqlite", "postgresql"), default="both")
    parser.add_argument("--rounds", type=row_count, default=3, help="runs of each contestant, in turn (default 3)")
    parser.add_argument(
        "--messages", type=row_count, default=100_000, help="failed tasks on each of two more days (default 100000)"
    )
    return Options(**vars(parser.parse_args()))


def _stand(kind: str, folder: Path) -> AbstractContextManager[Stand]:
    return nullcontext(SqliteStand(folder)) if kind == "sqlite" else postgres_stand()


def _measure(bench: Bench, number: int) -> None:
    url = bench.stand.base
    works = [(name, DAY) for name in _CONTESTANTS]
    # Whoever comes first finds another machine than the second: they take turns.
    for name, day in works if number % 2 == 0 else works[::-1]:
        bench.progress.say(f"round {number + 1} of {bench.options.rounds}: {_CONTESTANTS[name]}")
        bench.runs[name].append(_figure(url, name, name, day))
    for name, day in (("failures with one message", date(2030, 1, 1)), ("failures, all different", date(2030, 1, 3))):
        bench.runs[name].append(_figure(url, name, "read_day", day))
    bench.runs["trend from roll-ups"].append(_figure(url, "trend from roll-ups", "trend", DAY))


def _figure(url: str, name: str, work: str, day: date) -> Figure:
    told = in_child(CHILD, work, url=url, day=day.isoformat(), zone=ZONE)
    memory, note = told["peak_rss_mb"], told.get("note", "")
    return Figure(
        name=name,
        rows=told["rows"],
        seconds=told["seconds"],
        peak_rss_mb=memory,
        note=note,
        cpu_s=told.get("work_cpu_s"),
    )


def _tell(bench: Bench, before: dict[str, Any]) -> None:
    about = bench.stand.describe()
    figures = [bench.result(name) for name in bench.runs]
    bench.doubts += _doubts(figures, before)
    print(
        f"{about['kind']} {about['server_version']}, {bench.options.tasks:,} tasks ({about['size_mb']:,} MiB);"
        f" {before['cores']} cores; medians of {bench.options.rounds} rounds"
    )
    print(f"\n{table('daily statistics', figures, figures[0])}\n")
    for doubt in bench.doubts:
        print(f"MEANINGLESS: {doubt}")
    document = {
        "machine": before,
        "database": about,
        "options": vars(bench.options),
        "meaningless": bench.doubts,
        "statistics": told_figures(figures, figures[0]),
        "runs": {name: [vars(run) for run in runs] for name, runs in bench.runs.items()},
    }
    name = f"statistics-{about['kind']}-{bench.options.tasks}"
    print(f"figures: {write_results(name, document)}")


def _doubts(figures: list[Figure], before: dict[str, Any]) -> Iterator[str]:
    by_name = {figure.name: figure for figure in figures}
    limit, ours = figures[0], by_name[_CONTESTANTS["read_day"]]
    if limit.rows < _FEWEST:
        yield f"{limit.rows:,} rows a day are too few: below {_FEWEST:,} only the fixed costs show"
    if limit.seconds < _SHORTEST_S:
        yield f"the limit took {limit.seconds:.4f} s: too short to be compared with; name a larger N"
    if limit.rows != ours.rows:
        yield f"the limit counted {limit.rows:,} rows and ours {ours.rows:,}: they did not do the same"
    if before["load_before"] > before["cores"]:
        yield f"the machine was busy before: load {before['load_before']} on {before['cores']} cores"


if __name__ == "__main__":
    main()
