"""What `gengfu retention plan` tells, and that it waits for nobody and hinders nobody."""

import os
import random
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, text

from app.core.database import Database
from app.core.safe_files import Root
from app.core.settings_reader import read
from app.demo import schema
from app.retention import plan
from app.retention.guards import judge
from app.retention.plan import plan_rules
from app.retention.rule_plan import Figure, RulePlan
from app.retention.rule_settings import HoldSettings, RowRuleSettings
from app.retention.rules import row_rules


def planned(lab: Any, name: str = "completed", **parts: Any) -> RulePlan:
    (found,) = plan_rules(lab.place(**parts), [name])
    return found


def test_a_small_table_is_told_exactly(lab: Any) -> None:
    for number in range(3):
        task = lab.task(image_path=lab.file("uploads", f"{number}.jpg", b"x" * 5000), days=40 + number)
        lab.receipt(task, qr_code_path=lab.file("receipts", f"码{number}.png"))
    lab.receipt(task)
    lab.task(image_path="不在.jpg", days=50)
    lab.task(days=10)
    lab.task(days=None)
    found = planned(lab)
    assert (found.state, found.reasons, found.table_rows) == ("go", (), 6)
    assert (found.rows, found.children, found.files) == (Figure.exactly(4), Figure.exactly(4), Figure.exactly(6))
    assert found.bytes is not None
    assert found.bytes.exact
    assert found.bytes.value == sum(
        path.stat().st_blocks * 512 for root in ("uploads", "receipts") for path in lab.folders[root].glob("*.*g")
    )
    assert found.oldest == (lab.now - timedelta(days=50)).isoformat()
    assert found.newest == (lab.now - timedelta(days=40)).isoformat()
    assert (found.stays, found.stays_exact) == ({"no_finish_time": 1}, True)


def test_what_is_planned_is_what_a_run_deletes(lab: Any) -> None:
    for number in range(7):
        lab.receipt(lab.task(image_path=lab.file("uploads", f"{number}.jpg"), days=25 + 2 * number))
    plans = plan_rules(lab.place())
    told = lab.document()
    assert sum(found.rows.value for found in plans if found.rows) == told["tasks_cleaned"] == 4
    assert sum(found.children.value for found in plans if found.children) == told["receipts_cleaned"]
    assert sum(found.files.value for found in plans if found.files) == told["files_cleaned"]


def test_the_index_that_serves_is_named(lab: Any) -> None:
    lab.task()
    if lab.database.dialect == "postgresql":
        with lab.database.write() as connection:
            connection.execute(text("SET LOCAL enable_seqscan = off"))
            rows = [
                {"id": 100 + n, "task_id": str(n), "task_type": "t", "status": "completed", "retry_count": 0}
                | {"created_at": lab.now, "updated_at": lab.now, "completed_at": lab.now}
                for n in range(5000)
            ]
            connection.execute(insert(schema.tasks), rows)
            connection.execute(text("ANALYZE tasks"))
    assert planned(lab).indexes == ("ix_tasks_status_completed_at_id",)


def test_without_an_index_none_is_named(lab: Any) -> None:
    lab.task()
    with lab.database.write() as connection:
        connection.execute(text("DROP INDEX ix_tasks_status_completed_at_id"))
    found = planned(lab)
    assert found.indexes == ()
    assert any("has no index" in line for line in found.warnings)


def test_held_rows_are_among_those_that_stay(lab: Any) -> None:
    hold = [HoldSettings(column="error_message")]
    own = read(RowRuleSettings, {"table": "tasks", "finished": "completed_at", "keep": "30d", "hold": hold})
    lab.with_settings(rules={"own": own}, default_rules=False)
    lab.task()
    lab.task(error_message="审计")
    found = planned(lab, "own")
    assert (found.rows, found.stays) == (Figure.exactly(1), {"hold": 1})


def test_a_held_root_is_told_and_its_files_are_not_guessed(lab: Any) -> None:
    lab.task(image_path=lab.file("uploads", "a.jpg"))
    (lab.folders["uploads"] / ".gengfu-root").unlink()
    found = planned(lab)
    assert found.state == "held"
    assert "uploads" in found.reasons[0]
    assert (found.rows, found.files) == (Figure.exactly(1), None)


def test_a_rule_that_can_not_run_is_told_with_its_reason(lab: Any) -> None:
    lab.with_settings(rules={"own": read(RowRuleSettings, {"table": "没有", "finished": "done", "keep": "30d"})})
    found = planned(lab, "own")
    assert (found.state, found.rows) == ("refused", None)
    assert "没有" in found.reasons[0]


def test_a_large_rule_is_measured_in_spots(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "_MEASURED", 100)
    monkeypatch.setattr(plan, "_SPOTS", 10)
    monkeypatch.setattr(plan, "_ROWS_OF_SPOT", 10)
    keys = [lab.task(image_path=f"{n % 2}.jpg", days=31 + n / 100) for n in range(400)]
    for key in random.Random(4).sample(keys, 100):
        lab.receipt(key)
    lab.file("uploads", "1.jpg", b"x" * 3000)
    found = planned(lab)
    assert found.rows == Figure.exactly(400)
    assert found.children is not None
    assert not found.children.exact
    assert found.children.low <= 100 <= (found.children.high or 0)
    assert found.files is not None
    assert found.files.low <= found.files.value <= (found.files.high or 0)


def test_a_plan_waits_for_nobody_and_hinders_nobody(lab: Any) -> None:
    if lab.database.dialect != "postgresql":
        pytest.skip("SQLite's readers and writers do not meet in WAL mode")
    task = lab.task()
    with lab.database.write() as other:
        other.execute(text("UPDATE tasks SET retry_count = 1"))
        other.execute(text("LOCK TABLE tasks IN EXCLUSIVE MODE"))
        assert planned(lab).rows == Figure.exactly(1)
    held: list[int] = []

    def look(found: Any) -> None:
        with lab.database.write() as connection:
            connection.execute(text("SET LOCAL lock_timeout = '1s'"))
            connection.execute(text("UPDATE tasks SET retry_count = 2"))
            connection.execute(text("LOCK TABLE tasks IN EXCLUSIVE MODE"))
        held.append(found)

    # In the middle of a plan, from another session.
    original = plan._Look.figures
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan._Look, "figures", lambda self: (look(task), original(self))[1])
        assert planned(lab).rows == Figure.exactly(1)
    assert held == [task]


@pytest.mark.parametrize("look", ["plan", "dry run", "judge"])
def test_looking_has_no_way_to_write_or_remove(lab: Any, monkeypatch: pytest.MonkeyPatch, look: str) -> None:
    lab.receipt(lab.task(image_path=lab.file("uploads", "a.jpg")))
    lab.aged("temp", "old.tmp", 3)
    lab.aged("logs", "old.log", 60)
    files = lab.on_disk()

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError(look)

    # What writes and what removes is taken away altogether; reads are read-only transactions of the database.
    for method in ("write", "maintain"):
        monkeypatch.setattr(Database, method, never)
    monkeypatch.setattr(Root, "__init__", never)
    for name in ("unlink", "remove", "rename", "replace", "rmdir", "mkdir"):
        monkeypatch.setattr(os, name, never)
    if look == "plan":
        assert planned(lab).rows == Figure.exactly(1)
    elif look == "judge":
        place = lab.place()
        rule = row_rules(place.source, place.settings, place.folders)[0]
        assert judge(place, rule, lab.now, "r1").state == "go"
    else:
        assert lab.document(dry_run=True)["tasks_cleaned"] == 1
    assert lab.on_disk() == files
    assert (len(lab.tasks()), len(lab.receipts()), lab.outbox()) == (1, 1, [])


_LIMIT = "one run deletes no more than max_rows = 2; the next one goes on from there"


@pytest.mark.parametrize(("most", "told"), [(2, (_LIMIT,)), (3, ()), (None, ())])
def test_a_limit_that_one_run_would_meet_is_told(lab: Any, most: int | None, told: tuple[str, ...]) -> None:
    rule = {"table": "tasks", "finished": "completed_at", "keep": "30d"} | ({"max_rows": most} if most else {})
    lab.with_settings(rules={"旧": read(RowRuleSettings, rule)}, default_rules=False)
    for _ in range(3):
        lab.task()
    found = planned(lab, "旧")
    assert found.rows == Figure.exactly(3)
    assert tuple(warning for warning in found.warnings if "max_rows" in warning) == told
