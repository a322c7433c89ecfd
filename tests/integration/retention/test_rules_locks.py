"""Rows and tables that somebody else works with; every test runs on both databases."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from retention_shop import WITH_CHILDREN, Shop
from sqlalchemy import create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError

from app.core.errors import DatabaseBusy
from app.retention.batch import RowsStayed
from app.retention.batches_postgresql import PostgresBatches
from app.retention.batches_sqlite import SqliteBatches
from app.retention.expiry import passes
from app.retention.lock import single_flight
from app.retention.rules import row_rules

KIND = {"postgresql": PostgresBatches, "sqlite": SqliteBatches}


@pytest.mark.parametrize(
    ("failures", "state", "sizes"), [(2, "done", [400, 200, 100]), (3, "contended", [400, 200, 100])]
)
def test_a_busy_table_is_asked_for_less_and_after_three_times_left_alone(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, failures: int, state: str, sizes: list[int]
) -> None:
    kind: Any = KIND[shop.lab.database.dialect]
    real, asked = kind.lock, []

    def lock(self: Any, connection: Any, cursor: Any, size: int) -> Any:
        asked.append(size)
        if len(asked) <= failures:
            raise DatabaseBusy("别人在用")
        return real(self, connection, cursor, size)

    monkeypatch.setattr(kind, "lock", lock)
    shop.lab.with_settings(batch_size=400)
    shop.rules(old={}, other={"statuses": ["x"]})
    shop.job(1)
    shop.job(2, state="x")
    document = shop.lab.document()
    assert asked[:3] == sizes
    assert [rule["state"] for rule in document["rules"]] == [state, "done"]
    assert (1 in shop.jobs()) is (state == "contended")
    assert document["errors"] == ([] if state == "done" else ["rule old: 别人在用"])


def test_a_table_locked_by_somebody_else_makes_the_rule_contended(shop: Shop) -> None:
    if shop.lab.database.dialect == "sqlite":
        pytest.skip("SQLite locks the whole file, our own tables with it")
    shop.rules(old={})
    shop.job(1)
    with _other(shop) as other:
        other.execute(text("LOCK TABLE jobs IN EXCLUSIVE MODE"))
        told = shop.told()
    assert (told["state"], told["rows"]) == ("contended", 0)
    assert "lock timeout" in told["reasons"][0]
    assert shop.told("r2")["rows"] == 1


@contextmanager
def _other(shop: Shop) -> Iterator[Any]:
    engine = create_engine(make_url(shop.lab.database.url))
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


@pytest.mark.parametrize(
    "change", [{"state": "进行中"}, {"done_at": None}, {"label": "诉讼"}, {"done_at": "young"}, {"state": None}]
)
def test_a_row_that_changed_between_select_and_delete_stays(shop: Shop, change: dict[str, Any]) -> None:
    """The lock prevents it; the condition in the DELETE would notice it all the same, and undo the batch."""
    shop.rules(old={"hold": [{"column": "label"}], **WITH_CHILDREN})
    part = shop.child("parts", shop.job(1))
    place, database = shop.lab.place(), shop.lab.database
    (rule,) = row_rules(place.source, place.settings, place.folders)
    batches = KIND[database.dialect](passes(rule, shop.now - rule.keep)[0], None)
    with database.maintain() as connection:
        doomed = batches.lock(connection, None, 10)
    assert doomed is not None
    assert doomed.rows == 1
    shop.change(1, **{k: shop.now - timedelta(days=1) if v == "young" else v for k, v in change.items()})
    with pytest.raises(RowsStayed), database.maintain() as connection:
        batches.delete(connection, doomed, lambda _: None)
    assert (shop.jobs(), shop.ids("parts")) == ({1}, {part})


def test_nobody_changes_a_row_once_it_is_locked(shop: Shop) -> None:
    shop.rules(old=WITH_CHILDREN)
    shop.job(1)
    refused: list[str] = []

    def change(point: str) -> None:
        if point == "rows locked":
            with _other(shop) as other, pytest.raises(DBAPIError) as caught:
                quick = (
                    "PRAGMA busy_timeout = 0" if shop.lab.database.dialect == "sqlite" else "SET lock_timeout = '50ms'"
                )
                other.execute(text(quick))
                other.execute(text("UPDATE jobs SET state = 'again'"))
            refused.append(str(caught.value.orig))

    assert shop.told(checkpoint=change)["rows"] == 1
    assert len(refused) == 1


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_a_batch_sees_what_was_committed_meanwhile_whatever_the_server_prefers(shop: Shop, level: str) -> None:
    """Else a child that came while the batch waited for its row would be left behind."""
    if shop.lab.database.dialect == "sqlite":
        pytest.skip("SQLite has one writer")
    database = shop.lab.database
    _always(shop, "default_transaction_isolation", level)
    shop.rules(old={})
    shop.job(1)
    with database.maintain() as connection:
        assert connection.execute(text("SELECT count(*) FROM jobs")).scalar_one() == 1
        shop.job(2)
        assert connection.execute(text("SELECT count(*) FROM jobs")).scalar_one() == 2


def test_the_session_that_holds_the_lock_outlives_the_servers_patience_with_idle_ones(shop: Shop) -> None:
    if shop.lab.database.dialect == "sqlite":
        pytest.skip("SQLite has no sessions")
    database = shop.lab.database
    _always(shop, "idle_session_timeout", "20ms")
    with single_flight(shop.lab.place(), "r1") as flight, _other(shop) as idle:
        ours = idle.execute(text("SELECT pg_backend_pid()")).scalar_one()
        idle.rollback()
        there = text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid")
        while _scalar(database, there.bindparams(pid=ours)):
            pass  # it is idle no longer than the one that holds the lock
        idle.invalidate()
        with database.read() as connection:
            flight.check(connection)


def test_times_without_a_zone_are_utc_behind_a_proxy_that_drops_our_options(shop: Shop) -> None:
    if shop.lab.database.dialect == "sqlite":
        pytest.skip("SQLite keeps text")
    engine = shop.lab.database.engine
    shop.rules(old={})
    with shop.lab.database.write() as connection:
        connection.execute(text("ALTER TABLE jobs ALTER done_at TYPE timestamp USING done_at AT TIME ZONE 'UTC'"))
        # Four hours too young; read as the time of Shanghai it would be four hours too old.
        connection.execute(
            text("INSERT INTO jobs (no, state, done_at) VALUES (1, 'done', localtimestamp - interval '716 hours')")
        )

    def dropped(driver: Any, _record: Any) -> None:
        with driver.cursor() as cursor:
            cursor.execute("SET timezone = 'Asia/Shanghai'")
        driver.commit()

    event.listen(engine, "connect", dropped)
    engine.dispose()
    assert shop.told()["rows"] == 0
    assert shop.jobs() == {1}


@pytest.mark.parametrize(("seconds", "state"), [(61, "done"), (1, "failed")])
def test_a_batch_cut_off_for_its_slow_files_is_done_again_in_smaller_parts(
    shop: Shop, seconds: int, state: str
) -> None:
    if shop.lab.database.dialect == "sqlite":
        pytest.skip("nobody cuts off SQLite")
    shop.rules(old={})
    shop.job(1)
    cut: list[int] = []

    def cut_off(point: str) -> None:
        if point == "files written down" and not cut:
            shop.lab.clock.advance(timedelta(seconds=seconds))
            with _other(shop) as other:
                holder = text("SELECT pid FROM pg_locks WHERE relation = 'jobs'::regclass AND pid <> pg_backend_pid()")
                cut.extend(set(other.execute(holder).scalars()))
                other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": cut[0]})

    told = shop.told(checkpoint=cut_off)
    assert (told["state"], told["rows"], len(cut)) == (state, int(state == "done"), 1)


def _always(shop: Shop, setting: str, value: str) -> None:
    """Let every new session of this database begin with a setting."""
    database = shop.lab.database
    with database.write() as connection:
        name = make_url(database.url).database
        connection.execute(text(f"ALTER DATABASE {name} SET {setting} = '{value}'"))
    database.dispose()


def _scalar(database: Any, statement: Any) -> Any:
    with database.read() as connection:
        return connection.execute(statement).scalar_one()
