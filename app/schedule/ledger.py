"""The slot ledger: what is due and what is done stands here; the broker is only a wake-up.

A slot is planned before it is due, sent when it is, claimed by a worker with a conditional UPDATE and closed. The
unique row and the claim make one run of it, whatever number of beats, deliveries and restarts there are.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, Row, bindparam, func, literal_column, or_, select, update

from app.core.database import Database
from app.core.own_tables import slot
from app.core.upsert import insert_into
from app.schedule.skip_scan import distinct

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


_FIELDS = [slot.c[name] for name in Slot.__dataclass_fields__]
_JOBS = distinct(slot.c.job)
_NEWEST = select(func.max(slot.c.due_at)).where(slot.c.job == _JOBS.c.value, slot.c.due_at <= bindparam("until"))
# One look into the index for each job: grouping would read the whole ledger.
_LAST_DUE = select(_JOBS.c.value, _NEWEST.scalar_subquery().label("due_at")).where(_JOBS.c.value.is_not(None))


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
        rows = [
            {"job": job, "due_at": due, "state": "planned", "attempt": 0, "term": 0, "planned_at": now}
            # In the same transaction: planned first and closed after, a kill in between would have them run.
            | ({"state": "missed", "closed_at": now, "note": "no beat was there"} if (job, due) in missed else {})
            for job, due in slots
        ]
        statement = insert_into(slot, self._database.dialect).on_conflict_do_nothing(index_elements=["job", "due_at"])
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
        dead = (self._few("running"), slot.c.lease_until < now)
        with self._database.write() as connection:
            given_up = connection.execute(
                update(slot)
                .where(*dead, slot.c.attempt >= MOST_ATTEMPTS)
                .values(state="interrupted", closed_at=now, note=f"its worker died {MOST_ATTEMPTS} times")
            ).rowcount
            offered = connection.execute(update(slot).where(*dead).values(state="planned", owner=None)).rowcount
            resent = connection.execute(
                update(slot).where(self._few("sent"), slot.c.sent_at < now - RESEND_AFTER).values(state="planned")
            ).rowcount
        return Repairs(offered=offered, resent=resent, given_up=given_up)

    def last_due(self, *, until: datetime) -> dict[str, datetime]:
        """Return the newest slot of each job that was due by `until`, whatever became of it; none for one without."""
        with self._database.read() as connection:
            return {row.value: row.due_at for row in connection.execute(_LAST_DUE, {"until": until}) if row.due_at}

    def get(self, job: str, due_at: datetime) -> Slot | None:
        """Return one slot, or None where it was never planned."""
        with self._database.read() as connection:
            row = connection.execute(select(*_FIELDS).where(slot.c.job == job, slot.c.due_at == due_at)).one_or_none()
        return None if row is None else _slot(row)

    def _few(self, state: State) -> ColumnElement[Any]:
        """A state in which few slots are.

        SQLite's statistics know only how many rows a state has on average: it would read the whole ledger.
        """
        wanted = slot.c.state == state
        # Not typed as a boolean: SQLAlchemy would then write `= 1` behind it, which hides the index.
        return func.likelihood(wanted, literal_column("0.0001")) if self._database.dialect == "sqlite" else wanted

    def _change(self, job: str, due_at: datetime, states: Sequence[State], **values: Any) -> bool:
        with self._database.write() as connection:
            changed = connection.execute(
                update(slot).where(slot.c.job == job, slot.c.due_at == due_at, slot.c.state.in_(states)).values(values)
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
