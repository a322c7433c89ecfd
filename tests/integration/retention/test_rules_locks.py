"""Rows and tables that somebody else works with; every test runs on both databases."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from retention_shop import WITH_CHILDREN, Shop
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from app.core.errors import DatabaseBusy
from app.retention.batch import RowsStayed
from app.retention.batches_postgresql import PostgresBatches
from app.retention.batches_sqlite import SqliteBatches
from app.retention.expiry import passes
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
