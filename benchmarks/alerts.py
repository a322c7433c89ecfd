"""What alerts cost: N active alerts of 50 rules judged and stored, and 1,000 messages sent, on both databases.

    make bench BENCH=alerts N=10000
    python benchmarks/alerts.py 10000 --rules 50

An evaluation is one transaction: load what is open, judge each figure, write what changed, its history and, where told,
the outbox. Each database is measured with nobody to tell and with the log files as the only channel. A delivery takes
each message out of the outbox, sends it to a receiver on loopback or into the log file, and marks it, each step durable
before the next. SQLite stands in a
file below TMPDIR, PostgreSQL as named in BENCH_DATABASE_URL, else one started from the wheel; durability is as in
production. Nothing is asserted: seconds belong to the machine.
"""

import argparse
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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
    parser.add_argument("--messages", type=row_count, default=1_000, help="messages delivered (default 1,000)")
    parser.add_argument("--rules", type=row_count, default=50, help="rules that find them (default 50)")
    options = parser.parse_args()
    before, progress = machine(), Progress()
    figures: list[Figure] = []
    deliveries: list[Figure] = []
    abouts: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="gengfu-bench-") as folder:
        for stand in _stands(Path(folder)):
            about = {**_prepared(stand), "doubts": stand.doubts()}
            abouts.append(about)
            for announced in (False, True):
                progress.say(f"{about['kind']}: {options.alerts:,} alerts, {'told' if announced else 'not told'}")
                figures += _evaluated(stand, about["kind"], options, announced=announced)
            progress.say(f"{about['kind']}: {options.messages:,} messages")
            deliveries += _delivered(stand, about["kind"], options.messages)
    progress.end()
    _tell(figures, deliveries, abouts, before, options)


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


def _delivered(stand: Stand, kind: str, messages: int) -> list[Figure]:
    url = stand.copy("delivered")
    with _receiver() as receiver:
        told = in_child(CHILD, "deliver", url=url, receiver=receiver, messages=messages)
    stand.drop("delivered")
    return [
        Figure(
            name=f"{kind}: {what}",
            rows=messages,
            seconds=seconds,
            peak_rss_mb=told["peak_rss_mb"],
            note=f"+{told['grown_mb']:.0f} MiB above the imports" if what == "webhook" else "",
        )
        for what, seconds in told["seconds"].items()
    ]


class _Yes(BaseHTTPRequestHandler):
    """Takes whatever comes."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(HTTPStatus.NO_CONTENT)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Be quiet."""


@contextmanager
def _receiver() -> Iterator[str]:
    """The address of a receiver for the time of the block."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Yes) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/hook"
        finally:
            server.shutdown()
            thread.join()


def _tell(
    figures: list[Figure],
    deliveries: list[Figure],
    abouts: list[dict[str, Any]],
    before: dict[str, Any],
    options: argparse.Namespace,
) -> None:
    goal = Figure(name=_GOAL.name, rows=options.alerts, seconds=_LIMIT_S * options.alerts / _GOAL.rows)
    print(table("evaluation", [goal, *figures], goal))
    print(table("delivery", deliveries, deliveries[0]))
    for about in abouts:
        for doubt in about["doubts"]:
            print(f"! {doubt}")
    document = {"machine": before, "databases": abouts, "rules": options.rules, "figures": told_figures(figures, goal)}
    document["deliveries"] = told_figures(deliveries, deliveries[0])
    print(write_results(f"alerts-{options.alerts}", document))


if __name__ == "__main__":
    main()
