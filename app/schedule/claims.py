"""A worker's claim on a slot. Every step goes on a connection of the caller: it is part of a run's transaction."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, update

from app.core.own_tables import slot
from app.schedule.ledger import LEASE, State


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The right to work on a slot for `LEASE` after its last renewal."""

    job: str
    due_at: datetime
    owner: str
    term: int
    attempt: int


# Statements are built once: SQLAlchemy takes ten times as long to build one as to run it.
_TAKE = (
    update(slot)
    .where(
        slot.c.job == bindparam("of_job"),
        slot.c.due_at == bindparam("of_due_at"),
        slot.c.state.in_(("planned", "sent")),
    )
    .values(term=slot.c.term + 1, attempt=slot.c.attempt + 1)
    .returning(slot.c.term, slot.c.attempt)
)
_CHANGE = update(slot).where(
    slot.c.job == bindparam("of_job"),
    slot.c.due_at == bindparam("of_due_at"),
    slot.c.state == "running",
    slot.c.owner == bindparam("of_owner"),
    slot.c.term == bindparam("of_term"),
)


def take(connection: Connection, job: str, due_at: datetime, owner: str, run_id: str, now: datetime) -> Claim | None:
    """Claim the slot for `owner`; None where it is closed, unknown, or claimed by another worker."""
    key = {"of_job": job, "of_due_at": due_at}
    values = {"state": "running", "owner": owner, "run_id": run_id, "lease_until": now + LEASE}
    row = connection.execute(_TAKE, key | values).one_or_none()
    if row is None:
        return None
    return Claim(job=job, due_at=due_at, owner=owner, term=row.term, attempt=row.attempt)


def renew(connection: Connection, claim: Claim, now: datetime) -> bool:
    """Prolong a claim; False where it was lost."""
    return _change(connection, claim, lease_until=now + LEASE)


def close(connection: Connection, claim: Claim, state: State, now: datetime) -> bool:
    """Close a slot that was run; False where the claim was lost to somebody else meanwhile."""
    return _change(connection, claim, state=state, closed_at=now, lease_until=None)


def offer_again(connection: Connection, claim: Claim, at: datetime, *, attempted: bool) -> bool:
    """Give a claimed slot back to be sent again from `at` on; False where the claim was lost.

    A claim that found the job at work was no attempt: a slot may wait for as long as the other run takes.
    """
    attempt = claim.attempt if attempted else claim.attempt - 1
    return _change(connection, claim, state="planned", lease_until=None, owner=None, not_before=at, attempt=attempt)


def _change(connection: Connection, claim: Claim, **values: Any) -> bool:
    mine = {"of_job": claim.job, "of_due_at": claim.due_at, "of_owner": claim.owner, "of_term": claim.term}
    return bool(connection.execute(_CHANGE, mine | values).rowcount)
