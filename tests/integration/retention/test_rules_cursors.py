"""How far a run of a rule gets, and where the next one goes on; every test runs on both databases."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec import structs
from retention_kills import Stopped, stop
from retention_shop import WITH_FILES, Shop
from sqlalchemy import select

from app.core.own_tables import service_state
from app.retention.cleanup import cleanup_expired


def cursors(shop: Shop) -> dict[str, list[Any]]:
    with shop.lab.database.read() as connection:
        stored = connection.execute(
            select(service_state.c.value).where(service_state.c.key == "retention:tally")
        ).scalar()
    found: dict[str, list[Any]] = (stored or {}).get("cursors", {})
    return found


def test_after_its_rows_a_rule_ends_and_the_next_run_goes_on_from_there(shop: Shop) -> None:
    shop.rules(old={"max_rows": 2})
    for no in range(5):
        shop.job(no, days=50 - no)
    first = shop.told("r1")
    assert (first["state"], first["rows"], first["kept"]) == ("budget", 2, {"not_reached": 3})
    assert "max_rows = 2" in first["reasons"][0]
    assert len(cursors(shop)) == 1
    behind = shop.job(9, days=90)  # the cursor has passed it
    assert shop.told("r2")["rows"] == 2
    assert shop.jobs() == {4, behind}
    third = shop.told("r3")
    assert (third["rows"], third["kept"], third["document"]["carried_over"]) == (1, {"locked": 1}, None)
    assert cursors(shop) == {}  # the pass came to its end, and the next one begins anew
    assert shop.told("r4")["rows"] == 1


def test_the_cursor_of_a_killed_run_is_gone_on_from(shop: Shop) -> None:
    shop.lab.with_settings(batch_size=2)
    shop.rules(old={})
    for no in range(5):
        shop.job(no, days=50 - no)
    with pytest.raises(Stopped):
        shop.lab.run("killed", checkpoint=lambda point: stop() if point == "batch committed" else None)
    assert len(cursors(shop)) == 1
    behind = shop.job(9, days=90)
    told = shop.told("r2")
    assert (told["rows"], told["document"]["carried_over"]["run_ids"]) == (3, ["killed"])
    assert shop.jobs() == {behind}
    assert cursors(shop) == {}


def test_a_cursor_of_a_rule_that_was_changed_is_forgotten(shop: Shop) -> None:
    shop.rules(old={"max_rows": 1})
    for no in range(3):
        shop.job(no, days=50 - no)
    shop.told("r1")
    behind = shop.job(9, days=90, touched_at=shop.now - timedelta(days=99))
    shop.rules(old={"finished": "touched_at"})
    # They would hold what is so unlike before.
    shop.lab.with_settings(guards=structs.replace(shop.lab.settings.guards, enabled=False))
    told = shop.told("r2")
    assert (told["rows"], told["reasons"]) == (1, [])
    assert behind not in shop.jobs()
    assert cursors(shop) == {}


def test_a_run_of_other_rules_keeps_the_cursor(shop: Shop) -> None:
    shop.rules(old={"max_rows": 1}, other={"statuses": ["x"]})
    for no in range(3):
        shop.job(no, days=50 - no)
    shop.told("r1")
    kept = cursors(shop)
    cleanup_expired(shop.lab.place(), run_id="r2", rules=["other"])
    assert cursors(shop) == kept != {}


def test_the_time_of_a_rule_ends_it_and_not_the_others(shop: Shop) -> None:
    shop.lab.with_settings(batch_size=1)
    shop.rules(slow={"max_seconds": 30, "order": 1}, other={"statuses": ["x"], "order": 2})
    for no in range(4):
        shop.job(no)
    shop.job(9, state="x")

    def pass_time(point: str) -> None:
        if point == "batch committed":
            shop.lab.clock.advance(timedelta(seconds=20))

    document = shop.lab.document(checkpoint=pass_time)
    assert [(rule["state"], rule["rows"]) for rule in document["rules"]] == [("budget", 2), ("done", 1)]
    assert document["state"] == "budget"


def test_the_budget_of_a_run_takes_the_place_of_the_settings(shop: Shop) -> None:
    shop.lab.with_settings(batch_size=1)
    shop.rules(old={}, other={"statuses": ["x"]})
    for no in range(4):
        shop.job(no)

    def pass_time(point: str) -> None:
        if point == "batch committed":
            shop.lab.clock.advance(timedelta(seconds=20))

    budget = timedelta(seconds=40)
    document = cleanup_expired(shop.lab.place(checkpoint=pass_time), run_id="r1", budget=budget).document
    assert [(rule["state"], rule["rows"]) for rule in document["rules"]] == [("budget", 2), ("budget", 0)]


@pytest.mark.parametrize("most", [1, 3, 4, 5, 6, 7, 99])
def test_a_dry_run_counts_no_more_than_max_rows(shop: Shop, most: int) -> None:
    # Two words, rows with and without a finish time, two at one instant, and an earlier rule that takes one of them.
    first = {"statuses": ["完成"], "order": 1, "keep": "60d"}
    limited = {"statuses": ["done", "完成"], "fallback": "touched_at", "max_rows": most, "order": 2} | WITH_FILES
    shop.rules(early=first, limited=limited)
    for no in range(4):
        shop.job(no, days=50 - no // 2, file=shop.lab.file("uploads", f"图/{no}.jpg"))
        shop.child("parts", no)
    shop.job(4, days=70, state="完成")
    shop.job(5, days=45, state="完成", file=shop.lab.file("uploads", "图/5.jpg"))
    shop.job(6, days=None, touched_at=shop.now - timedelta(days=44), file=shop.lab.file("uploads", "图/6.jpg"))
    dry, real = shop.lab.document("dry", dry_run=True), shop.lab.document("real")
    assert [rule["rows"] for rule in dry["rules"]] == [1, min(most, 6)]
    for told in ("rows", "children"):
        assert [rule[told] for rule in dry["rules"]] == [rule[told] for rule in real["rules"]]
    assert dry["files_cleaned"] == real["files_cleaned"] == min(most, 6)
