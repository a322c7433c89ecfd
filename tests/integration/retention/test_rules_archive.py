"""Deleted rows that are kept for a while; every test runs on both databases."""

import json
import random
from datetime import timedelta
from typing import Any

import pytest
from retention_kills import Stopped, stop
from retention_shop import WITH_CHILDREN, Shop
from sqlalchemy import select, text

from app.core.own_tables import archived_row


def archived(shop: Shop) -> list[Any]:
    with shop.lab.database.read() as connection:
        return list(connection.execute(select(archived_row).order_by(archived_row.c.id)).all())


def test_deleted_rows_are_archived_with_their_children_in_the_same_transaction(shop: Shop) -> None:
    shop.rules(old={"keep_deleted": "24h", **WITH_CHILDREN})
    done = shop.now - timedelta(days=40) + timedelta(microseconds=123456)
    shop.job(1, days=None, done_at=done, label='诉讼 "\\\n', pinned=True)
    shop.job(2, pinned=None)
    shop.child("parts", 1, file="图.jpg")
    with pytest.raises(Stopped):
        shop.lab.run("killed", checkpoint=lambda point: stop() if point == "files written down" else None)
    assert (archived(shop), shop.jobs()) == ([], {1, 2})
    assert shop.told("r1")["rows"] == 2
    parents, children = sorted(archived(shop), key=lambda row: row.is_child)
    assert (parents.table_name, parents.row_count, parents.rule, parents.run_id) == ("jobs", 2, "old", "r1")
    assert (children.table_name, children.row_count) == ("parts", 1)
    assert parents.purge_at - parents.archived_at == timedelta(hours=24)
    first, second = sorted(json.loads(parents.rows), key=lambda row: row["no"])
    assert first["label"] == '诉讼 "\\\n'
    assert "123456" in first["done_at"]
    assert second["label"] is None
    assert set(first) == {column.name for column in shop.metadata.tables["jobs"].columns}
    assert json.loads(children.rows) == [{"id": 1, "job_no": 1, "file": "图.jpg"}]


def test_blobs_numbers_and_odd_texts_are_archived_to_the_byte_on_sqlite(shop: Shop) -> None:
    if shop.lab.database.dialect != "sqlite":
        pytest.skip("PostgreSQL writes its own JSON")
    shop.rules(old={"keep_deleted": "24h"})
    shop.job(1)
    with shop.lab.database.write() as connection:
        connection.execute(
            text("UPDATE jobs SET label = CAST(x'ff61' AS TEXT), file = x'00ff', pinned = 9e999, touched_at = 0.1")
        )
    shop.told()
    (row,) = json.loads(archived(shop)[0].rows)
    assert (row["label"], row["file"], row["pinned"]) == ({"$text": "ff61"}, {"$blob": "00ff"}, {"$real": "inf"})
    assert row["touched_at"] in {0.1, "0.1"}


def test_archived_rows_are_purged_when_their_time_is_over_and_not_before(shop: Shop) -> None:
    shop.rules(old={"keep_deleted": "24h"})
    shop.job(1)
    shop.told()
    shop.lab.clock.advance(timedelta(hours=24) - timedelta(seconds=1))
    assert shop.lab.document("r2")["archived_rows_purged"] == 0
    assert len(archived(shop)) == 1
    shop.lab.clock.advance(timedelta(seconds=1))
    assert shop.lab.document("r3")["archived_rows_purged"] == 1
    assert archived(shop) == []


def test_without_keep_deleted_nothing_is_archived(shop: Shop) -> None:
    shop.rules(old=WITH_CHILDREN)
    shop.child("parts", shop.job(1))
    assert shop.told()["rows"] == 1
    assert archived(shop) == []


def test_what_is_kept_of_a_batch_stays_small_whatever_its_rows_hold(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    large, few = 40_000, 25
    monkeypatch.setattr("app.retention.archive._AT_ONCE_BYTES", few * large)
    noise = random.Random(20261122)
    shop.rules(large={"keep_deleted": "24h"} | WITH_CHILDREN)
    for no in range(60):
        shop.job(no, label=noise.randbytes(large // 4).hex())
        shop.child("parts", no, file=noise.randbytes(large // 4).hex())
    assert shop.told()["rows"] == 60
    kept = archived(shop)
    assert sum(row.row_count for row in kept if not row.is_child) == 60
    assert max(row.row_count for row in kept) <= few
    # Nor one by one, which would cost a commit each.
    assert min(row.row_count for row in kept if not row.is_child) > few // 5


def test_rows_of_which_nothing_is_kept_go_in_batches_as_large_as_ever(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.retention.archive._AT_ONCE_BYTES", 1)
    shop.rules(large={})
    for no in range(30):
        shop.job(no, label="大" * 5000)
    told = shop.told()
    assert (told["rows"], told["document"]["batches"]) == (30, 1)
