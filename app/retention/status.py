"""Where retention stands between two runs: what has expired, what expires next, which files are still to go."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy import Connection, func, select

from app.core.database import Database
from app.core.own_tables import file_outbox
from app.core.safe_files import show
from app.core.source_tables import SourceTables
from app.retention.expiry import Expiry, expired, expiries, frozen_now
from app.retention.outbox import pending_files, stuck_files, stuck_paths
from app.retention.settings import RetentionSettings

_SCAN_S = 120.0
_SHOWN = 20
_DAY = timedelta(days=1)


def retention_status(database: Database, source: SourceTables, settings: RetentionSettings) -> dict[str, Any]:
    """Return expired rows by state, those of the next day, the age of the oldest (hours) and the files still to go.

    `stuck` shows at most twenty of the files that could not be removed in five attempts.
    """
    with database.read(deadline_s=_SCAN_S) as connection:
        now = frozen_now(connection)
        states = [_state(connection, source, rule) for rule in expiries(settings, source.statuses, now)]
        return {
            "expired": _summed(states, "expired"),
            "expires_within_24_h": _summed(states, "next"),
            "lag_hours": max((state["lag_hours"] for state in states), default=0.0),
            "pending_files": pending_files(connection),
            "next_retry_at": _iso(connection.execute(_NEXT).scalar()),
            "stuck_files": stuck_files(connection),
            "stuck": [
                {"root": file.root, "path": show(file.relative)}
                for file in islice(stuck_paths(connection, _SHOWN), _SHOWN)
            ],
        }


_NEXT = select(func.min(file_outbox.c.next_at)).where(file_outbox.c.state == "pending")


def _state(connection: Connection, source: SourceTables, rule: Expiry) -> dict[str, Any]:
    tasks, dialect = source.tasks, connection.dialect.name
    tomorrow = Expiry(state=rule.state, word=rule.word, cutoff=rule.cutoff + _DAY)
    count, oldest = connection.execute(
        select(func.count(), func.min(tasks.table.c.completed_at)).where(expired(tasks, rule, dialect))
    ).one()
    within = connection.execute(
        select(func.count()).select_from(tasks.table).where(expired(tasks, tomorrow, dialect))
    ).scalar_one()
    lag = (rule.cutoff - oldest).total_seconds() / 3600 if oldest else 0.0
    return {"state": rule.state, "expired": count, "next": within - count, "lag_hours": round(lag, 1)}


def _summed(states: list[dict[str, Any]], key: str) -> Mapping[str, int]:
    sums: dict[str, int] = {}
    for state in states:
        sums[state["state"]] = sums.get(state["state"], 0) + state[key]
    return sums


def _iso(instant: datetime | None) -> str | None:
    return instant.isoformat(timespec="seconds") if instant else None
