"""Sends a worker bare tasks and jobs in turn and answers how long each took; see schedule_worker.py.

Each block is led by a task that holds the worker until the whole block is published. A task's time runs from the end of
the one before to its own end: fetching, running and acknowledging.
"""

import itertools
import json
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

from measure import answer
from schedule_worker import JOB, QUEUE, bare, benchmark, gate

from app.context import Context
from app.schedule.ledger import Ledger
from tasks.base import process_context

_BARE, _BY_HAND, _SLOT = "bare Celery task", "job by hand", "job of a slot"
_BLOCK = 20
_PATIENCE_S = 60.0


def times(count: int, ends: str) -> dict[str, list[float]]:
    """Return the milliseconds of each task of each kind, the bare one's first."""
    context = process_context()
    context.prepare_own_tables()
    now = context.clock.now().replace(microsecond=0)
    dues = [now - timedelta(seconds=number) for number in range(count)]
    Ledger(context.database).plan([(JOB, due) for due in dues], now)
    found: dict[str, list[float]] = {_BARE: [], _BY_HAND: [], _SLOT: []}
    seen = 0
    for first in range(0, count, _BLOCK):
        block = dues[first : first + _BLOCK]
        for kind, measured in found.items():
            gate.apply_async(queue=QUEUE, priority=1)
            for due in block:
                _send(kind, due)
            seen += len(block) + 1
            ended = _ends(Path(ends), seen)[-len(block) - 1 :]
            measured += [1000 * (after - before) for before, after in itertools.pairwise(ended)]
    _check(context, dues)
    context.database.dispose()
    return found


def _send(kind: str, due: datetime) -> None:
    if kind == _BARE:
        bare.apply_async(queue=QUEUE, priority=1)
    else:
        benchmark.apply_async(priority=1, headers={"slot": due.isoformat()} if kind == _SLOT else {})


def _ends(file: Path, count: int) -> list[float]:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        lines = file.read_text(encoding="ascii").split() if file.exists() else []
        if len(lines) >= count:
            return [float(line) for line in lines]
        time.sleep(0.02)
    raise SystemExit(f"the worker did not end {count} tasks within {_PATIENCE_S:g} s")


def _check(context: Context, dues: list[datetime]) -> None:
    """Times of work that was not done say nothing."""
    closed = [Ledger(context.database).get(JOB, due) for due in dues]
    by_hand = [each for each in context.history.recent(job=JOB, limit=2 * len(dues)) if each.state == "succeeded"]
    if any(slot is None or slot.state != "succeeded" for slot in closed) or len(by_hand) != 2 * len(dues):
        raise SystemExit("not every job was run, so the times say nothing")


if __name__ == "__main__":
    answer({"times": times(**json.loads(sys.stdin.read()))})
