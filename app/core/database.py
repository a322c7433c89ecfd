"""Connections to the database: made after fork, bounded in time, and honest about what went wrong."""

import os
import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from msgspec import Meta
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, InvalidatePoolError, NoSuchModuleError
from sqlalchemy.pool import QueuePool

from app.core.alarms import alarm
from app.core.errors import DatabaseBusy, DatabaseRefused, DatabaseUnavailable, SchemaMismatch, SettingsError
from app.core.redaction import redact
from app.core.secret import Secret
from app.core.settings_file import Section

Dialect = Literal["sqlite", "postgresql"]

# SQLSTATE: lock_not_available, query_canceled (statement_timeout), deadlock_detected, serialization_failure.
_BUSY_STATES = frozenset({"55P03", "57014", "40P01", "40001"})
_SQLITE_FAILURES = ("unable to open", "disk I/O error", "is full", "not a database", "malformed")
# undefined_table, undefined_column, invalid_schema_name
_SCHEMA_STATES = frozenset({"42P01", "42703", "3F000"})
# Local to the transaction: also right through a transaction-pooling proxy, and where it drops our connections' options.
# All at once, for each costs a round trip; by SET where a reader may still ask for a snapshot: SELECT would take one.
_READ_ONLY = text(
    "SET TRANSACTION READ ONLY; SET LOCAL timezone TO 'UTC'; SET LOCAL row_security TO off; "
    "SET LOCAL extra_float_digits TO 1"
)
_OUR_READING = (
    "set_config('timezone', 'UTC', true), set_config('row_security', 'off', true), "
    "set_config('extra_float_digits', '1', true)"
)
_LOCAL_SETTINGS = text(
    f"SELECT {_OUR_READING}, set_config('statement_timeout', :statement, true), "
    "set_config('lock_timeout', :lock, true), set_config('synchronous_commit', 'on', true)"
)
_CHECKS_CLIENT_SINCE = 140000  # server_version
# insufficient_privilege, also where row-level security would hide rows
_REFUSED_STATES = frozenset({"42501"})
_READ_ONLY_STATE = "25006"
_DISK_FULL_STATE = "53100"

_PING_S = 2.0
"""One round trip. Short, for a lease of 15 s is renewed over such a connection: ping and new connection fit in half."""


class DatabaseSettings(Section):
    """`[database]`: where the application's rows and our own tables stand, and how long we wait for it."""

    url: Secret = Secret()
    """SQLAlchemy URL; empty means the embedded SQLite file `var/gengfu.db`."""
    connect_timeout_s: Annotated[int, Meta(ge=1, le=60)] = 5
    lock_timeout_s: Annotated[float, Meta(gt=0, le=60)] = 1.0
    """Maintenance gives way to the application after this long (seconds)."""
    statement_timeout_s: Annotated[float, Meta(ge=1, le=3600)] = 30.0
    deadline_s: Annotated[float, Meta(ge=1, le=7200)] = 120.0
    """The client cuts a transaction off after this long, even if the network went silent (seconds)."""


@dataclass(kw_only=True)
class _Cut:
    """A transaction's deadline; `fired` tells a cut by us from a failure of the server."""

    seconds: float
    fired: bool = field(default=False)


class Database:
    """One database. Each process makes its own engine: a connection shared over a fork gives wrong answers."""

    def __init__(self, url: str, settings: DatabaseSettings) -> None:
        self._url = _parsed(url)
        self._settings = settings
        self._engine: Engine | None = None
        self._pid = 0
        self._lock = threading.Lock()

    @property
    def dialect(self) -> Dialect:
        return cast("Dialect", self._url.get_backend_name())

    @property
    def display_url(self) -> str:
        """The address without its password."""
        return redact(self._url.render_as_string(hide_password=True))

    @property
    def file(self) -> Path | None:
        """The SQLite file, or None on a server."""
        return Path(self._url.database or "") if self.dialect == "sqlite" else None

    @property
    def url(self) -> str:
        """The whole address with its password; for handing to a child's environment, never for showing."""
        return str(self._url.render_as_string(hide_password=False))

    @property
    def engine(self) -> Engine:
        """This process's engine."""
        with self._lock:
            if self._engine is None or self._pid != os.getpid():
                if self._engine is not None:
                    # The parent's sockets are not ours to close.
                    self._engine.dispose(close=False)
                self._engine, self._pid = self._create_engine(), os.getpid()
            return self._engine

    def dispose(self) -> None:
        """Close this process's pooled connections."""
        if self._engine is not None and self._pid == os.getpid():
            self._engine.dispose()
            self._engine = None

    @contextmanager
    def read(
        self, *, deadline_s: float | None = None, statement_timeout_s: float | None = None
    ) -> Iterator[Connection]:
        """A read-only transaction; a write in it is refused by the database.

        Raises DatabaseUnavailable, DatabaseBusy, SchemaMismatch.
        """
        with self._transaction(deadline_s, write=False) as connection:
            if self.dialect == "postgresql":
                connection.execute(_READ_ONLY)
                if statement_timeout_s is not None:
                    self._set_timeouts(connection, statement_timeout_s, self._settings.lock_timeout_s)
            yield connection

    @contextmanager
    def write(self, *, deadline_s: float | None = None) -> Iterator[Connection]:
        """A transaction that commits at the end of the block and rolls back on any error; errors as in `read`."""
        with self._transaction(deadline_s, write=True) as connection:
            yield connection

    @contextmanager
    def maintain(self, *, deadline_s: float | None = None) -> Iterator[Connection]:
        """A write transaction that gives way to the application (lock and statement time-outs) and is durable.

        A file may be removed once the block was left: the commit has reached the disk (rule R5).
        """
        with self._transaction(deadline_s, write=True) as connection:
            if self.dialect == "postgresql":
                self._set_timeouts(connection, self._settings.statement_timeout_s, self._settings.lock_timeout_s)
            yield connection

    @contextmanager
    def _transaction(self, deadline_s: float | None, *, write: bool) -> Iterator[Connection]:
        cut = _Cut(seconds=deadline_s or self._settings.deadline_s)
        try:
            # Options of this connection only: SQLite must take its write lock at BEGIN, not at the first write.
            connection = self.engine.connect().execution_options(gengfu_write=write)
        except DBAPIError as error:
            raise self._translated(error, cut, write=write) from error
        with connection, _deadline(connection.connection.dbapi_connection, cut):
            try:
                with connection.begin():
                    yield connection
            except DBAPIError as error:
                raise self._translated(error, cut, write=write) from error

    def _set_timeouts(self, connection: Connection, statement_s: float, lock_s: float) -> None:
        connection.execute(
            _LOCAL_SETTINGS, {"statement": f"{int(statement_s * 1000)}ms", "lock": f"{int(lock_s * 1000)}ms"}
        )

    def _create_engine(self) -> Engine:
        if self.dialect == "sqlite":
            return self._create_sqlite_engine()
        engine = create_engine(
            self._url,
            poolclass=QueuePool,
            pool_size=2,
            max_overflow=4,
            hide_parameters=True,
            # Whatever the server's default: behind an older snapshot a statement would not see what was committed while
            # it waited for a lock.
            isolation_level="READ COMMITTED",
            connect_args={
                "connect_timeout": self._settings.connect_timeout_s,
                "application_name": "gengfu",
                # Naive columns are then read as UTC, as the mapping says. Row-level security is an error instead of a
                # table that looks emptier than it is: a file of a row that we don't see would be taken for nobody's.
                "options": "-c timezone=UTC -c idle_in_transaction_session_timeout=60000 -c row_security=off",
                "keepalives_idle": 30,
                "keepalives_interval": 10,
                "keepalives_count": 3,
            },
        )
        event.listen(engine, "checkout", partial(_ping, engine))
        event.listen(engine, "connect", _prepare_postgresql)
        return engine

    def _create_sqlite_engine(self) -> Engine:
        file = self.file
        if file is not None and str(file) not in {"", ":memory:"}:
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise DatabaseUnavailable(
                    f"the folder {file.parent} can't be made: {error.strerror}; check GENGFU_HOME and DATABASE_URL"
                ) from error
        engine = create_engine(
            self._url, hide_parameters=True, connect_args={"timeout": 10.0, "check_same_thread": False}
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    def _translated(self, error: DBAPIError, cut: _Cut, *, write: bool = False) -> Exception:
        where = self.display_url
        if cut.fired:
            return DatabaseUnavailable(
                f"{where} did not answer within {cut.seconds:g} s and was cut off; is it reachable?"
            )
        reason = redact(" ".join(str(error.orig).split()))
        state = getattr(error.orig, "pgcode", None)
        if state in _BUSY_STATES or "database is locked" in reason:
            return DatabaseBusy(f"{where} is busy: {reason}")
        if advice := _advice_on_refusal(state, reason, write=write):
            return DatabaseRefused(f"{where}: {reason}; {advice}")
        if state in _SCHEMA_STATES or "no such table" in reason or "no such column" in reason:
            return SchemaMismatch(f"{where}: {reason}; `gengfu db check` tells what is missing")
        if error.connection_invalidated or _is_connection_failure(error, reason):
            return DatabaseUnavailable(f"{where} does not answer: {reason}; check DATABASE_URL and the server")
        return error


def _advice_on_refusal(state: str | None, reason: str, *, write: bool) -> str | None:
    if state in _REFUSED_STATES:
        return "GRANT the role what is missing, or name another in DATABASE_URL"
    # A block of ours that only reads and tries to write is no matter of the server.
    if write and (state == _READ_ONLY_STATE or "readonly database" in reason):
        return "nothing can be written: is it a standby, or its file or folder read only?"
    return None


def _is_connection_failure(error: DBAPIError, reason: str) -> bool:
    if isinstance(error.orig, sqlite3.Error):
        return any(words in reason for words in _SQLITE_FAILURES)
    # psycopg2 gives no SQLSTATE to what never reached the server; class 08 and 57P are connection and shutdown.
    state = getattr(error.orig, "pgcode", None)
    return type(error.orig).__name__ in {"OperationalError", "InterfaceError"} and (
        state is None or state == _DISK_FULL_STATE or state.startswith(("08", "57P"))
    )


@contextmanager
def _deadline(driver: Any, cut: _Cut) -> Iterator[None]:
    """Cut the connection off after `cut.seconds`: on a silent network psycopg2 never returns by itself (rule R11)."""

    def fire() -> None:
        cut.fired = True
        with suppress(Exception):  # the connection may just have been closed by its owner
            _interrupt(driver)

    with alarm(cut.seconds, fire):
        yield


def _ping(engine: Engine, driver: Any, record: Any, _fairy: Any) -> None:
    """Have the pool connect anew where a connection it kept is dead; its own `pool_pre_ping` waits without a limit."""
    if "used" not in record.info:  # just connected: the pool empties `info` with every new connection
        record.info["used"] = True
        return
    try:
        with _deadline(driver, _Cut(seconds=_PING_S)):
            engine.dialect.do_ping(driver)
    except driver.Error as error:
        # Whatever broke this one broke the others kept with it.
        raise InvalidatePoolError from error


def _interrupt(driver: Any) -> None:
    if isinstance(driver, sqlite3.Connection):
        driver.interrupt()
        return
    with closing(socket.socket(fileno=os.dup(driver.fileno()))) as wire:
        wire.shutdown(socket.SHUT_RDWR)


def _prepare_postgresql(driver: Any, _record: Any) -> None:
    """Let the server notice that we are gone while it still works for us; not every server can."""
    if driver.server_version < _CHECKS_CLIENT_SINCE:
        return
    with closing(driver.cursor()) as cursor:
        try:
            cursor.execute("SET client_connection_check_interval = '10s'")
        except driver.DataError:
            driver.rollback()
        else:
            driver.commit()


def _prepare_sqlite(driver: Any, _record: Any) -> None:
    # The driver must not open transactions by itself; `_begin_sqlite` does.
    driver.isolation_level = None
    with closing(driver.cursor()) as cursor:
        # auto_vacuum only takes effect before the first page is written, so it comes before WAL.
        cursor.execute("PRAGMA auto_vacuum = INCREMENTAL")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get("gengfu_write", True)
    # query_only makes a read block truly read-only; it is set back because the pool hands the connection on.
    connection.exec_driver_sql(f"PRAGMA query_only = {'OFF' if write else 'ON'}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _parsed(url: str) -> Any:
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError) as error:  # ValueError: a port that is no number
        raise SettingsError(
            f"database.url {redact(url)!r} is no database address; use sqlite:///file.db or postgresql://user@host/name"
        ) from error
    if backend not in {"sqlite", "postgresql"}:
        raise SettingsError(f"database.url names {backend!r}; only sqlite and postgresql are known")
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg2")
    return parsed
