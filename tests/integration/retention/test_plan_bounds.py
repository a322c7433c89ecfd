"""A plan that looked at a few rows of many claims no more than they show."""

from typing import Any

import pytest

from app.core.settings_reader import read
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


def test_what_a_rule_has_none_of_is_none_exactly(many: Any) -> None:
    rule = {"table": "tasks", "finished": "completed_at", "keep": "30d"}
    many.with_settings(rules={"裸": read(RowRuleSettings, rule)})
    found = planned(many, "裸")
    assert (found.children, found.files, found.bytes) == (Figure.exactly(0),) * 3
