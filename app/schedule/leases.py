"""Leases in the database: who may do something alone, until when. A lease not renewed ends by itself."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from app.core.database import Database
from app.core.own_tables import lease


@dataclass(frozen=True, kw_only=True)
class LeaseHolder:
    """Who holds a lease, or held it last."""

    owner: str
    host: str
    pid: int
    term: int
    since: datetime
    until: datetime

    def holds_at(self, now: datetime) -> bool:
        """Tell whether the lease still runs."""
        return self.until > now


@dataclass(frozen=True, kw_only=True)
class Held:
    """A lease of ours. `term` tells it from one that the same owner had before and lost."""

    name: str
    owner: str
    term: int


class Leases:
    """Takes, renews and gives back leases. Every method may raise the errors of `Database`."""

    def __init__(self, database: Database, life: timedelta) -> None:
        self._database = database
        self._life = life
        # An answer that takes longer than half the lease is worth nothing.
        self._deadline_s = life.total_seconds() / 2

    def take(self, name: str, owner: str, *, host: str, pid: int, now: datetime) -> Held | None:
        """Take a lease that is free or over; None where somebody holds it."""
        values = {"owner": owner, "since": now, "until": now + self._life, "host": host, "pid": pid}
        # A lease that ends later than any can was given by a clock that has been set back since.
        free = or_(lease.c.until <= now, lease.c.until > now + 2 * self._life)
        with self._database.write(deadline_s=self._deadline_s) as connection:
            taken = connection.execute(
                update(lease).where(lease.c.name == name, free).values(term=lease.c.term + 1, **values)
            )
            if not taken.rowcount and not _first(connection, name, values):
                return None
            term = connection.execute(select(lease.c.term).where(lease.c.name == name)).scalar_one()
        return Held(name=name, owner=owner, term=term)

    def renew(self, held: Held, now: datetime) -> bool:
        """Prolong a lease; False where somebody else has it now."""
        return self._update(held, now + self._life)

    def give_back(self, held: Held, now: datetime) -> None:
        """End a lease at once, so that nobody need wait for it."""
        self._update(held, now)

    def holder(self, name: str) -> LeaseHolder | None:
        """Return who holds or last held a lease; None where nobody ever did."""
        columns = [lease.c[field] for field in LeaseHolder.__dataclass_fields__]
        with self._database.read(deadline_s=self._deadline_s) as connection:
            row = connection.execute(select(*columns).where(lease.c.name == name)).one_or_none()
        return None if row is None else LeaseHolder(**dict(row._mapping))  # noqa: SLF001 - SQLAlchemy's public name

    def _update(self, held: Held, until: datetime) -> bool:
        mine = (lease.c.name == held.name, lease.c.owner == held.owner, lease.c.term == held.term)
        with self._database.write(deadline_s=self._deadline_s) as connection:
            return bool(connection.execute(update(lease).where(*mine).values(until=until)).rowcount)


def _first(connection: Connection, name: str, values: dict[str, Any]) -> bool:
    if connection.execute(select(lease.c.name).where(lease.c.name == name)).first() is not None:
        return False
    try:
        with connection.begin_nested():
            connection.execute(insert(lease).values(name=name, term=1, **values))
    except IntegrityError:
        return False  # somebody else was first
    return True
