"""One clean-up at a time: flock on this machine, and on PostgreSQL an advisory lock for all machines (rule R10)."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import ColumnElement, Connection, column, text, true
from sqlalchemy.exc import DBAPIError

from app.core.database import Database
from app.core.errors import DatabaseUnavailable, Locked
from app.core.redaction import redact
from app.retention.workplace import Workplace
from app.service.process_lock import ProcessLock

_KEY = 0x67656E67_66750001  # "gengfu" and a number of our own
_HIGH, _LOW = _KEY >> 32, _KEY & 0xFFFFFFFF
# Idle for the whole run, this session must not be ended for it; servers before 14 don't know the setting.
_STAY = text("SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'")
_TRY = text("SELECT pg_try_advisory_lock(:key), pg_backend_pid()").bindparams(key=_KEY)
_GIVE_BACK = text("SELECT pg_advisory_unlock(:key)").bindparams(key=_KEY)
_STILL = text(
    "SELECT 1 AS held FROM pg_locks WHERE locktype = 'advisory' AND classid = :high AND objid = :low AND objsubid = 1 "
    "AND pid = :pid AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
).bindparams(high=_HIGH, low=_LOW)
_HOLDER = text(
    "SELECT a.pid, coalesce(a.client_addr::text, 'this machine'), a.backend_start FROM pg_locks l "
    "JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'advisory' AND l.classid = :high AND l.objid = :low "
    "AND l.objsubid = 1 AND l.granted "
    "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
).bindparams(high=_HIGH, low=_LOW)


class Flight:
    """The right to clean up."""

    def __init__(self, backend: int | None = None) -> None:
        """Take the server process that holds the advisory lock; None on SQLite, where the lock can't be lost."""
        self._backend = backend

    def check(self, connection: Connection) -> None:
        """Raise DatabaseUnavailable when the connection that holds the lock is gone: somebody else may be at work."""
        if self._backend is None:
            return
        if connection.execute(_STILL, {"pid": self._backend}).first() is None:
            raise self.lost()

    def is_held(self) -> ColumnElement[bool]:
        """Return the same as an expression, for statements that ask something else anyway."""
        if self._backend is None:
            return true()
        return _STILL.bindparams(pid=self._backend).columns(column("held")).exists()

    @staticmethod
    def lost() -> DatabaseUnavailable:
        """Return what to raise where the lock is not held any more."""
        return DatabaseUnavailable("the connection that held the clean-up's lock is gone; the next run goes on")


@contextmanager
def single_flight(place: Workplace, run_id: str) -> Iterator[Flight]:
    """Hold the clean-up's lock for the block. Raises Locked, saying who holds it where that is known."""
    lock = ProcessLock(place.lock_file, place.clock)
    lock.acquire(role="the clean-up", run_id=run_id)
    try:
        if place.database.dialect == "sqlite":
            yield Flight()
            return
        with _advisory_lock(place.database) as backend:
            yield Flight(backend)
    finally:
        lock.release()


@contextmanager
def _advisory_lock(database: Database) -> Iterator[int]:
    try:
        connection = database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    except DBAPIError as error:
        raise DatabaseUnavailable(f"{database.display_url} does not answer: {redact(str(error.orig))}") from error
    # The lock lives as long as the session: the connection must not go back to the pool.
    with connection:
        connection.detach()
        connection.execute(_STAY)
        got, backend = connection.execute(_TRY).one()
        if not got:
            raise Locked(f"the clean-up already runs{_holder(connection)}; wait for it or stop it first")
        try:
            yield backend
        finally:
            # The server notices a closed connection only after a while.
            with suppress(DBAPIError):
                connection.execute(_GIVE_BACK)


def _holder(connection: Connection) -> str:
    row = connection.execute(_HOLDER).first()
    return f", connected from {row[1]} since {row[2]:%Y-%m-%d %H:%M:%S%z} (server process {row[0]})" if row else ""
