"""One run of a job at a time, on whatever machine: a lease `job:NAME` that the run holds and renews.

Every step goes on a connection of the caller: it is part of a run's transaction.
"""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from app.schedule import leases
from app.schedule.leases import Held, LeaseHolder, Wish

LIFE = timedelta(seconds=120)
"""A run that did not renew its lease for this long is a dead process's."""
MANY_AT_ONCE = frozenset({"send-alert-notification"})
"""Jobs of which any number may run at once: no alert waits for another one."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """How a run says where it lives, and how it judges what another one said."""

    mark: Callable[[], str]
    """Names this process for others on this machine; without blanks, empty where it can't be told."""
    gone: Callable[[str, int], bool]
    """Tells of a mark and a pid whether that process provably no longer lives; False where it can't be told."""


NOWHERE = Place(mark=str, gone=lambda _mark, _pid: False)
"""Believes of every holder that it lives, until its lease is over."""


@dataclass(frozen=True, kw_only=True)
class AtWork:
    """Another run of the job is at work, or this very one, delivered twice."""

    run_id: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Flight:
    """The right to be the only run of a job."""

    lease: Held
    instead_of: str | None = None
    """The run whose process died and left its lease behind."""


def lease_name(job: str) -> str:
    """Return the name of the lease that a run of `job` holds."""
    return f"job:{job}"


def take(connection: Connection, job: str, run_id: str, now: datetime, place: Place = NOWHERE) -> Flight | AtWork:
    """Return the lease of `job`, now `run_id`'s, or which run has it, where and since when.

    The same message delivered twice names the same run: its second delivery is refused as well.
    """
    # The mark stands behind the host's name: the owner's column names the run.
    host = f"{socket.gethostname()} {place.mark()}".strip()
    wish = Wish(name=lease_name(job), owner=run_id, host=host, pid=os.getpid(), life=LIFE)
    if held := leases.take(connection, wish, now):
        return Flight(lease=held)
    holder = leases.holder(connection, wish.name)
    if holder is None:  # nobody deletes leases
        return AtWork(run_id="", why=f"{job} runs already")
    if _is_dead(holder, place) and (held := leases.take_from_the_dead(connection, wish, now, holder)):
        return Flight(lease=held, instead_of=holder.owner)
    name = holder.host.partition(" ")[0]
    since = holder.since.isoformat(timespec="seconds")
    return AtWork(run_id=holder.owner, why=f"runs already as run {holder.owner} on {name} since {since}")


def renew(connection: Connection, held: Held, now: datetime) -> bool:
    """Prolong a lease; False where another run has it now."""
    return leases.prolong(connection, held, now + LIFE)


def give_back(connection: Connection, held: Held, now: datetime) -> bool:
    """End a lease at once: the next run need not wait for it; False where another run has it."""
    return leases.prolong(connection, held, now)


def _is_dead(holder: LeaseHolder, place: Place) -> bool:
    mark = holder.host.partition(" ")[2]
    return bool(mark) and place.gone(mark, holder.pid)
