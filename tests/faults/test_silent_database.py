"""A network that falls silent, breaks or crawls in front of PostgreSQL: every call ends, with an error of ours."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
from network import Proxy, proxied, tcp, unix
from sqlalchemy import make_url, text

from app import settings
from app.context import Context
from app.core.clock import ManualClock
from app.core.database import Database, DatabaseSettings
from app.core.errors import DatabaseUnavailable
from app.core.migrate import upgrade
from app.core.source_tables import SourceTables
from app.execution.runner import JobRun, Outcome
from app.execution.slots import run_slot
from app.schedule.ledger import LEASE, Ledger
from app.schedule.runs import Origin, RunHistory

_DEADLINE_S = 2.0
_SLACK_S = 2.0
NOON = datetime(2026, 3, 10, 4, 0, tzinfo=UTC)
_JOB = "夜间任务"
_BROKEN = pytest.mark.parametrize(
    "break_it", [Proxy.silence, Proxy.reset, Proxy.hang_up], ids=["silent", "reset", "hung up"]
)


@pytest.fixture
def proxy(empty_postgres: str) -> Iterator[Proxy]:
    url = make_url(empty_postgres)
    folder = url.query.get("host", url.host or "127.0.0.1")
    port = url.port or 5432
    upstream = unix(str(Path(str(folder)) / f".s.PGSQL.{port}")) if str(folder).startswith("/") else tcp(port)
    with proxied(upstream) as made:
        yield made


@pytest.fixture
def database(empty_postgres: str, proxy: Proxy) -> Iterator[Database]:
    """A PostgreSQL database reached through the proxy."""
    url = make_url(empty_postgres).set(host="127.0.0.1", port=proxy.port)
    url = url.difference_update_query(["host"])
    limits = DatabaseSettings(connect_timeout_s=1, deadline_s=_DEADLINE_S)
    made = Database(url.render_as_string(hide_password=False), limits)
    upgrade(made)
    yield made
    made.dispose()


def _ask(database: Database, meanwhile: Callable[[], None] = lambda: None) -> int:
    with database.write() as connection:
        connection.execute(text("SELECT 1"))
        meanwhile()
        answer: int = connection.execute(text("SELECT 1")).scalar_one()
        return answer


@contextmanager
def _ends_in_time() -> Iterator[None]:
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailable):
        yield
    assert time.monotonic() - began <= _DEADLINE_S + _SLACK_S


@_BROKEN
def test_a_call_on_a_connection_kept_from_before_ends_and_the_next_one_works(
    database: Database, proxy: Proxy, break_it: Callable[[Proxy], None]
) -> None:
    assert _ask(database) == 1
    break_it(proxy)
    with _ends_in_time():
        _ask(database)
    proxy.resume()
    assert _ask(database) == 1


@_BROKEN
def test_a_call_that_must_connect_first_ends_and_the_next_one_works(
    database: Database, proxy: Proxy, break_it: Callable[[Proxy], None]
) -> None:
    database.dispose()
    break_it(proxy)
    with _ends_in_time():
        _ask(database)
    proxy.resume()
    assert _ask(database) == 1


@_BROKEN
def test_a_transaction_cut_in_its_middle_ends_and_the_next_one_works(
    database: Database, proxy: Proxy, break_it: Callable[[Proxy], None]
) -> None:
    with _ends_in_time():
        _ask(database, lambda: break_it(proxy))
    proxy.resume()
    assert _ask(database) == 1


def test_connections_that_a_router_forgot_cost_their_next_user_nothing(database: Database, proxy: Proxy) -> None:
    assert _ask(database, lambda: _same(_ask(database), 1)) == 1  # two connections are kept
    proxy.forget()
    assert _ask(database, lambda: _same(_ask(database), 1)) == 1


def test_a_slow_network_is_no_broken_one(database: Database, proxy: Proxy) -> None:
    proxy.delay_s = 0.1
    assert _ask(database) == 1


def test_a_network_too_slow_for_the_deadline_is_told_as_broken(database: Database, proxy: Proxy) -> None:
    with _ends_in_time():
        _ask(database, lambda: setattr(proxy, "delay_s", _DEADLINE_S + _SLACK_S + 1))


def test_a_slot_that_cannot_be_claimed_is_told_in_time_and_run_when_the_network_is_back(
    database: Database, proxy: Proxy
) -> None:
    scene = _scene(database)
    proxy.silence()
    with _ends_in_time():
        _run(scene)
    proxy.resume()
    assert _run(scene).state == "succeeded"


def test_a_run_whose_network_fell_silent_ends_and_its_slot_is_run_again(database: Database, proxy: Proxy) -> None:
    scene = _scene(database)
    clock = cast("ManualClock", scene.clock)
    assert _run(scene, proxy.silence).state == "succeeded"
    proxy.resume()
    ledger = Ledger(database)
    left = ledger.get(_JOB, NOON)
    assert left is not None
    assert left.state == "running"
    clock.advance(LEASE + timedelta(seconds=1))
    assert ledger.repair(clock.now()).offered == 1
    assert _run(scene).state == "succeeded"
    done = ledger.get(_JOB, NOON)
    assert done is not None
    assert (done.state, done.term) == ("succeeded", 2)


def _scene(database: Database) -> Context:
    clock = ManualClock(NOON)
    Ledger(database).plan([(_JOB, NOON)], NOON)
    return Context(
        settings=settings.load(),
        clock=clock,
        database=database,
        source=cast("SourceTables", None),
        history=RunHistory(database),
    )


def _run(context: Context, meanwhile: Callable[[], None] = lambda: None) -> JobRun:
    def work(_context: Context) -> Outcome:
        meanwhile()
        return Outcome(result={"success": True, "message": "完成"})

    origin = Origin(trigger="schedule", slot=NOON)
    return run_slot(context, _JOB, work, due_at=NOON, origin=origin, owner="worker")


def _same(found: int, wanted: int) -> None:
    assert found == wanted


pytestmark = pytest.mark.slow
