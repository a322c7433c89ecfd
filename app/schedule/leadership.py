"""One leader among any number of beats: a lease in the database, and a deadline of one's own.

The lease decides who leads; the monotonic deadline makes a leader that was cut off or frozen step down by itself, a
second before anybody else may take over.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from app.core.clock import Clock
from app.schedule.leases import Held, LeaseHolder, Leases

BEAT = "beat"
LIFE = timedelta(seconds=15)
RENEW_EVERY_S = 5.0
_MARGIN_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Vacancy:
    """The time before this process took the lease during which nobody had it."""

    start: datetime | None
    """None where nobody led before, or nobody knows until when."""
    end: datetime

    def __contains__(self, instant: datetime) -> bool:
        """Tell whether nobody led at that instant; a lease does not cover its end."""
        return instant < self.end and (self.start is None or instant >= self.start)


class Leadership:
    """This process's part in the election; `owner` is random for each process, `leases` live for `LIFE`."""

    def __init__(self, leases: Leases, clock: Clock, *, owner: str, host: str, pid: int) -> None:
        self._leases = leases
        self._clock = clock
        self._owner, self._host, self._pid = owner, host, pid
        self._held: Held | None = None
        self._steps_down_at = float("-inf")
        self._renew_at = float("-inf")
        self._vacancy = Vacancy(start=None, end=clock.now())

    @property
    def vacancy(self) -> Vacancy:
        """How long nobody led before this process took the lease it holds."""
        return self._vacancy

    @property
    def leads(self) -> bool:
        """Whether this process may act as leader at this very moment; asks only its own clock."""
        return self._clock.monotonic() < self._steps_down_at

    def campaign(self) -> bool:
        """Renew the lease when that is due, or take it when it is free; return whether we lead.

        Raises DatabaseUnavailable or DatabaseBusy; leadership then ends by itself at its deadline.
        """
        asked = self._clock.monotonic()
        if self.leads and asked < self._renew_at:
            return True
        now = self._clock.now()
        if self._held is None or not self._leases.renew(self._held, now):
            before = self._leases.holder(BEAT)
            self._held = self._leases.take(BEAT, self._owner, host=self._host, pid=self._pid, now=now)
            self._vacancy = Vacancy(start=_end(before, now), end=now)
        if self._held is None:
            self._steps_down_at = float("-inf")
            return False
        # Counted from before the question: however long the answer took, we step down in time.
        self._steps_down_at = asked + LIFE.total_seconds() - _MARGIN_S
        self._renew_at = asked + RENEW_EVERY_S
        return self.leads

    def resign(self) -> None:
        """Give the lease back, so that a stand-by takes over at once."""
        held, self._held, self._steps_down_at = self._held, None, float("-inf")
        if held is not None:
            self._leases.give_back(held, self._clock.now())


def _end(before: LeaseHolder | None, now: datetime) -> datetime | None:
    """When the lease that was free for us ended; one given by a clock that was set back since does not say."""
    if before is None or before.until > now + 2 * LIFE:
        return None
    return min(before.until, now)
