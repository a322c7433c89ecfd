"""How long messages waited for a worker, from the history of runs and from what still waits."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, select

from app.core.database import Database
from app.core.own_tables import run, slot
from app.schedule.skip_scan import distinct

WINDOW = timedelta(minutes=15)
"""The most frequent jobs run every five minutes: three of each tell."""
_DEADLINE_S = 5.0


def queue_waits(database: Database, now: datetime) -> list[float]:
    """Return the seconds that each message of the last 15 minutes waited, or has waited so far.

    Raises the errors of `Database`.
    """
    with database.read(deadline_s=_DEADLINE_S) as connection:
        return sorted([*_begun(connection, now), *_waiting(connection, now)])


def p95(ranked: Sequence[float]) -> float | None:
    """Return the nearest-rank 95th percentile of sorted values; None of none."""
    return ranked[math.ceil(0.95 * len(ranked)) - 1] if ranked else None


def _begun(connection: Connection, now: datetime) -> list[float]:
    jobs = distinct(run.c.job)
    names = [*connection.execute(select(jobs.c.value).where(jobs.c.value.is_not(None))).scalars()]
    rows = connection.execute(_BEGUN, {"jobs": names, "after": now - WINDOW})
    return [max(0.0, (row.started_at - row.queued_at).total_seconds()) for row in rows]


def _waiting(connection: Connection, now: datetime) -> list[float]:
    return [max(0.0, (now - sent_at).total_seconds()) for sent_at in connection.execute(_SENT).scalars()]


_BEGUN = select(run.c.queued_at, run.c.started_at).where(
    run.c.job.in_(bindparam("jobs", expanding=True)),
    run.c.started_at > bindparam("after"),
    run.c.queued_at.is_not(None),
)
_SENT = select(slot.c.sent_at).where(slot.c.state == "sent", slot.c.sent_at.is_not(None))
