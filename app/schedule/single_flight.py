"""One run of a job at a time, on whatever machine: a lease `job:NAME` that the run holds and renews."""

import os
import socket
from datetime import timedelta

from app.core.clock import Clock
from app.core.database import Database
from app.core.errors import Locked
from app.schedule.leases import Held, Leases

LIFE = timedelta(seconds=120)
"""A run that did not renew its lease for this long is a dead process's."""
MANY_AT_ONCE = frozenset({"send-alert-notification"})
"""Jobs of which any number may run at once: no alert waits for another one."""


class RunsAlready(Locked):
    """Another run of the job is at work, or (`at_work` False) this very run came to its end; `run_id` names it."""

    def __init__(self, run_id: str, message: str, *, at_work: bool = True) -> None:
        super().__init__(message)
        self.run_id = run_id
        self.at_work = at_work


class SingleFlight:
    """Takes, renews and gives back the leases of jobs. Every method may raise the errors of `Database`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._leases = Leases(database, LIFE)
        self._clock = clock

    def take(self, job: str, run_id: str) -> Held:
        """Return the lease of `job`, now `run_id`'s. Raises RunsAlready saying which run has it, where and since when.

        The same message delivered twice names the same run: its second delivery is refused as well.
        """
        name = f"job:{job}"
        held = self._leases.take(name, run_id, host=socket.gethostname(), pid=os.getpid(), now=self._clock.now())
        if held is not None:
            return held
        holder = self._leases.holder(name)
        if holder is None:  # nobody deletes leases
            raise RunsAlready("", f"{job} runs already")
        since = holder.since.isoformat(timespec="seconds")
        raise RunsAlready(holder.owner, f"runs already as run {holder.owner} on {holder.host} since {since}")

    def renew(self, held: Held) -> bool:
        """Prolong a lease; False where another run has it now."""
        return self._leases.renew(held, self._clock.now())

    def give_back(self, held: Held) -> None:
        """End a lease at once: the next run need not wait for it."""
        self._leases.give_back(held, self._clock.now())
