"""The steps of a run one at a time, each in a transaction of its own: what stands there when only some were taken."""

from dataclasses import dataclass
from datetime import datetime

from app.core.clock import Clock
from app.core.database import Database
from app.schedule import claims, run_rows, single_flight
from app.schedule.claims import Claim
from app.schedule.leases import Held
from app.schedule.ledger import State
from app.schedule.run_rows import Start
from app.schedule.runs import Origin
from app.schedule.single_flight import NOWHERE, AtWork, Flight, Place


@dataclass(frozen=True)
class Steps:
    """Takes steps at the clock's time, or at the time given."""

    database: Database
    clock: Clock

    def claim(self, job: str, due_at: datetime, owner: str, run_id: str, now: datetime | None = None) -> Claim | None:
        with self.database.write() as connection:
            return claims.take(connection, job, due_at, owner, run_id, now or self.clock.now())

    def renew(self, claim: Claim, now: datetime | None = None) -> bool:
        with self.database.write() as connection:
            return claims.renew(connection, claim, now or self.clock.now())

    def close(self, claim: Claim, state: State, now: datetime | None = None) -> bool:
        with self.database.write() as connection:
            return claims.close(connection, claim, state, now or self.clock.now())

    def offer_again(self, claim: Claim, at: datetime) -> bool:
        with self.database.write() as connection:
            return claims.offer_again(connection, claim, at, attempted=True)

    def take_lease(self, job: str, run_id: str, place: Place = NOWHERE) -> Flight | AtWork:
        with self.database.write() as connection:
            return single_flight.take(connection, job, run_id, self.clock.now(), place)

    def take_free_lease(self, job: str, run_id: str) -> Held:
        flight = self.take_lease(job, run_id)
        assert isinstance(flight, Flight), flight
        return flight.lease

    def renew_lease(self, held: Held) -> bool:
        with self.database.write() as connection:
            return single_flight.renew(connection, held, self.clock.now())

    def give_back_lease(self, held: Held) -> bool:
        with self.database.write() as connection:
            return single_flight.give_back(connection, held, self.clock.now())

    def start(self, run_id: str, job: str, origin: Origin) -> None:
        with self.database.write() as connection:
            run_rows.started(connection, Start(job=job, run_id=run_id, origin=origin, at=self.clock.now()))

    def show_life(self, run_id: str) -> bool:
        with self.database.write() as connection:
            return run_rows.heartbeat(connection, run_id, self.clock.now())

    def close_dead(self, job: str) -> int:
        with self.database.write() as connection:
            return run_rows.close_dead(connection, job, self.clock.now())
