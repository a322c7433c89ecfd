"""A plan that looked at a few rows of many claims no more than they show."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from app.core.settings_reader import read
from app.demo import schema
from app.retention import plan
from app.retention.plan import plan_rules
from app.retention.rule_plan import Figure, RulePlan
from app.retention.rule_settings import RowRuleSettings


@pytest.fixture
def many(lab: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Two hundred expired rows, of which a plan looks at some."""
    monkeypatch.setattr(plan, "_MEASURED", 20)
    monkeypatch.setattr(plan, "_SPOTS", 5)
    monkeypatch.setattr(plan, "_ROWS_OF_SPOT", 4)
    for number in range(200):
        lab.task(days=31 + number / 100, image_path="不在.jpg")
    return lab


def planned(lab: Any, name: str) -> RulePlan:
    (found,) = plan_rules(lab.place(), [name])
    return found


def test_what_was_not_seen_among_some_rows_may_be_among_the_others(many: Any) -> None:
    found = planned(many, "completed")
    assert found.rows == Figure.exactly(200)
    for figure in (found.children, found.files):
        assert figure is not None
        assert (figure.value, figure.low, figure.exact) == (0, 0, False)
        assert figure.high is not None
        assert figure.high >= 3 * 200 / 20
    assert found.bytes == Figure(value=0, low=0, high=None)


def test_of_rows_that_share_one_time_only_what_was_seen_is_claimed(many: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """All spots are the same rows: the files of these say nothing of the others."""
    monkeypatch.setattr(plan, "_SPOTS", 10)
    with many.database.write() as connection:
        connection.execute(update(schema.tasks).values(completed_at=many.now - timedelta(days=50)))
        connection.execute(update(schema.tasks).values(created_at=many.now - timedelta(days=51)))
    for key in range(1, 11):
        many.set_task(key, image_path=many.file("uploads", f"图/{key}.jpg"))
    found = planned(many, "completed")
    assert found.files is not None
    assert (found.files.value, found.files.low, found.files.high) == (4, 4, None)


def test_bounds_of_an_estimate_are_never_equal(many: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spots that are all alike leave room for rows that are not."""
    monkeypatch.setattr(plan, "_SPOTS", 10)
    for key in range(1, 201):
        many.set_task(key, image_path=many.file("uploads", f"图/{key}.jpg", b"x"))
    found = planned(many, "completed")
    for figure in (found.files, found.bytes):
        assert figure is not None
        assert figure.high is not None
        assert figure.low < figure.value < figure.high
    assert found.files is not None
    assert found.files.value == 200


def test_what_a_rule_has_none_of_is_none_exactly(many: Any) -> None:
    rule = {"table": "tasks", "finished": "completed_at", "keep": "30d"}
    many.with_settings(rules={"裸": read(RowRuleSettings, rule)})
    found = planned(many, "裸")
    assert (found.children, found.files, found.bytes) == (Figure.exactly(0),) * 3
