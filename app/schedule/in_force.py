"""Which schedule of a job is in force, and since when: a changed one counts from its change on and undoes nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, insert, select, update

from app.core.database import Database
from app.core.own_tables import service_state
from app.schedule.job_spec import JobSpec

_PREFIX = "schedule:"
_OFF: dict[str, str | None] = {"cron": None, "timezone": None}


@dataclass(frozen=True, kw_only=True)
class InForce:
    """A job's schedule as beats know it."""

    cron: str
    zone: ZoneInfo
    since: datetime
    """What was due before is not this schedule's."""


class Schedules:
    """Remembers the schedules of jobs over restarts and fail-overs. Every method may raise the errors of `Database`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, job: str) -> InForce | None:
        """Return the schedule of a job; None where no beat has taken it up, or the job is off."""
        with self._database.read() as connection:
            row = connection.execute(select(service_state).where(service_state.c.key == _PREFIX + job)).one_or_none()
        if row is None or row.value == _OFF:
            return None
        return InForce(cron=row.value["cron"], zone=ZoneInfo(row.value["timezone"]), since=row.updated_at)

    def take_up(
        self, specs: Iterable[JobSpec], zone: ZoneInfo, past: Mapping[str, datetime], now: datetime
    ) -> dict[str, datetime]:
        """Note that these jobs, and no others, are scheduled; return since when the schedule of each is in force.

        That is `now` for one that is new, changed or on again. A job that was never noted keeps what it has in the
        ledger: `past`, its newest slot. `zone` is that of jobs that name none.
        """
        wanted = {spec.name: {"cron": spec.cron, "timezone": spec.zone(zone).key} for spec in specs}
        with self._database.read() as connection:
            noted = {
                row.key.removeprefix(_PREFIX): (row.value, row.updated_at)
                for row in connection.execute(
                    select(service_state).where(service_state.c.key.startswith(_PREFIX, autoescape=True))
                )
            }
        wanted |= {name: _OFF for name in noted if name not in wanted}
        changed: dict[str, datetime] = {}
        since: dict[str, datetime] = {}
        for name, schedule in wanted.items():
            value, noted_at = noted.get(name, (None, past.get(name, now)))
            if value != schedule:
                changed[name] = noted_at if value is None else now
            # A clock that was set back must not keep a job from being planned.
            since[name] = min(changed.get(name, noted_at), now)
        if changed:
            with self._database.write() as connection:
                for name, at in changed.items():
                    _note(connection, _PREFIX + name, wanted[name], at)
        return {name: at for name, at in since.items() if wanted[name] is not _OFF}


def _note(connection: Connection, key: str, schedule: Mapping[str, str | None], at: datetime) -> None:
    values = {"value": dict(schedule), "updated_at": at}
    if not connection.execute(update(service_state).where(service_state.c.key == key).values(values)).rowcount:
        connection.execute(insert(service_state).values(key=key, **values))
