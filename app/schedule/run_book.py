"""The two transactions of a run: one begins it, one ends it; between them each beat renews what it holds in one more.

Each is durable and whole, so a process killed anywhere leaves a run that was not begun, one that holds all it needs,
or one that is closed with all it held. All of them change the slot first, then the lease, then the run: transactions
that take locks in one order never wait for each other in a circle.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Protocol

from sqlalchemy import Connection

from app.core.clock import Clock
from app.core.database import Database
from app.schedule import claims, run_rows, single_flight
from app.schedule.claims import Claim
from app.schedule.leases import Held
from app.schedule.run_rows import Ending, Start
from app.schedule.single_flight import NOWHERE, AtWork, Place


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a run is not to be carried out."""

    why: str
    at_work: bool = False
    """Another run of the job is at work; False where there is nothing to do at all."""
    same_run: bool = False
    """The one at work is this very run, delivered twice: the row is its first delivery's."""


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A run and all it holds. What is refused holds nothing but, where the job is at work, its slot."""

    start: Start
    claim: Claim | None = None
    lease: Held | None = None
    recorded: bool = False
    """Whether its start stands in the history."""
    dead_runs: int = 0
    """Runs of the job that were found dead and closed."""
    refusal: Refusal | None = None

    @property
    def leaves_row(self) -> bool:
        """Whether the history is to tell of this run."""
        return self.refusal is None or (self.refusal.at_work and not self.refusal.same_run)


class Step(Protocol):
    """Renews one thing; False where it is lost."""

    def __call__(self, connection: Connection, *, now: datetime) -> bool: ...


class RunBook:
    """Begins and ends runs. Every method may raise the errors of `Database`, and keeps nothing then."""

    def __init__(self, database: Database, clock: Clock, place: Place = NOWHERE) -> None:
        self._database = database
        self._clock = clock
        self._place = place

    def begin(self, start: Start, *, alone: bool, owner: str | None = None) -> Begun:
        """Take what a run needs and record its start, or say why it is not to be carried out.

        With `owner` it is a run for the slot of its origin, which is claimed. `alone` keeps other runs of the job away.
        """
        with self._database.write() as connection:
            if owner is None or start.origin.slot is None:
                return self._begin_unclaimed(connection, start, alone=alone)
            claim = claims.take(connection, start.job, start.origin.slot, owner, start.run_id, start.at)
            if claim is None:
                why = f"slot {start.origin.slot.isoformat()} is done, in work, or was never planned"
                return Begun(start=start, refusal=Refusal(why=why))
            attempt = replace(start, origin=replace(start.origin, attempt=claim.attempt))
            return self._begin_claimed(connection, attempt, claim, alone=alone)

    def end(self, begun: Begun, ending: Ending, *, again_at: datetime | None = None) -> bool:
        """Record how a run ended and give back all it held; its slot is closed, or offered again from `again_at` on.

        A run whose start could not be recorded gets its whole row. False where somebody else has the slot by now.
        """
        now = self._clock.now()
        with self._database.write() as connection:
            kept = _settle(connection, begun.claim, ending, now, again_at)
            if begun.lease is not None:
                single_flight.give_back(connection, begun.lease, now)
            if begun.leaves_row:
                if not begun.recorded:
                    run_rows.started(connection, begun.start)
                run_rows.finished(connection, begun.start.run_id, ending, now)
        return kept

    def renewal(self, begun: Begun) -> "Renewal":
        """Return what a heartbeat calls to renew all that a run holds."""
        return Renewal(self._database, self._clock, begun)

    def _begin_claimed(self, connection: Connection, start: Start, claim: Claim, *, alone: bool) -> Begun:
        # An earlier owner who was taken for dead may have come to a good end after its claim was over.
        if claim.attempt > 1 and (earlier := run_rows.succeeded_for(connection, claim.job, claim.due_at)):
            claims.close(connection, claim, "succeeded", start.at)
            why = f"slot {claim.due_at.isoformat()} was done by run {earlier}"
            return Begun(start=start, refusal=Refusal(why=why))
        return replace(self._begin_run(connection, start, alone=alone), claim=claim)

    def _begin_unclaimed(self, connection: Connection, start: Start, *, alone: bool) -> Begun:
        # It was delivered twice, and the first delivery came to a good end.
        if start.origin.attempt > 1 and run_rows.succeeded(connection, start.run_id):
            return Begun(start=start, refusal=Refusal(why=f"run {start.run_id} has succeeded already"))
        return self._begin_run(connection, start, alone=alone)

    def _begin_run(self, connection: Connection, start: Start, *, alone: bool) -> Begun:
        flight = single_flight.take(connection, start.job, start.run_id, start.at, self._place) if alone else None
        if isinstance(flight, AtWork):
            same_run = flight.run_id == start.run_id
            return Begun(start=start, refusal=Refusal(why=flight.why, at_work=True, same_run=same_run))
        dead = run_rows.close_dead(connection, start.job, start.at)
        if flight is not None and flight.instead_of is not None:
            dead += run_rows.close_orphan(connection, flight.instead_of, start.at)
        run_rows.started(connection, start)
        return Begun(start=start, lease=flight.lease if flight else None, recorded=True, dead_runs=dead)


class Renewal:
    """Renews the claim, the lease and the row of one run in one transaction."""

    def __init__(self, database: Database, clock: Clock, begun: Begun) -> None:
        self._database = database
        self._clock = clock
        held: dict[str, Step | None] = {
            "slot": partial(claims.renew, claim=begun.claim) if begun.claim else None,
            "lease": partial(single_flight.renew, held=begun.lease) if begun.lease else None,
            "run": partial(run_rows.heartbeat, run_id=begun.start.run_id) if begun.recorded else None,
        }
        self._left = {what: renew for what, renew in held.items() if renew}

    def __call__(self) -> list[str]:
        """Renew what is left and return what was lost since the last call. Raises the errors of `Database`.

        What is lost ends nothing but itself: the rest keeps second runs away for as long as this one lasts.
        """
        if not self._left:
            return []
        now = self._clock.now()
        with self._database.write() as connection:
            lost = [what for what, renew in self._left.items() if not renew(connection, now=now)]
        for what in lost:
            del self._left[what]
        return lost


def _settle(
    connection: Connection, claim: Claim | None, ending: Ending, now: datetime, again_at: datetime | None
) -> bool:
    if claim is None:
        return True
    if again_at is not None:
        return claims.offer_again(connection, claim, again_at, attempted=ending.state != "skipped")
    return claims.close(connection, claim, ending.state, now)
