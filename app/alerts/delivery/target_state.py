"""How each target fares: whether it is to be left alone for now, and whether it is broken. Rows of `service_state`."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

from sqlalchemy import Connection, delete, select

from app.core.own_tables import service_state
from app.core.upsert import insert_into

FIRST_PAUSE = timedelta(seconds=5)
"""After a failure; three times as long after each further one."""
LONGEST_PAUSE = timedelta(minutes=15)
_FACTOR = 3
_JITTER = 0.2
"""Share by which pauses differ: what failed at once need not come back at once."""
BROKEN_AFTER = 5
"""Failures in a row, ten minutes of them, after which a target counts as broken."""
_KEY = "alert-target:"

_random = Random()  # noqa: S311 - spreads load, keeps no secret


@dataclass(frozen=True, kw_only=True)
class TargetState:
    """One target."""

    failures: int = 0
    """Attempts in a row that failed."""
    since: datetime | None = None
    """When the first of them did."""
    why: str = ""
    """What the last of them met."""
    permanent: bool = False
    """It refuses, and will until somebody changes something."""
    paused_until: datetime | None = None
    """Nothing is sent before."""

    @property
    def is_broken(self) -> bool:
        """Whether others should be told that it can't be reached."""
        return self.permanent or self.failures >= BROKEN_AFTER

    def rests_at(self, at: datetime) -> bool:
        """Tell whether it is left alone at `at`."""
        return self.paused_until is not None and at < self.paused_until

    def after_failure(self, at: datetime, why: str, *, permanent: bool) -> "TargetState":
        """Return the state after an attempt that failed; whether it is to be left alone is not said by that."""
        return replace(
            self, failures=self.failures + 1, since=self.since or at, why=why, permanent=permanent, paused_until=None
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, readable by `from_json`."""
        return {
            "failures": self.failures,
            "since": self.since.isoformat() if self.since else None,
            "why": self.why,
            "permanent": self.permanent,
            "paused_until": self.paused_until.isoformat() if self.paused_until else None,
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "TargetState":
        """Return what `to_json` wrote."""
        times = {key: datetime.fromisoformat(document[key]) for key in ("since", "paused_until") if document[key]}
        return cls(failures=document["failures"], why=document["why"], permanent=document["permanent"], **times)


def pause_after(failures: int) -> timedelta:
    """Return how long to wait after so many failures in a row: 5 s, 15 s, 45 s ... 15 minutes, give or take a fifth."""
    # Beyond six the power is longer than the longest pause anyway.
    times: int = _FACTOR ** min(max(failures - 1, 0), 6)
    wanted = min(FIRST_PAUSE * times, LONGEST_PAUSE)
    return wanted * _random.uniform(1 - _JITTER, 1.0)


def load(connection: Connection, target: str) -> TargetState:
    """Return how a target fares; one that never failed fares well."""
    query = select(service_state.c.value).where(service_state.c.key == _KEY + target)
    found = connection.execute(query).scalar_one_or_none()
    return TargetState.from_json(found) if found else TargetState()


def load_all(connection: Connection) -> dict[str, TargetState]:
    """Return the targets whose last attempt failed."""
    query = select(service_state.c.key, service_state.c.value)
    rows = connection.execute(query.where(service_state.c.key.startswith(_KEY, autoescape=True)))
    return {row.key.removeprefix(_KEY): TargetState.from_json(row.value) for row in rows}


def save(connection: Connection, target: str, state: TargetState, at: datetime) -> None:
    """Keep how a target fares."""
    inserted = insert_into(service_state, connection.dialect.name)
    values = {"value": state.to_json(), "updated_at": at}
    statement = inserted.values(key=_KEY + target, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["key"], set_=values))


def forget(connection: Connection, target: str) -> None:
    """Forget what went wrong with a target: it works again, or is not in the settings any more."""
    connection.execute(delete(service_state).where(service_state.c.key == _KEY + target))
