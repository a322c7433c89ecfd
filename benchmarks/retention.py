"""Deleting expired rows with their children: ours beside the limit and beside how others do it.

    make bench BENCH=retention N=1000000
    python benchmarks/retention.py 200000 --database sqlite --only limit ours

Both databases are measured: PostgreSQL as named in BENCH_DATABASE_URL (databases `bench_*` are created there and
dropped), else one started from the wheel; SQLite in a file below TMPDIR. All contestants work on copies of the same
data, in turn, with a client beside them that measures how long its own updates wait. Ours is the whole clean-up: lock,
guards, rows, children, the outbox of their files, report. No file exists: `BENCH=files` measures those.
Nothing is asserted: seconds belong to the machine, what counts is the ratio within one run.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median as middle
from typing import Any

from databases import SqliteStand, postgres_stand
from measure import Figure, Progress, in_child, machine, median, row_count, table, told_figures, write_results
from oltp_client import Waits, oltp_client
from sample import Sample, build_sample, connected, require_room
from sqlalchemy import text

CHILD = Path(__file__).with_name("retention_child.py")
NAMES = {
    "limit": "one DELETE per table (limit)",
    "ours": "ours",
    "sentry": "Sentry's shape",
    "airflow": "Airflow's shape, whole",
    "airflow-batches": "Airflow's shape, batches",
    "orm": "ORM row by row, a sample",
    "old-snapshot": "ours, an old snapshot open",
    "sentry-old-snapshot": "Sentry's, an old snapshot open",
}
_ONCE = ("orm", "old-snapshot", "sentry-old-snapshot")
_SHORTEST_S = 0.1
_FEWEST_UPDATES = 100
_ALONE_S = 3.0
_GOALS = {"limit": 0.8, "sentry": 1.2, "airflow": 1.5, "orm": 50.0}
_MOST_RSS_MB = 100
_LONGEST_P99_MS = 25
_MOST_DRIFT = 1.5


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line asks for."""

    tasks: int
    database: str
    only: list[str]
    rounds: int
    sample: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a contestant."""

    figure: Figure
    waits: Waits
    drift: float | None
    """Time of the last tenth of its transactions over that of the first, both a row."""
    told: dict[str, Any]


@dataclass(kw_only=True)
class Bench:
    """One database: its rows and what was found."""

    options: Options
    sample: Sample
    progress: Progress
    alone: Waits
    runs: dict[str, list[Run]] = field(default_factory=lambda: defaultdict(list))
    doubts: list[str] = field(default_factory=list)

    def figure(self, contestant: str) -> Figure:
        """The median run, with the waits of its client."""
        runs = self.runs[contestant]
        figure = median(NAMES[contestant], [run.figure for run in runs])
        run = next(run for run in runs if run.figure.seconds == figure.seconds)
        words = [figure.note, f"waits {run.waits}"]
        if run.drift is not None:
            words.append(f"drift {run.drift:.2f}")
        return replace(figure, note=", ".join(word for word in words if word))


def main() -> None:
    options = _options()
    kinds = ["postgresql", "sqlite"] if options.database == "both" else [options.database]
    before = machine()
    documents = []
    for kind in kinds:
        with tempfile.TemporaryDirectory(prefix="gengfu-bench-") as folder:
            require_room(options.tasks, Path(folder))
            with postgres_stand() if kind == "postgresql" else nullcontext(SqliteStand(Path(folder))) as stand:
                documents.append(_measured(options, stand, Path(folder), before))
    path = write_results(f"retention-{options.tasks}", {"machine": before, "databases": documents})
    print(f"figures: {path}")


def _options() -> Options:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tasks", metavar="N", type=row_count, help="rows in the task table")
    parser.add_argument("--database", choices=("both", "postgresql", "sqlite"), default="both")
    parser.add_argument("--only", nargs="+", choices=tuple(NAMES), default=list(NAMES), help="some of the contestants")
    parser.add_argument("--rounds", type=row_count, help="runs of each, in turn (default 3; 1 above a million rows)")
    parser.add_argument("--sample", type=row_count, default=2_000, help="rows of the ORM run (default 2000)")
    parser.add_argument("--seed", type=int, default=1)
    options = vars(parser.parse_args())
    rounds = options.pop("rounds") or (3 if options["tasks"] <= 1_000_000 else 1)
    return Options(rounds=rounds, **options)


def _measured(options: Options, stand: Any, folder: Path, before: dict[str, Any]) -> dict[str, Any]:
    progress = Progress()
    sample = build_sample(stand, folder, options.tasks, options.seed, progress)
    bench = Bench(options=options, sample=sample, progress=progress, alone=_alone(sample))
    bench.doubts += sample.doubts()
    in_turn = [name for name in options.only if name not in _ONCE]
    for number in range(options.rounds):
        # Whoever comes first finds another machine than the second: they take turns.
        for name in in_turn if number % 2 == 0 else in_turn[::-1]:
            progress.say(f"round {number + 1} of {options.rounds}: {NAMES[name]}")
            bench.runs[name].append(_run(bench, name))
    for name in (name for name in options.only if name in _ONCE):
        progress.say(NAMES[name])
        bench.runs[name].append(_run(bench, name))
    progress.end()
    return _told(bench, before)


def _alone(sample: Sample) -> Waits:
    """How long the client waits where nobody deletes."""
    with sample.copied() as url, oltp_client(url, sample.tasks, sample.cutoffs) as client:
        began = time.monotonic()
        time.sleep(_ALONE_S)
    return client.waits(began, _ALONE_S)


def _run(bench: Bench, contestant: str) -> Run:
    sample = bench.sample
    with sample.copied() as url:
        snapshot = _old_snapshot(url) if contestant.endswith("old-snapshot") else nullcontext()
        with snapshot, oltp_client(url, sample.tasks, sample.cutoffs) as client:
            told = WORKS[contestant](bench, url)
    waits = client.waits(told["began"], told["seconds"])
    figure = Figure(
        name=contestant,
        rows=told["rows"],
        seconds=told["seconds"],
        peak_rss_mb=told["peak_rss_mb"] if "document" in told else None,
        note=_note(told),
        cpu_s=told["work_cpu_s"],
    )
    return Run(figure=figure, waits=waits, drift=_drift(told["steps"]), told=told)


def _ours(bench: Bench, url: str) -> dict[str, Any]:
    sample = bench.sample
    told = in_child(
        CHILD,
        "ours",
        url=url,
        folders={name: str(path) for name, path in sample.folders.items()},
        lock_file=str(sample.folder / "cleanup.lock"),
        expected=sample.expired,
    )
    document = told["document"]
    if document["state"] not in {"done", "partial"}:
        bench.doubts.append(f"our clean-up ended as {document['state']}: {document['errors']}")
    return told


def _peer(name: str) -> Callable[[Bench, str], dict[str, Any]]:
    def work(bench: Bench, url: str) -> dict[str, Any]:
        return in_child(CHILD, "peer", url=url, name=name, cutoffs=_cutoffs(bench))

    return work


def _orm(bench: Bench, url: str) -> dict[str, Any]:
    return in_child(CHILD, "orm", url=url, sample=bench.options.sample, cutoffs=_cutoffs(bench))


WORKS: dict[str, Callable[[Bench, str], dict[str, Any]]] = {
    "limit": _peer("limit"),
    "ours": _ours,
    "sentry": _peer("sentry"),
    "airflow": _peer("airflow"),
    "airflow-batches": _peer("airflow-batches"),
    "orm": _orm,
    "old-snapshot": _ours,
    "sentry-old-snapshot": _peer("sentry"),
}


def _cutoffs(bench: Bench) -> dict[str, str]:
    return {name: at.isoformat() for name, at in bench.sample.cutoffs.items()}


@contextmanager
def _old_snapshot(url: str) -> Iterator[None]:
    """A backup or a report that began before: what is deleted stays in the indexes as long as it is open."""
    with connected(url) as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        else:
            connection.exec_driver_sql("BEGIN")
        connection.execute(text("SELECT count(*) FROM tasks WHERE id < 10"))
        yield


def _note(told: dict[str, Any]) -> str:
    if "document" not in told:
        return ""
    document = told["document"]
    return (
        f"{document['receipts_cleaned']:,} receipts, {document['batches']:,} batches; "
        f"rows alone {told['rows_seconds']:.2f} s"
    )


def _drift(steps: Sequence[Sequence[float]]) -> float | None:
    tenth = len(steps) // 10
    if not tenth:
        return None
    first, last = (middle(seconds / rows for seconds, rows in some) for some in (steps[:tenth], steps[-tenth:]))
    return last / first


def _told(bench: Bench, before: dict[str, Any]) -> dict[str, Any]:
    about = bench.sample.stand.describe()
    figures = {name: bench.figure(name) for name in bench.options.only}
    limit = figures.get("limit", next(iter(figures.values())))
    bench.doubts += _doubts(bench, figures, before)
    print(
        f"\n{about['kind']} {about['server_version']}, {bench.sample.tasks:,} tasks ({about['size_mb']:,} MiB), "
        f"{bench.sample.expired:,} expired; {before['cores']} cores; medians of {bench.options.rounds} rounds\n"
        f"waits: updates of a client beside it, ms at 50 % / 99 % / most; alone {bench.alone}\n"
        "drift: time of the last tenth of the transactions over that of the first\n"
    )
    print(table("retention", list(figures.values()), limit))
    goals = list(_goals(bench, figures))
    print("\n" + "\n".join(goals))
    for doubt in bench.doubts:
        print(f"MEANINGLESS: {doubt}")
    return {
        "database": about,
        "options": vars(bench.options),
        "meaningless": bench.doubts,
        "figures": told_figures(figures.values(), limit),
        "goals": goals,
        "client_alone": vars(bench.alone),
        "runs": {name: [_told_run(run) for run in runs] for name, runs in bench.runs.items()},
    }


def _told_run(run: Run) -> dict[str, Any]:
    return {"figure": vars(run.figure), "waits": vars(run.waits), "drift": run.drift, "told": run.told}


def _goals(bench: Bench, figures: dict[str, Figure]) -> Iterator[str]:
    """Yield what was to be reached and what was."""
    if "ours" not in figures:
        return
    ours = figures["ours"]
    for name, goal in _GOALS.items():
        if name in figures and figures[name].rate:
            yield _goal(f"{NAMES[name]}: times its rate", ours.rate / figures[name].rate, goal, at_least=True)
    runs = bench.runs["ours"]
    yield _goal("writers' wait at 99 %, ms", middle(run.waits.p99 for run in runs), _LONGEST_P99_MS, at_least=False)
    yield _goal("peak memory, MiB", ours.peak_rss_mb or 0.0, _MOST_RSS_MB, at_least=False)
    for run in bench.runs.get("old-snapshot", ()):
        if run.drift is not None:
            yield _goal("drift with an old snapshot open", run.drift, _MOST_DRIFT, at_least=False)


def _goal(words: str, reached: float, goal: float, *, at_least: bool) -> str:
    met = reached >= goal if at_least else reached <= goal
    sign = ">=" if at_least else "<="
    return f"{'goal met   ' if met else 'goal MISSED'}  {words}: {reached:.2f} ({sign} {goal:g})"


def _doubts(bench: Bench, figures: dict[str, Figure], before: dict[str, Any]) -> Iterator[str]:
    if "limit" in figures and figures["limit"].seconds < _SHORTEST_S:
        yield f"the limit took {figures['limit'].seconds:.3f} s: too short to be compared with; name a larger N"
    for name, figure in figures.items():
        # A few rows expire while the others are measured; a few are held by the client when their turn comes.
        if name != "orm" and abs(bench.sample.expired - figure.rows) > max(10, bench.sample.expired // 200):
            yield f"{NAMES[name]} deleted {figure.rows:,} of {bench.sample.expired:,} rows: it did not do the same"
    if "ours" in bench.runs and min(run.waits.updates for run in bench.runs["ours"]) < _FEWEST_UPDATES:
        yield "the client made too few updates beside ours: its waits say little; name a larger N"
    if before["load_before"] > before["cores"]:
        yield f"the machine was busy before: load {before['load_before']} on {before['cores']} cores"


if __name__ == "__main__":
    main()
