"""Signs of life in the database, which processes of all machines renew: one that grows old was a living one's."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select

from app.core.database import Database
from app.core.own_tables import service_state
from app.core.upsert import insert_into

WORKER = "worker:"
"""What the signs of workers begin with; their name follows."""
MONITOR = "monitor"
LATELY = timedelta(hours=1)
"""Deaths of workers are counted for so long."""
_MOST_DEATHS = 100
"""Far beyond every threshold; a worker that can't start at all dies each second."""
WATCHED_WITHIN_S = 120.0
"""A monitor whose sign is younger watches: two turns of the slowest that the settings allow."""
FORGOTTEN_AFTER = timedelta(days=1)
"""A worker that is silent for longer is no longer expected: its machine was given up."""
DEADLINE_S = 5.0
"""A sign that takes longer is worth nothing; the next one follows soon."""
_OF_A_WORKER = service_state.c.key.startswith(WORKER, autoescape=True)


@dataclass(frozen=True, kw_only=True)
class Sign:
    """Who left it, and when last."""

    key: str
    at: datetime
    facts: dict[str, Any]

    @property
    def worker(self) -> str:
        """The worker's name."""
        return self.key.removeprefix(WORKER)

    def age_s(self, now: datetime) -> float:
        """Return how long ago it was renewed (seconds); 0 for one from a machine whose clock is ahead."""
        return max(0.0, (now - self.at).total_seconds())


def deaths_lately(sign: Sign, now: datetime) -> list[str]:
    """Return when workers of this name died within an hour without signing off, by their last signs (ISO 8601)."""
    deaths = sign.facts.get("deaths", [])[-_MOST_DEATHS:]
    return [death for death in deaths if now - datetime.fromisoformat(death) < LATELY]


class Signs:
    """Leaves, reads and takes back signs. Every method may raise the errors of `Database`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def leave(self, key: str, facts: dict[str, Any], now: datetime) -> None:
        """Leave or renew a sign, and remove those of workers that are no longer expected."""
        inserted = insert_into(service_state, self._database.dialect).values(key=key, value=facts, updated_at=now)
        renewed = {name: inserted.excluded[name] for name in ("value", "updated_at")}
        with self._database.write(deadline_s=DEADLINE_S) as connection:
            connection.execute(inserted.on_conflict_do_update(index_elements=["key"], set_=renewed))
            connection.execute(
                delete(service_state).where(_OF_A_WORKER, service_state.c.updated_at <= now - FORGOTTEN_AFTER)
            )

    def take_back(self, key: str) -> None:
        """Remove the sign of a process that ends as it should."""
        with self._database.write(deadline_s=DEADLINE_S) as connection:
            connection.execute(delete(service_state).where(service_state.c.key == key))

    def find(self, key: str) -> Sign | None:
        """Return a sign, or None where nobody left it."""
        with self._database.read(deadline_s=DEADLINE_S) as connection:
            row = connection.execute(select(service_state).where(service_state.c.key == key)).one_or_none()
        return None if row is None else Sign(key=row.key, at=row.updated_at, facts=row.value)

    def workers(self, now: datetime) -> list[Sign]:
        """Return the sign of every worker that is expected to live, by name."""
        of_workers = select(service_state).where(_OF_A_WORKER, service_state.c.updated_at > now - FORGOTTEN_AFTER)
        with self._database.read(deadline_s=DEADLINE_S) as connection:
            rows = connection.execute(of_workers.order_by(service_state.c.key))
            return [Sign(key=row.key, at=row.updated_at, facts=row.value) for row in rows]
