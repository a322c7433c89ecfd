"""The contestants of `retention.py`, each in a process of its own; arguments as JSON on stdin, the result on stdout."""

import json
import logging
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import measure
import structlog
from sample import cpu_s, opened, spent
from sqlalchemy import select

from app.core.clock import SystemClock
from app.core.source_tables import SourceSettings, map_source_tables


def ours(url: str, folders: dict[str, str], lock_file: str, *, expected: int) -> dict[str, Any]:
    """The whole clean-up, from lock to result."""
    from app.retention.cleanup import cleanup_expired  # noqa: PLC0415 - each child's memory holds what it needs
    from app.retention.rule_settings import GuardSettings  # noqa: PLC0415
    from app.retention.settings import RetentionSettings  # noqa: PLC0415
    from app.retention.workplace import Workplace  # noqa: PLC0415

    watch = _Watch(expected)
    # Half of a table is what a guard holds: they look, and let it pass.
    settings = RetentionSettings(max_seconds=86_400, guards=GuardSettings(share=1.0, rows=10**12))
    with opened(url) as database:
        place = Workplace(
            database=database,
            source=map_source_tables(SourceSettings()),
            settings=settings,
            folders={name: Path(path) for name, path in folders.items()},
            active_logs=frozenset(),
            clock=SystemClock(),
            lock_file=Path(lock_file),
            on_progress=watch,
        )
        with database.read() as connection:
            cpu_before = cpu_s(connection)
        began = watch.last = time.monotonic()
        result = cleanup_expired(place, run_id="bench")
        seconds = time.monotonic() - began
        with database.read() as connection:
            cpu_after = cpu_s(connection)
    rows_seconds = watch.last_row - began
    return {
        "began": began,
        "seconds": seconds,
        "rows": result.document["tasks_cleaned"],
        "steps": watch.steps,
        "rows_seconds": rows_seconds,
        "work_cpu_s": spent(cpu_before, cpu_after),
        "document": result.document,
    }


class _Watch:
    """Shows how far the clean-up is, and notes how long each batch of rows took."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._rows = 0
        self._progress = measure.Progress()
        self.steps: list[tuple[float, int]] = []
        self.last = self.last_row = time.monotonic()

    def __call__(self, counts: Mapping[str, int]) -> None:
        now, rows = time.monotonic(), counts["tasks"] - self._rows
        if rows:
            self.steps.append((now - self.last, rows))
            self._rows, self.last_row = counts["tasks"], now
            self._progress.update(f"  ours: {self._rows:,} of {self._expected:,} rows")
        self.last = now


def peer(url: str, name: str, cutoffs: dict[str, str]) -> dict[str, Any]:
    """Somebody else's shape; see `retention_peers`."""
    from retention_peers import delete_as  # noqa: PLC0415

    return delete_as(name, url, {key: datetime.fromisoformat(at) for key, at in cutoffs.items()})


def orm(url: str, sample: int, cutoffs: dict[str, str]) -> dict[str, Any]:
    """Row by row through an ORM in one transaction, as the first implementation of this system worked."""
    from sqlalchemy.orm import Session, registry  # noqa: PLC0415

    from app.demo import schema  # noqa: PLC0415

    class Task: ...

    class Receipt: ...

    for kind, table in ((Task, schema.tasks), (Receipt, schema.delivery_receipts)):
        registry().map_imperatively(kind, table)
    tasks, receipts = schema.tasks.c, schema.delivery_receipts.c
    cutoff = datetime.fromisoformat(cutoffs["completed"])
    chosen = select(Task).where(tasks.status == "completed", tasks.completed_at < cutoff)
    with opened(url) as database, Session(database.engine) as session:
        began = time.monotonic()
        found = session.scalars(chosen.order_by(tasks.completed_at).limit(sample)).all()
        for task in found:
            for receipt in session.scalars(select(Receipt).where(receipts.task_id == task.id)):  # type: ignore[attr-defined]  # mapped above
                session.delete(receipt)
            session.flush()
            session.delete(task)
            session.flush()
        session.commit()
        seconds = time.monotonic() - began
    return {"began": began, "seconds": seconds, "rows": len(found), "steps": [], "work_cpu_s": None}


WORKS: dict[str, Callable[..., dict[str, Any]]] = {"ours": ours, "peer": peer, "orm": orm}

if __name__ == "__main__":
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    measure.answer(WORKS[sys.argv[1]](**json.load(sys.stdin)))
