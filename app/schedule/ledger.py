"""The slot ledger: what is due and what is done stands here; the broker is only a wake-up.

A slot is planned before it is due, sent when it is, claimed by a worker with a conditional UPDATE and closed. The
unique row and the claim make one run of it, whatever number of beats, deliveries and restarts there are.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Row, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from app.core.database import Database
from app.core.own_tables import slot

State = Literal["planned", "sent", "running", "succeeded", "failed", "skipped", "missed", "interrupted"]
OPEN: tuple[State, ...] = ("planned", "sent", "running")
LEASE = timedelta(seconds=120)
"""A claim not renewed for this long is a dead worker's."""
RESEND_AFTER = timedelta(seconds=300)
"""A message nobody claimed for this long is lost, or its queue is long; a second one does no harm."""
MOST_ATTEMPTS = 5


@dataclass(frozen=True, kw_only=True)
class Slot:
    """One instant at which a job is due. `term` counts the claims: a late owner can't close another one's run."""

    job: str
    due_at: datetime
    state: State
    attempt: int
    term: int
    owner: str | None
    lease_until: datetime | None
    sent_at: datetime | None
    run_id: str | None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The right to work on a slot until `lease_until`."""

    job: str
    due_at: datetime
    owner: str
    term: int
    attempt: int


_FIELDS = [slot.c[name] for name in Slot.__dataclass_fields__]


class Ledger:
    """Reads and writes `gengfu_slot`. Every method may raise the errors of `Database`; times are UTC."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def plan(
        self, slots: Sequence[tuple[str, datetime]], now: datetime, *, missed: Collection[tuple[str, datetime]] = ()
    ) -> int:
        """Plan slots that are not in the ledger yet, closing those in `missed` at once; return how many were new."""
        if not slots:
            return 0
        dialect = postgresql if self._database.dialect == "postgresql" else sqlite
        rows = [
            {"job": job, "due_at": due, "state": "planned", "attempt": 0, "term": 0, "planned_at": now}
            # In the same transaction: planned first and closed after, a kill in between would have them run.
            | ({"state": "missed", "closed_at": now, "note": "no beat was there"} if (job, due) in missed else {})
            for job, due in slots
        ]
        statement = dialect.insert(slot).on_conflict_do_nothing(index_elements=["job", "due_at"])
        with self._database.write() as connection:
            return sum(connection.execute(statement, row).rowcount for row in rows)

    def due(self, now: datetime, limit: int = 200) -> list[Slot]:
        """Return planned slots whose time has come, oldest first."""
        statement = (
            select(*_FIELDS)
            .where(
                slot.c.state == "planned",
                slot.c.due_at <= now,
                or_(slot.c.not_before.is_(None), slot.c.not_before <= now),
            )
            .order_by(slot.c.due_at, slot.c.job)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [_slot(row) for row in connection.execute(statement)]

    def mark_sent(self, job: str, due_at: datetime, now: datetime) -> bool:
        """Note that a message for the slot was published; False where it is no longer planned."""
        return self._change(job, due_at, ("planned",), state="sent", sent_at=now)

    def close_unrun(self, job: str, due_at: datetime, state: State, now: datetime, note: str) -> bool:
        """Close a slot that is not run: missed or skipped, with the reason; False where it is no longer open."""
        return self._change(job, due_at, ("planned", "sent"), state=state, closed_at=now, note=note)

    def claim(self, job: str, due_at: datetime, owner: str, run_id: str, now: datetime) -> Claim | None:
        """Take the slot for `owner`, or None where it is closed, unknown, or claimed by a live worker."""
        with self._database.write() as connection:
            changed = connection.execute(
                update(slot)
                .where(slot.c.job == job, slot.c.due_at == due_at, slot.c.state.in_(("planned", "sent")))
                .values(
                    state="running",
                    owner=owner,
                    run_id=run_id,
                    lease_until=now + LEASE,
                    term=slot.c.term + 1,
                    attempt=slot.c.attempt + 1,
                )
            )
            if not changed.rowcount:
                return None
            row = connection.execute(
                select(slot.c.term, slot.c.attempt).where(slot.c.job == job, slot.c.due_at == due_at)
            ).one()
        return Claim(job=job, due_at=due_at, owner=owner, term=row.term, attempt=row.attempt)

    def renew(self, claim: Claim, now: datetime) -> bool:
        """Prolong a claim; False where it was lost, and the work must stop."""
        return self._change_claimed(claim, lease_until=now + LEASE)

    def close(self, claim: Claim, state: State, now: datetime) -> bool:
        """Close a slot that was run; False where the claim was lost to somebody else meanwhile."""
        return self._change_claimed(claim, state=state, closed_at=now, lease_until=None)

    def offer_again(self, claim: Claim, at: datetime) -> bool:
        """Give a claimed slot back to be sent again from `at` on: its run failed for a passing reason."""
        return self._change_claimed(claim, state="planned", lease_until=None, owner=None, not_before=at)

    def clear(self, now: datetime) -> int:
        """Close every slot that is due and not in work as skipped; return how many."""
        waiting = (slot.c.state.in_(("planned", "sent")), slot.c.due_at <= now)
        with self._database.write() as connection:
            return connection.execute(
                update(slot).where(*waiting).values(state="skipped", closed_at=now, note="cleared by hand")
            ).rowcount

    def repair(self, now: datetime) -> "Repairs":
        """Mend what crashes left behind: dead claims are offered again, lost messages sent again.

        A slot that was claimed `MOST_ATTEMPTS` times is closed as interrupted: whatever kills its workers would go on.
        """
        dead = (slot.c.state == "running", slot.c.lease_until < now)
        with self._database.write() as connection:
            given_up = connection.execute(
                update(slot)
                .where(*dead, slot.c.attempt >= MOST_ATTEMPTS)
                .values(state="interrupted", closed_at=now, note=f"its worker died {MOST_ATTEMPTS} times")
            ).rowcount
            offered = connection.execute(update(slot).where(*dead).values(state="planned", owner=None)).rowcount
            resent = connection.execute(
                update(slot).where(slot.c.state == "sent", slot.c.sent_at < now - RESEND_AFTER).values(state="planned")
            ).rowcount
        return Repairs(offered=offered, resent=resent, given_up=given_up)

    def last_due(self) -> dict[str, datetime]:
        """Return the newest slot of each job, whatever became of it: nothing before it is planned any more."""
        newest = select(slot.c.job, func.max(slot.c.due_at).label("due_at")).group_by(slot.c.job)
        with self._database.read() as connection:
            return {row.job: row.due_at for row in connection.execute(newest)}

    def get(self, job: str, due_at: datetime) -> Slot | None:
        """Return one slot, or None where it was never planned."""
        with self._database.read() as connection:
            row = connection.execute(select(*_FIELDS).where(slot.c.job == job, slot.c.due_at == due_at)).one_or_none()
        return None if row is None else _slot(row)

    def _change(self, job: str, due_at: datetime, states: Sequence[State], **values: Any) -> bool:
        with self._database.write() as connection:
            changed = connection.execute(
                update(slot).where(slot.c.job == job, slot.c.due_at == due_at, slot.c.state.in_(states)).values(values)
            )
        return bool(changed.rowcount)

    def _change_claimed(self, claim: Claim, **values: Any) -> bool:
        with self._database.write() as connection:
            changed = connection.execute(
                update(slot)
                .where(
                    slot.c.job == claim.job,
                    slot.c.due_at == claim.due_at,
                    slot.c.state == "running",
                    slot.c.owner == claim.owner,
                    slot.c.term == claim.term,
                )
                .values(values)
            )
        return bool(changed.rowcount)


@dataclass(frozen=True, kw_only=True)
class Repairs:
    """How many slots a repair offered again, sent again and gave up."""

    offered: int
    resent: int
    given_up: int


def _slot(row: Row[Any]) -> Slot:
    return Slot(**dict(row._mapping))  # noqa: SLF001 - SQLAlchemy's public name for it
