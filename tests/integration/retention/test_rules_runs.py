"""How runs of rules end and what they tell; every test runs on both databases."""

from datetime import timedelta

from retention_shop import WITH_CHILDREN, Shop
from sqlalchemy import select

from app.core.own_tables import rule_run


def test_halted_between_batches_the_run_ends_and_the_next_goes_on(shop: Shop) -> None:
    lab = shop.lab
    lab.with_settings(batch_size=2)
    shop.rules(old={"files": {"file": "uploads"}}, other={"statuses": ["x"], "order": 200})
    for no in range(5):
        shop.job(no, file=lab.file("uploads", f"{no}.jpg"))
    lab.aged("temp", "旧.tmp", days=3)
    why: list[str] = []
    document = lab.document(
        "r1",
        halted=lambda: why[0] if why else None,
        checkpoint=lambda point: why.append("暂停") if point == "batch committed" else None,
    )
    assert [(rule["state"], rule["rows"]) for rule in document["rules"]] == [("partial", 2), ("partial", 0)]
    assert (document["state"], document["files_cleaned"], document["pending_files"]) == ("partial", 0, 2)
    assert len(document["errors"]) == 2
    second = lab.document("r2")
    assert (second["state"], second["rules"][0]["rows"], second["files_cleaned"]) == ("done", 3, 6)


def test_halted_from_the_start_nothing_is_judged_or_used_up(shop: Shop) -> None:
    shop.rules(old={})
    shop.job(1)
    told = shop.told(halted=lambda: "暂停")
    assert (told["state"], told["reasons"], told["rows"]) == ("partial", ["暂停"], 0)
    with shop.lab.database.read() as connection:
        assert connection.execute(select(rule_run)).all() == []


def test_files_wait_for_the_grace_of_a_replicated_database(shop: Shop) -> None:
    lab = shop.lab
    lab.with_settings(file_grace=timedelta(hours=2))
    shop.rules(old={"files": {"file": "uploads"}})
    shop.job(1, file=lab.file("uploads", "a.jpg"))
    assert (shop.told()["rows"], lab.on_disk()) == (1, {("uploads", "a.jpg")})
    lab.clock.advance(timedelta(hours=1, minutes=59))
    assert lab.document("r2")["files_cleaned"] == 0
    lab.clock.advance(timedelta(minutes=1))
    assert lab.document("r3")["files_cleaned"] == 1


def test_the_history_tells_how_each_rule_ended(shop: Shop) -> None:
    shop.rules(old={"files": {"file": "uploads"}, **WITH_CHILDREN})
    shop.child("parts", shop.job(1, file=shop.lab.file("uploads", "a.jpg")))
    told = shop.told("r1")
    with shop.lab.database.read() as connection:
        row = connection.execute(select(rule_run)).one()
    assert (row.run_id, row.rule, row.state, row.rows, row.children) == ("r1", "old", "done", 1, 1)
    assert row.finished_at is not None
    assert (told["files"], told["bytes"]) == (row.files, row.bytes)
    assert row.files == 1


def test_space_says_whether_it_is_an_estimate(shop: Shop) -> None:
    shop.rules(old={})
    shop.job(1)
    space = shop.told()["document"]["space"]
    assert space["estimated"] is (shop.lab.database.dialect == "postgresql")
    assert space["reusable_bytes"] >= 0
    assert space["advice"] is None


def test_with_a_disk_nearly_full_files_go_before_rows(shop: Shop) -> None:
    lab = shop.lab
    shop.rules(old={"files": {"file": "uploads"}})
    shop.job(1, file=lab.file("uploads", "a.jpg"))
    lab.aged("temp", "旧.tmp", days=3)
    points: list[str] = []
    document = lab.document(critical=lambda _: True, checkpoint=points.append)
    assert document["order"] == "files_first"
    assert document["files_cleaned"] == 2
    first_temp = next(n for n, point in enumerate(points) if point.startswith("temp removed"))
    assert first_temp < points.index("batch committed")
    assert lab.document("r2")["order"] == "rows_first"
