"""What the processes of the schedule cost: a task in a real worker, beat and worker at rest, the manager's looks."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
from measure import in_child

from app.service.embedded_broker import EmbeddedBroker

_HERE = Path(__file__).resolve().parent
_POOL = ("--pool", "solo", "--concurrency", "1", "--without-gossip", "--without-mingle", "--loglevel", "WARNING")
_SETTLE_S = 20.0
_BETWEEN_JOBS_S = 300.0
_JOBS_DONE_AFTER_S = 15.0
FLOOR = "python -c 'import click, sqlalchemy'"
_COMMANDS = {
    FLOOR: ("-c", "import click, sqlalchemy"),
    "celery_beat_manager.py status": ("celery_beat_manager.py", "status"),
    "celery_beat_manager.py list": ("celery_beat_manager.py", "list"),
}


def task_times(url: str, home: Path, count: int) -> dict[str, list[float]]:
    """Return the milliseconds of each task in one worker, by kind: a bare Celery task first, then our jobs."""
    ends = home / "ends.txt"
    ends.unlink(missing_ok=True)
    env = _environment(home, DATABASE_URL=url)
    worker = ("celery", "-A", "schedule_worker", "worker", "--queues", "low_priority", *_POOL)
    with _broker(home), _started(worker, env | {"BENCH_ENDS": str(ends)}, home / "worker.log"):
        os.environ |= env
        told = in_child(_HERE / "schedule_publish.py", "times", count=count, ends=str(ends))
    return dict(told["times"])


def idle_cpu(url: str, home: Path, seconds: float) -> dict[str, float]:
    """Return the share of a core (percent) that beat and worker take at rest, stock Celery's at the same time."""
    ours, stock = home / "ours", home / "stock"
    with ExitStack() as stack:
        ours_broker, stock_broker = (stack.enter_context(_broker(each)) for each in (ours, stock))
        env = _environment(ours, DATABASE_URL=url)
        stock_env = _environment(stock, STOCK_BROKER_URL=stock_broker.url)
        lines = {
            "worker": ("celery", "-A", "tasks", "worker", *_POOL),
            "beat": ("celery", "-A", "tasks", "beat", "--loglevel", "WARNING"),
        }
        stock_file = ("--schedule", str(stock / "beat"), "--loglevel", "WARNING")
        stock_lines = {
            "stock worker": ("celery", "-A", "stock_celery", "worker", *_POOL),
            "stock beat": ("celery", "-A", "stock_celery", "beat", *stock_file),
        }
        pids = {name: stack.enter_context(_started(line, env, ours / f"{name}.log")) for name, line in lines.items()}
        pids |= {
            name: stack.enter_context(_started(line, stock_env, stock / f"{name}.log"))
            for name, line in stock_lines.items()
        }
        pids |= {"broker": ours_broker.pid or 0, "stock broker": stock_broker.pid or 0}
        time.sleep(_SETTLE_S)
        _wait_until_nothing_is_due(seconds)
        before = {name: _cpu_s(pid) for name, pid in pids.items()}
        time.sleep(seconds)
        if dead := [name for name, pid in pids.items() if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE]:
            raise SystemExit(f"{', '.join(dead)} ended, so its processor time says nothing; see the logs in {home}")
        return {name: 100 * (_cpu_s(pid) - before[name]) / seconds for name, pid in pids.items()}


def _wait_until_nothing_is_due(seconds: float) -> None:
    """Wait for a time in which no job begins: each of ours does at a minute that five divides."""
    left = _BETWEEN_JOBS_S - time.time() % _BETWEEN_JOBS_S
    if left < seconds:
        time.sleep(left + _JOBS_DONE_AFTER_S)


def command_times(url: str, home: Path, rounds: int) -> dict[str, list[float]]:
    """Return the milliseconds of each command and of importing what it can't do without, in turn."""
    env = _environment(home, DATABASE_URL=url)
    found: dict[str, list[float]] = {name: [] for name in _COMMANDS}
    for _ in range(rounds):
        for name, line in _COMMANDS.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, *line], cwd=_HERE.parent, env=env, capture_output=True, check=False)
            found[name].append(1000 * (time.perf_counter() - started))
    return found


def share(cpu: Mapping[str, float], *, stock: bool) -> float:
    """Return what beat, worker and broker take together."""
    return sum(percent for name, percent in cpu.items() if name.startswith("stock") is stock)


def _environment(home: Path, **more: str) -> dict[str, str]:
    path = os.pathsep.join((str(_HERE), str(_HERE.parent)))
    # Libraries have their bytecode from their installation; without ours every start would compile us anew.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "GENGFU_HOME": str(home), "PYTHONPATH": path, **more}


@contextmanager
def _broker(home: Path) -> Iterator[EmbeddedBroker]:
    home.mkdir(parents=True, exist_ok=True)
    with EmbeddedBroker(home / "var", home / "broker.log") as broker:
        yield broker


@contextmanager
def _started(line: tuple[str, ...], env: Mapping[str, str], log: Path) -> Iterator[int]:
    """A Python module as a process for the time of the block."""
    with log.open("ab") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", *line], cwd=_HERE.parent, env=dict(env), stdout=sink, stderr=sink
        )
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _cpu_s(pid: int) -> float:
    """Seconds of processor time that a process and its children have taken."""
    parent = psutil.Process(pid)
    times = [each.cpu_times() for each in (parent, *parent.children(recursive=True))]
    return sum(each.user + each.system for each in times)
