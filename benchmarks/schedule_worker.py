"""The Celery application of a worker that serves a bare task and a job of ours, neither of which does anything.

`celery -A schedule_worker worker`; schedule_publish.py sends it its messages.
"""

import os
import time
from pathlib import Path
from typing import Any

from celery import signals

from app.context import Context
from app.execution.runner import Outcome
from tasks import registry

QUEUE = "low_priority"
JOB = "benchmark"
_GATE_S = 0.3


@registry.job(JOB, queue=QUEUE, priority=1)
def benchmark(_context: Context) -> Outcome:
    """Do nothing, as a job."""
    return Outcome(result={"success": True, "类别": "物流查询错误"})


from tasks.celery_app import app  # noqa: E402 - it binds the jobs that are declared by then


@app.task(name="benchmark.bare")  # type: ignore[untyped-decorator] # Celery ships no types
def bare() -> dict[str, Any]:
    """Do nothing, as a plain task."""
    return {"success": True, "类别": "物流查询错误"}


@app.task(name="benchmark.gate")  # type: ignore[untyped-decorator] # Celery ships no types
def gate() -> None:
    """Hold the worker until a block is published."""
    time.sleep(_GATE_S)


@signals.task_postrun.connect(weak=False)  # type: ignore[untyped-decorator] # Celery ships no types
def _note_end(**_facts: Any) -> None:
    if ends := os.environ.get("BENCH_ENDS"):
        with Path(ends).open("a", encoding="ascii") as file:
            file.write(f"{time.monotonic()}\n")
