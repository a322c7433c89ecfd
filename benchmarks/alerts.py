"""What alerts cost: N active alerts of 50 rules judged and stored, on both databases.

    make bench BENCH=alerts N=10000
    python benchmarks/alerts.py 10000 --rules 50

An evaluation is one transaction: load what is open, judge each figure, write what changed, its history and, where told,
the outbox. Each database is measured with nobody to tell and with the log files as the only channel. SQLite stands in a
file below TMPDIR, PostgreSQL as named in BENCH_DATABASE_URL, else one started from the wheel; durability is as in
production. Nothing is asserted: seconds belong to the machine.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from databases import SqliteStand, Stand, postgres_stand
from measure import Figure, Progress, in_child, machine, row_count, table, told_figures, write_results

from app.core.database import Database, DatabaseSettings
from app.core.migrate import upgrade

CHILD = Path(__file__).with_name("alerts_child.py")
_LIMIT_S = 1.0
_GOAL = Figure(name="goal", rows=10_000, seconds=_LIMIT_S)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("alerts", metavar="N", type=row_count, nargs="?", default=10_000, help="active alerts")
    parser.add_argument("--rules", type=row_count, default=50, help="rules that find them (default 50)")
    options = parser.parse_args()
    before, progress = machine(), Progress()
    figures: list[Figure] = []
    abouts: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="gengfu-bench-") as folder:
        for stand in _stands(Path(folder)):
            about = {**_prepared(stand), "doubts": stand.doubts()}
            abouts.append(about)
            for announced in (False, True):
                progress.say(f"{about['kind']}: {options.alerts:,} alerts, {'told' if announced else 'not told'}")
                figures += _evaluated(stand, about["kind"], options, announced=announced)
    progress.end()
    _tell(figures, abouts, before, options)


def _stands(folder: Path) -> Iterator[Stand]:
    yield SqliteStand(folder)
    with postgres_stand() as stand:
        yield stand


def _prepared(stand: Stand) -> dict[str, Any]:
    database = Database(stand.base, DatabaseSettings())
    upgrade(database)
    database.dispose()
    stand.settle()
    return stand.describe()


def _evaluated(stand: Stand, kind: str, options: argparse.Namespace, *, announced: bool) -> list[Figure]:
    name = "told" if announced else "quiet"
    url = stand.copy(name)
    told = in_child(CHILD, "evaluate", url=url, alerts=options.alerts, rules=options.rules, announced=announced)
    stand.drop(name)
    return [
        Figure(
            name=f"{kind}, {'log files' if announced else 'nobody told'}: {what}",
            rows=told["alerts"],
            seconds=seconds,
            peak_rss_mb=told["peak_rss_mb"],
            note=f"+{told['grown_mb']:.0f} MiB above the imports" if what == "begin" else "",
        )
        for what, seconds in told["seconds"].items()
    ]


def _tell(
    figures: list[Figure], abouts: list[dict[str, Any]], before: dict[str, Any], options: argparse.Namespace
) -> None:
    goal = Figure(name=_GOAL.name, rows=options.alerts, seconds=_LIMIT_S * options.alerts / _GOAL.rows)
    print(table("evaluation", [goal, *figures], goal))
    for about in abouts:
        for doubt in about["doubts"]:
            print(f"! {doubt}")
    document = {"machine": before, "databases": abouts, "rules": options.rules, "figures": told_figures(figures, goal)}
    print(write_results(f"alerts-{options.alerts}", document))


if __name__ == "__main__":
    main()
