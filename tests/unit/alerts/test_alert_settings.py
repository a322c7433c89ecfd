import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from app.alerts.channels import known_channels
from app.alerts.rule import DEFAULT_RULES
from app.alerts.settings import AlertSettings

SHIPPED = Path(__file__).parents[3] / "config" / "alert_rules.toml"


def loaded(**values: Any) -> AlertSettings:
    return AlertSettings.model_validate(values)


def refusal(**values: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        loaded(**values)
    return str(caught.value)


def test_the_shipped_file_states_exactly_the_defaults() -> None:
    rules = tomllib.loads(SHIPPED.read_text(encoding="utf-8"))["alerts"]["rules"]
    assert loaded(rules=rules) == AlertSettings()
    assert set(rules) == set(DEFAULT_RULES)
    fields = set(type(AlertSettings().rules["no_tasks_processed"]).model_fields)
    assert all(set(row) == fields for row in rules.values()), "every key of every rule stands in the file"


def test_the_seeds_thresholds_are_the_defaults() -> None:
    rules = AlertSettings().rules
    assert rules["task_failure_rate_high"].levels == {"warning": 20, "critical": 50}
    assert rules["error_concentration"].levels == {"warning": 50}
    assert rules["disk_usage_high"].levels == {"warning": 80, "critical": 90}
    assert rules["no_tasks_processed"].levels == {"warning": 0}


def test_a_key_left_out_keeps_its_default_and_the_other_rules_stay() -> None:
    rules = loaded(rules={"disk_usage_high": {"levels": {"warning": 60}}}).rules
    assert rules["disk_usage_high"].levels == {"warning": 60, "critical": 90}
    assert rules["disk_usage_high"].alertname == "DiskUsageHigh"
    assert set(rules) == set(DEFAULT_RULES)


def test_a_rule_of_ones_own_is_taken() -> None:
    row = {
        "alertname": "FewTasks",
        "type": "few_tasks",
        "source": "daily.total_tasks",
        "op": "<",
        "levels": {"warning": 100, "critical": 10},
        "message": "只有 {value} 个任务",
    }
    assert loaded(rules={"few_tasks": row}).rules["few_tasks"].op == "<"


def test_every_file_of_the_folder_is_a_channel() -> None:
    assert known_channels() == ["console", "log_files"]


def test_channels_named_twice_are_used_once() -> None:
    assert loaded(channels=["console", "console"]).channels == ("console",)


def test_an_unknown_channel_is_refused_with_the_nearest_known() -> None:
    assert 'did you mean "log_files"?' in refusal(channels=["log_file"])


def test_an_unknown_rule_is_refused_with_the_nearest_known() -> None:
    assert 'did you mean "disk_usage_high"?' in refusal(rules={"disk_usage_hihg": {"enabled": False}})


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"source": "daily.failure_rat"}, 'did you mean "daily.failure_rate"?'),
        ({"levels": {"warn": 1}}, 'did you mean "warning"?'),
        ({"levels": 3}, "levels"),
        ({"levels": {"warning": 60}}, "the more severe must be reached later"),
        ({"levels": {"warning": 60, "critical": 50}}, "the more severe must be reached later"),
        ({"levels": {"warning": float("nan")}}, "no usable threshold"),
        ({"op": "<", "levels": {"warning": 1, "critical": 2}}, "the more severe must be reached later"),
        ({"op": "!="}, "op"),
        ({"min_samples": -1}, "min_samples"),
        ({"message": "{valu}"}, "message names {valu}"),
        ({"message": "{value.__class__}"}, "message names {value.__class__}"),
        ({"message": "{value:>99999999}"}, "message names {value}"),
        ({"message": "{value"}, "write a literal brace twice"),
        ({"message": "{}"}, "message names {}"),
        ({"message": "{mount}"}, "message names {mount}"),
        ({"minsamples": 3}, "minsamples"),
    ],
)
def test_a_wrong_rule_is_refused_by_name(row: dict[str, Any], why: str) -> None:
    assert why in refusal(rules={"task_failure_rate_high": row})


@pytest.mark.parametrize("rules", ["text", [1], {"x": 3}, {"disk_usage_high": 3}, {"x": None}])
def test_rules_of_another_shape_are_refused(rules: Any) -> None:
    assert "rules" in refusal(rules=rules)
