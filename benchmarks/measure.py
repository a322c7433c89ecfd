"""What every benchmark needs: children whose memory is their own, a line of progress, tables and result files."""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from app.core.atomic_json import write_json
from app.demo.create import MAX_TASKS

RESULTS = Path(__file__).resolve().parent / "results"
_MIB = 1 << 20
_EVERY_S = 5.0  # between two lines of progress where there is no terminal


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One run of a contestant."""

    name: str
    rows: int
    seconds: float
    peak_rss_mb: float | None = None
    """Of the contestant's own process, imports included; None where the database server does all the work."""
    note: str = ""
    cpu_s: float | None = None
    """Processor time of contestant and server together, where it is known: steadier than seconds on a busy machine."""

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / self.seconds if self.seconds else 0.0


class Progress:
    """Tells on stderr what is being done: one line rewritten on a terminal, else a line now and then."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._told = 0.0
        self._started = time.monotonic()

    def say(self, words: str) -> None:
        """Begin a new piece of work."""
        self._told = 0.0
        self.update(words)

    def update(self, words: str) -> None:
        """Tell how far the piece is."""
        now = time.monotonic()
        if not self._terminal and now - self._told < _EVERY_S:
            return
        self._told = now
        line = f"[{now - self._started:6.0f} s] {words}"
        sys.stderr.write(f"\r\x1b[K{line}" if self._terminal else f"{line}\n")
        sys.stderr.flush()

    def end(self) -> None:
        """Leave the line empty for what is printed next."""
        if self._terminal:
            sys.stderr.write("\r\x1b[K")


def row_count(text: str) -> int:
    """Return the number of rows that an argument names; for `argparse`, which shows the error."""
    try:
        rows = int(text)
    except ValueError:
        rows = 0
    if not 1 <= rows <= MAX_TASKS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rows from 1 to {MAX_TASKS:,}; try 1000000")
    return rows


def in_child(script: Path, work: str, **arguments: Any) -> dict[str, Any]:
    """Run `work` of a script in a process of its own and return what it printed (see `answer`).

    Its stderr goes through. Raises SystemExit naming the work where it failed.
    """
    line = [sys.executable, str(script), work]
    done = subprocess.run(line, input=json.dumps(arguments), stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{script.name} {work} failed with exit code {done.returncode}")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def answer(told: dict[str, Any]) -> None:
    """Print a child's result with its peak memory (`peak_rss_mb`) and processor time (`cpu_s`)."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = round(used.ru_utime + used.ru_stime, 3)
    sys.stdout.write(json.dumps({**told, "peak_rss_mb": round(peak_rss_mb(), 1), "cpu_s": cpu_s}))


def peak_rss_mb() -> float:
    """Return the most memory this process ever had resident, in MiB."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (_MIB if sys.platform == "darwin" else 1024)
    # Not ru_maxrss: Linux carries the parent's peak over into a child.
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def median(name: str, runs: Sequence[Figure]) -> Figure:
    """Return the run of one contestant that took the median time, with the highest memory of all."""
    middle = sorted(runs, key=lambda run: run.seconds)[(len(runs) - 1) // 2]
    memory = [run.peak_rss_mb for run in runs if run.peak_rss_mb is not None]
    return replace(middle, name=name, peak_rss_mb=max(memory, default=None))


def table(title: str, figures: Sequence[Figure], limit: Figure) -> str:
    """Return a table of the figures; the ratio is to the rate of `limit`."""
    width = max(len(figure.name) for figure in figures)
    words = f"{'rows':>10}  {'seconds':>9}  {'rows/s':>11}  {'of limit':>8}  {'CPU s':>7}  {'peak MiB':>8}"
    head = f"{title:<{width}}  {words}"
    return "\n".join((head, "-" * len(head), *(_line(figure, limit, width) for figure in figures)))


def _line(figure: Figure, limit: Figure, width: int) -> str:
    ratio = f"{figure.rate / limit.rate:8.3f}" if limit.rate else f"{'-':>8}"
    memory = "-" if figure.peak_rss_mb is None else f"{figure.peak_rss_mb:.0f}"
    line = f"{figure.name:<{width}}  {figure.rows:>10,}  {figure.seconds:>9.3f}  {figure.rate:>11,.0f}  {ratio}"
    spent = "-" if figure.cpu_s is None else f"{figure.cpu_s:.2f}"
    return f"{line}  {spent:>7}  {memory:>8}  {figure.note}".rstrip()


def told_figures(figures: Iterable[Figure], limit: Figure) -> list[dict[str, Any]]:
    """Return the figures as JSON, with rate and ratio."""
    return [
        {**asdict(figure), "rows_per_s": figure.rate, "of_limit": figure.rate / limit.rate if limit.rate else None}
        for figure in figures
    ]


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_mb": round(psutil.virtual_memory().total / _MIB),
        "load_before": round(os.getloadavg()[0], 2),
    }


def write_results(name: str, document: dict[str, Any]) -> Path:
    """Write the figures of a run below `benchmarks/results/` and return the file."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    path = RESULTS / f"{name}-{stamp}.json"
    write_json(path, document)
    return path
