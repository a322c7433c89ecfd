"""Jobs that are paused: their slots are closed as skipped until somebody resumes them."""

from datetime import datetime

from sqlalchemy import delete, insert, select

from app.core.database import Database
from app.core.own_tables import service_state

_PREFIX = "paused:"


def paused_jobs(database: Database) -> dict[str, datetime]:
    """Return the paused jobs and since when. Raises the errors of `Database`."""
    columns = (service_state.c.key, service_state.c.updated_at)
    with database.read() as connection:
        rows = connection.execute(select(*columns).where(service_state.c.key.startswith(_PREFIX, autoescape=True)))
        return {row.key.removeprefix(_PREFIX): row.updated_at for row in rows}


def pause(database: Database, job: str, now: datetime) -> bool:
    """Pause a job; False where it was paused already."""
    key = _PREFIX + job
    with database.write() as connection:
        if connection.execute(select(service_state.c.key).where(service_state.c.key == key)).first() is not None:
            return False
        connection.execute(insert(service_state).values(key=key, value={}, updated_at=now))
        return True


def resume(database: Database, job: str) -> bool:
    """Resume a job; False where it was not paused."""
    with database.write() as connection:
        gone = connection.execute(delete(service_state).where(service_state.c.key == _PREFIX + job))
    return bool(gone.rowcount)
