"""What the schedule costs: wrapper, claim and run record of a task, and looks at a ledger of N slots.

    make bench BENCH=schedule N=100000
    python benchmarks/schedule.py 100000 --tasks 300

A worker with a broker of its own then serves a bare Celery task and our jobs in turn; beat and worker at rest are
measured beside stock Celery's, and the beat manager's looks beside the imports they can't do without.

Both databases are measured: SQLite in a file below TMPDIR, PostgreSQL as named in BENCH_DATABASE_URL (a database
`bench_*` is created there and dropped), else one started from the wheel. Every task is measured on the full ledger,
contestants in turn; durability is as in production. Nothing is asserted: milliseconds belong to the machine.
"""

import argparse
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from databases import SqliteStand, Stand, postgres_stand
from measure import Progress, machine, row_count, write_results
from schedule_processes import command_times, idle_cpu, share, task_times
from sqlalchemy import insert

from app.context import Context, make_context
from app.core.migrate import upgrade
from app.core.own_tables import run, slot
from app.execution.runner import Outcome, run_job
from app.execution.slots import run_slot
from app.schedule.dispatcher import Dispatcher
from app.schedule.in_force import Schedules
from app.schedule.job_spec import JobSpec
from app.schedule.leadership import LIFE, Leadership
from app.schedule.leases import Leases
from app.schedule.ledger import Ledger
from app.schedule.limits import schedule_facts
from app.schedule.runs import Origin, new_run_id
from app.views import job_lines
from tasks.registry import effective_specs

_LOOKS = 30
_BATCH = 5_000
_OVERHEAD_LIMIT_MS = 3.0
_LOOK_LIMIT_MS = 20.0
_COMMAND_LIMIT = 1.5  # of the time its imports take by themselves
_IDLE_LIMIT = 2.0  # percent of a core
_BENCH_JOB = "disk-space-check"
_WRAPPED, _CLAIMED = "wrapper, lease and run record", "the same with claim and close"
_LIMITED = (_WRAPPED, _CLAIMED)


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Milliseconds of one contestant on one database."""

    name: str
    kind: str
    median_ms: float
    p95_ms: float
    limit_ms: float | None = None


def main() -> None:
    options = _options()
    logging.disable()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    before, progress = machine(), Progress()
    timings: list[Timing] = []
    abouts: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="gengfu-bench-") as folder:
        for stand in _stands(Path(folder)):
            progress.say(f"{options.slots:,} slots and runs: filling")
            with _context(stand, Path(folder)) as context:
                specs = effective_specs(context.settings)
                _fill(context, list(specs.values()), options.slots)
                stand.settle()
                about = stand.describe()
                abouts.append({**about, "doubts": stand.doubts()})
                progress.say(f"{about['kind']}: measuring")
                timings += _looks(context, specs, about["kind"])
                timings += _tasks(context, options.tasks, about["kind"])
            if options.processes:
                progress.say(f"{about['kind']}: a worker, a beat, the beat manager")
                timings += _processes(stand.base, Path(folder) / about["kind"], options, about["kind"])
    progress.end()
    _tell(timings, abouts, options, before)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("slots", metavar="N", type=row_count, nargs="?", default=100_000, help="slots and runs")
    parser.add_argument("--tasks", type=row_count, default=300, help="tasks of each contestant (default 300)")
    parser.add_argument("--idle", type=float, default=40.0, help="seconds to watch beat and worker (default 40)")
    parser.add_argument("--rounds", type=row_count, default=15, help="rounds of the manager's commands (default 15)")
    parser.add_argument("--no-processes", dest="processes", action="store_false", help="no worker, beat and commands")
    return parser.parse_args()


def _stands(folder: Path) -> Iterator[Stand]:
    yield SqliteStand(folder)
    with postgres_stand() as stand:
        yield stand


@contextmanager
def _context(stand: Stand, folder: Path) -> Iterator[Context]:
    os.environ |= {"DATABASE_URL": stand.base, "GENGFU_HOME": str(folder)}
    context = make_context()
    try:
        upgrade(context.database)
        yield context
    finally:
        context.database.dispose()


def _fill(context: Context, specs: list[JobSpec], slots: int) -> None:
    """A history of closed slots and their runs, a minute apart, ending yesterday."""
    end = context.clock.now() - timedelta(days=1)
    names = [spec.name for spec in specs if spec.cron]
    for first in range(0, slots, _BATCH):
        numbers = range(first, min(first + _BATCH, slots))
        rows = [(names[number % len(names)], end - timedelta(minutes=number), new_run_id()) for number in numbers]
        with context.database.write() as connection:
            connection.execute(insert(slot), [_slot_row(*row) for row in rows])
            connection.execute(insert(run), [_run_row(*row) for row in rows])


def _slot_row(job: str, due_at: datetime, run_id: str) -> dict[str, Any]:
    row: dict[str, Any] = {"state": "succeeded", "attempt": 1, "term": 1, "planned_at": due_at, "sent_at": due_at}
    return {**row, "job": job, "due_at": due_at, "run_id": run_id, "closed_at": due_at}


def _run_row(job: str, due_at: datetime, run_id: str) -> dict[str, Any]:
    row: dict[str, Any] = {"trigger": "schedule", "attempt": 1, "state": "succeeded", "seconds": 1.5}
    times = dict.fromkeys(("started_at", "heartbeat_at", "finished_at"), due_at)
    return {**row, **times, "id": run_id, "job": job, "slot": due_at, "result": {"success": True}}


def _looks(context: Context, specs: dict[str, JobSpec], kind: str) -> Iterator[Timing]:
    """What beat and the beat manager ask of the whole ledger."""
    history, now = context.history, context.clock.now()
    looks: dict[str, Callable[[], object]] = {
        "first tick of a new leader": lambda: _takeover(context, specs),
        "tick of the leader": _beat(context, specs)[0].tick,
        "status": lambda: job_lines(specs.values(), context.zone, now, history.latest()),
        "history, all jobs": history.recent,
        "history of one job": lambda: history.recent(job=_BENCH_JOB),
        "limits of runs": lambda: schedule_facts(context.database, now, {}),
    }
    for name, look in looks.items():
        look()
        yield _timing(name, kind, [_ms(look) for _ in range(_LOOKS)], _LOOK_LIMIT_MS)


def _takeover(context: Context, specs: dict[str, JobSpec]) -> None:
    beat, leadership = _beat(context, specs)
    beat.tick()
    leadership.resign()


def _beat(context: Context, specs: dict[str, JobSpec]) -> tuple[Dispatcher, Leadership]:
    leases = Leases(context.database, LIFE)
    leadership = Leadership(leases, context.clock, owner=new_run_id(), host="bench", pid=1)
    beat = Dispatcher(
        ledger=Ledger(context.database),
        leadership=leadership,
        schedules=Schedules(context.database),
        specs=specs,
        zone=context.zone,
        clock=context.clock,
        publish=lambda _spec, _due: None,
        paused=frozenset,
    )
    return beat, leadership


def _tasks(context: Context, count: int, kind: str) -> Iterator[Timing]:
    """The same task bare, under the wrapper, and as a slot of the ledger."""
    start = context.clock.now() + timedelta(days=1)
    dues = [start + timedelta(minutes=number) for number in range(count)]
    Ledger(context.database).plan([(_BENCH_JOB, due) for due in dues], start)
    contestants: dict[str, Callable[[datetime], object]] = {
        "one commit of one row (floor)": lambda due: _committed(context, due),
        "bare call": lambda _due: _use_case(context),
        _WRAPPED: lambda due: _wrapped(context, due),
        _CLAIMED: lambda due: _claimed(context, due),
    }
    measured: dict[str, list[float]] = {name: [] for name in contestants}
    for due in dues:
        for name, work in contestants.items():
            measured[name].append(_ms(lambda work=work, due=due: work(due)))  # type: ignore[misc]
    for name, found in measured.items():
        yield _timing(name, kind, found, _OVERHEAD_LIMIT_MS if name in _LIMITED else None)


def _processes(url: str, home: Path, options: argparse.Namespace, kind: str) -> Iterator[Timing]:
    times = task_times(url, home / "worker", options.tasks)
    bare = statistics.median(next(iter(times.values())))
    for name, found in times.items():
        yield _timing(f"worker: {name}", kind, found, bare + _OVERHEAD_LIMIT_MS)
    commands = command_times(url, home / "commands", options.rounds)
    floor = statistics.median(next(iter(commands.values())))
    for name, found in commands.items():
        yield _timing(name, kind, found, _COMMAND_LIMIT * floor)
    cpu = idle_cpu(url, home / "idle", options.idle)
    cpu |= {"all": share(cpu, stock=False), "stock all": share(cpu, stock=True)}
    for name, percent in cpu.items():
        limit = _IDLE_LIMIT if name == "all" else None
        yield Timing(name=f"idle, % of a core: {name}", kind=kind, median_ms=percent, p95_ms=percent, limit_ms=limit)


def _use_case(_context: Context) -> Outcome:
    return Outcome(result={"success": True, "类别": "物流查询错误"})


def _committed(context: Context, due_at: datetime) -> None:
    """What the disk takes for one durable change; every run makes two of them."""
    with context.database.write() as connection:
        connection.execute(insert(run).values(**_run_row("benchmark", due_at, new_run_id())))


def _wrapped(context: Context, due_at: datetime) -> None:
    run_job(context, _BENCH_JOB, _use_case, origin=Origin(trigger="schedule", slot=due_at))


def _claimed(context: Context, due_at: datetime) -> None:
    origin = Origin(trigger="schedule", slot=due_at)
    done = run_slot(context, _BENCH_JOB, _use_case, due_at=due_at, origin=origin, owner="bench")
    if done.state != "succeeded":
        raise SystemExit(f"a slot was not run, so its time says nothing: {done.result}")


def _ms(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - started)


def _timing(name: str, kind: str, found: list[float], limit_ms: float | None) -> Timing:
    p95 = statistics.quantiles(found, n=20)[-1] if len(found) > 1 else found[0]
    return Timing(name=name, kind=kind, median_ms=statistics.median(found), p95_ms=p95, limit_ms=limit_ms)


def _tell(
    timings: list[Timing], abouts: list[dict[str, Any]], options: argparse.Namespace, before: dict[str, Any]
) -> None:
    print(f"{options.slots:,} slots and runs; {before['cores']} cores; load before {before['load_before']}")
    print(f"\n{'':<36}{'database':<12}{'median ms':>10}{'p95 ms':>10}{'goal ms':>9}")
    for each in timings:
        goal = "-" if each.limit_ms is None else f"{each.limit_ms:g}"
        print(f"{each.name:<36}{each.kind:<12}{each.median_ms:>10.3f}{each.p95_ms:>10.3f}{goal:>9}")
    doubts = [doubt for about in abouts for doubt in about["doubts"]]
    if before["load_before"] > before["cores"]:
        doubts.append(f"the machine was busy before: load {before['load_before']} on {before['cores']} cores")
    for doubt in doubts:
        print(f"MEANINGLESS: {doubt}")
    document = {"machine": before, "databases": abouts, "options": vars(options), "timings": [vars(t) for t in timings]}
    print(f"figures: {write_results(f'schedule-{options.slots}', document)}")


if __name__ == "__main__":
    main()
