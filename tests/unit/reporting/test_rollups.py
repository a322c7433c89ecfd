"""Stored figures of whole days, on each database."""

import threading
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import update

from app.core.clock import ManualClock
from app.core.database import Database
from app.core.own_tables import daily_rollup
from app.reporting.rollups import Rollups

DAY = date(2026, 3, 9)


def rollups(database: Database, clock: ManualClock) -> Rollups:
    return Rollups(database=database, zone=ZoneInfo("Asia/Shanghai"), clock=clock)


def figures(total: int, **more: Any) -> dict[str, Any]:
    return {"total_tasks": total, "error_categories": {"物流查询错误": 1}, "average_processing_time": 0.1 + 0.2} | more


def test_figures_come_back_as_they_were_stored(database: Database, clock: ManualClock) -> None:
    store = rollups(database, clock)
    store.store(DAY, figures(5))
    assert store.load(DAY, DAY) == {DAY: figures(5)}
    assert store.load(date(2026, 3, 10), date(2026, 3, 11)) == {}


def test_only_changed_figures_raise_the_revision(database: Database, clock: ManualClock) -> None:
    store = rollups(database, clock)
    changes = [figures(5), figures(5), figures(6), figures(6, late=True), figures(6, late=True)]
    assert [store.store(DAY, one).revision for one in changes] == [1, 1, 2, 3, 3]


def test_fewer_rows_than_stored_keep_the_stored_figures(database: Database, clock: ManualClock) -> None:
    store = rollups(database, clock)
    store.store(DAY, figures(5))
    kept = store.store(DAY, figures(2))
    assert (kept.revision, kept.rows_removed) == (1, 3)
    assert store.load(DAY, DAY)[DAY]["total_tasks"] == 5


def test_figures_of_another_version_are_not_read_and_are_replaced(database: Database, clock: ManualClock) -> None:
    store = rollups(database, clock)
    store.store(DAY, figures(5))
    with database.write() as connection:
        connection.execute(update(daily_rollup).values(schema_version=0))
    assert store.load(DAY, DAY) == {}
    assert store.store(DAY, figures(5)).revision == 2
    assert store.load(DAY, DAY) == {DAY: figures(5)}


def test_two_writers_of_one_day_agree_on_one_revision(database: Database, clock: ManualClock) -> None:
    together = threading.Barrier(4)
    revisions: list[int] = []

    def write() -> None:
        together.wait(timeout=30)
        revisions.append(rollups(database, clock).store(DAY, figures(5)).revision)

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(timeout=30)
    assert revisions == [1, 1, 1, 1]
