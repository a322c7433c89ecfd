"""Leases in the database: who may do something alone, until when. A lease not renewed ends by itself.

The functions are steps within a transaction of the caller; `Leases` makes a transaction of each.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Executable, Row, bindparam, select, update

from app.core.database import Database
from app.core.own_tables import lease
from app.core.upsert import insert_into

Condition = Literal["over", "of the dead"]
"""Which lease may be taken: one that is over, or that of a holder who no longer lives."""


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


@dataclass(frozen=True, kw_only=True)
class Wish:
    """A lease somebody wants for `life`."""

    name: str
    owner: str
    host: str
    pid: int
    life: timedelta


# Statements are built once: SQLAlchemy takes ten times as long to build one as to run it.
@cache
def _taking(dialect: str, free: Condition) -> Executable:
    inserted = insert_into(lease, dialect)
    values = {name: inserted.excluded[name] for name in ("owner", "since", "until", "host", "pid")}
    taken = inserted.on_conflict_do_update(
        index_elements=["name"], set_={"term": lease.c.term + 1, **values}, where=_CONDITIONS[free]
    )
    statement: Executable = taken.returning(lease.c.term)
    return statement


_CONDITIONS: dict[Condition, ColumnElement[bool]] = {
    # A lease that ends later than any can was given by a clock that has been set back since.
    "over": (lease.c.until <= bindparam("now")) | (lease.c.until > bindparam("latest")),
    "of the dead": (lease.c.owner == bindparam("of_owner")) & (lease.c.term == bindparam("of_term")),
}
_MINE = (
    lease.c.name == bindparam("of_name"),
    lease.c.owner == bindparam("of_owner"),
    lease.c.term == bindparam("of_term"),
)
_PROLONG = update(lease).where(*_MINE)
_HOLDERS = select(lease.c.name, *(lease.c[field] for field in LeaseHolder.__dataclass_fields__))
_HOLDER = _HOLDERS.where(lease.c.name == bindparam("of_name"))


def take(connection: Connection, wish: Wish, now: datetime) -> Held | None:
    """Take a lease that is free or over; None where somebody holds it."""
    return _take(connection, "over", wish, now, {"now": now, "latest": now + 2 * wish.life})


def take_from_the_dead(connection: Connection, wish: Wish, now: datetime, dead: LeaseHolder) -> Held | None:
    """Take a lease that `dead` still holds; None where somebody else was faster."""
    return _take(connection, "of the dead", wish, now, {"of_owner": dead.owner, "of_term": dead.term})


def _take(connection: Connection, free: Condition, wish: Wish, now: datetime, condition: dict[str, Any]) -> Held | None:
    values = {"name": wish.name, "term": 1, "owner": wish.owner, "host": wish.host, "pid": wish.pid}
    times = {"since": now, "until": now + wish.life}
    taken = connection.execute(_taking(connection.dialect.name, free), values | times | condition)
    term = taken.scalar_one_or_none()
    return None if term is None else Held(name=wish.name, owner=wish.owner, term=term)


def prolong(connection: Connection, held: Held, until: datetime) -> bool:
    """Let a lease end at `until`, sooner or later than it would; False where somebody else has it now."""
    mine = {"of_name": held.name, "of_owner": held.owner, "of_term": held.term}
    return bool(connection.execute(_PROLONG, mine | {"until": until}).rowcount)


def holder(connection: Connection, name: str) -> LeaseHolder | None:
    """Return who holds or last held a lease; None where nobody ever did."""
    row = connection.execute(_HOLDER, {"of_name": name}).one_or_none()
    return None if row is None else _holder(row)


class Leases:
    """Takes, renews and gives back leases. Every method may raise the errors of `Database`."""

    def __init__(self, database: Database, life: timedelta) -> None:
        self._database = database
        self._life = life
        # An answer that takes longer than half the lease is worth nothing.
        self._deadline_s = life.total_seconds() / 2

    def take(self, name: str, owner: str, *, host: str, pid: int, now: datetime) -> Held | None:
        """Take a lease that is free or over; None where somebody holds it."""
        wish = Wish(name=name, owner=owner, host=host, pid=pid, life=self._life)
        with self._database.write(deadline_s=self._deadline_s) as connection:
            return take(connection, wish, now)

    def renew(self, held: Held, now: datetime) -> bool:
        """Prolong a lease; False where somebody else has it now."""
        return self._prolong(held, now + self._life)

    def give_back(self, held: Held, now: datetime) -> None:
        """End a lease at once, so that nobody need wait for it."""
        self._prolong(held, now)

    def holder(self, name: str) -> LeaseHolder | None:
        """Return who holds or last held a lease; None where nobody ever did."""
        with self._database.read(deadline_s=self._deadline_s) as connection:
            return holder(connection, name)

    def holders(self, names: Collection[str]) -> dict[str, LeaseHolder]:
        """Return who holds or last held each of these leases; none for one that nobody ever did."""
        with self._database.read(deadline_s=self._deadline_s) as connection:
            rows = connection.execute(_HOLDERS.where(lease.c.name.in_(names)))
            return {row.name: _holder(row) for row in rows}

    def _prolong(self, held: Held, until: datetime) -> bool:
        with self._database.write(deadline_s=self._deadline_s) as connection:
            return prolong(connection, held, until)


def _holder(row: Row[Any]) -> LeaseHolder:
    facts = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
    del facts["name"]
    return LeaseHolder(**facts)
