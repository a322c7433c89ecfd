import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.alerts.channels import known_channels
from app.alerts.rules.default_rules import DEFAULT_RULES
from app.alerts.rules.rule import Inhibitor, Rule, Threshold
from app.alerts.settings import AlertSettings
from app.core.errors import SettingsError
from app.core.settings_reader import plain, read
from app.settings import load

ALWAYS_SHOWN = {"enabled", "alertname", "type", "source", "op", "levels", "min_samples", "message"}
SHIPPED = Path(__file__).parents[3] / "config" / "alert_rules.toml"


def loaded(**values: Any) -> AlertSettings:
    return read(AlertSettings, values)


def refusal(**values: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        loaded(**values)
    return str(caught.value)


def raised(rule: str, rules: dict[str, Rule] | None = None) -> dict[str, float]:
    return {each.level: each.raise_at for each in reversed((rules or AlertSettings().rules)[rule].thresholds)}


def test_the_shipped_file_states_exactly_the_defaults() -> None:
    rules = tomllib.loads(SHIPPED.read_text(encoding="utf-8"))["alerts"]["rules"]
    assert loaded(rules=rules) == AlertSettings()
    assert set(rules) == set(DEFAULT_RULES)
    for name, row in rules.items():
        assert set(row) == ALWAYS_SHOWN | set(DEFAULT_RULES[name]), name


def test_the_seeds_thresholds_are_the_defaults() -> None:
    assert raised("task_failure_rate_high") == {"warning": 20, "critical": 50}
    assert raised("error_concentration") == {"warning": 50}
    assert raised("disk_usage_high") == {"warning": 80, "critical": 90}
    assert raised("no_tasks_processed") == {"warning": 0}


def test_a_key_left_out_keeps_its_default_and_the_other_rules_stay() -> None:
    rules = loaded(rules={"disk_usage_high": {"levels": {"warning": 60}}}).rules
    assert raised("disk_usage_high", rules) == {"warning": 60, "critical": 90}
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
    assert known_channels() == ["alertmanager", "apprise", "console", "heartbeat", "log_files", "webhook"]


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
        ({"levels": {"warning": float("nan")}}, "nan is no number"),
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
        ({"levels": {"warning": {"raise": 20, "clear": 21}}}, "levels.warning.clear 21 lies on the wrong side"),
        ({"levels": {"warning": {"clear": 1, "rise": 2}}}, 'did you mean "raise"?'),
        ({"op": "==", "levels": {"warning": {"raise": 1, "clear": 1}}}, "wrong side"),
        ({"for": "5 minutes"}, "is no time span"),
        ({"for": "5m", "n_of_m": "2 of 3"}, "stands beside for"),
        ({"n_of_m": "3/5"}, "write it like '3 of 5'"),
        ({"n_of_m": "6 of 5"}, "write it like '3 of 5'"),
        ({"n_of_m": "1 of 61"}, "m up to 60"),
        ({"keep_firing_fr": "5m"}, 'did you mean "keep_firing_for"?'),
        ({"clear_for": 0}, "clear_for"),
        ({"no_data": "okay"}, "no_data"),
        ({"labels": {"alertname": "x"}}, "every alert has by itself"),
        ({"labels": {"a b": "x"}}, "is no name"),
        ({"labels": {"a": ""}}, "1 to 256 are taken"),
        ({"source": "disk.inodes_percent", "message": "m", "labels": {"mount": "x"}}, "choose another name"),
        ({"annotations": {"sumary": "x"}}, 'did you mean "summary"?'),
        ({"annotations": {"summary": "{mount}"}}, "annotations.summary names {mount}"),
        ({"group_by": ["alertnam"]}, 'did you mean "alertname"?'),
        ({"repeat": {"critical": "1s"}}, "repeat.critical is below a minute"),
        ({"repeat": {"high": "1h"}}, "repeat.high"),
        ({"inhibited_by": ["disk_usage_hih"]}, 'did you mean "disk_usage_high"?'),
        ({"inhibited_by": ["disk_usage_high crit"]}, "none of critical, warning, error"),
        ({"inhibited_by": ["task_failure_rate_high"]}, "is no other rule"),
        ({"mute_windows": [{"from": "22:00", "to": "06:00"}]}, "timezone"),
        ({"mute_windows": [{"from": "22", "to": "6", "timezone": "Asia/Shanghai"}]}, "is no time of day"),
        ({"mute_windows": [{"from": "22:00", "to": "06:00", "timezone": "Asia/Peking"}]}, "is unknown"),
        ({"mute_windows": [{"from": "1:00", "to": "2:00", "timezone": "UTC", "day": []}]}, 'did you mean "days"?'),
    ],
)
def test_a_wrong_rule_is_refused_by_name(row: dict[str, Any], why: str) -> None:
    assert why in refusal(rules={"task_failure_rate_high": row})


@pytest.mark.parametrize("rule_id", ["", "a b", "x" * 101, "规则"])
def test_an_id_is_short_and_plain(rule_id: str) -> None:
    row = {"alertname": "A", "type": "a", "source": "disk.errors", "levels": {"error": 0}, "message": "m"}
    assert "is no id of a rule" in refusal(rules={rule_id: row})


def test_a_part_of_a_level_set_anew_leaves_its_other_part() -> None:
    own = loaded(rules={"disk_usage_high": {"levels": {"warning": {"clear": 70}, "critical": 95}}}).rules
    assert own["disk_usage_high"].thresholds == (
        Threshold(level="critical", raise_at=95, clear_at=92),
        Threshold(level="warning", raise_at=80, clear_at=70),
    )


@pytest.mark.parametrize(
    ("source", "op", "raised_at", "clears_at"),
    [
        ("disk.usage_percent", ">", 80, 77),
        ("disk.usage_percent", "<", 20, 23),
        ("queues.depth", ">", 100, 70),
        ("queues.depth", "<", 7, 10),
        ("daily.failure_rate", ">", 20, 15),
        ("daily.failure_rate", "<", 90, 92.5),
        ("cleanup.error_percent", ">", 1, 0.75),
        ("daily.total_tasks", ">", 100, 100),
        ("disk.will_fill", "<", 168, 168),
        ("workers.silent_s", ">", 120, 120),
    ],
)
def test_how_far_a_figure_must_come_back_goes_by_its_kind(
    source: str, op: str, raised_at: float, clears_at: float
) -> None:
    row = {"alertname": "A", "type": "a", "source": source, "op": op, "levels": {"error": raised_at}, "message": "m"}
    (threshold,) = loaded(rules={"own": row}).rules["own"].thresholds
    assert threshold.clear_at == pytest.approx(clears_at)


def test_a_rule_takes_all_its_keys_as_they_are_written() -> None:
    row = {
        "alertname": "Own",
        "type": "own",
        "source": "disk.usage_percent",
        "levels": {"warning": 1},
        "message": "m",
        "for": "10m",
        "keep_firing_for": "1h",
        "clear_for": 3,
        "no_data": "alert",
        "labels": {"component": "上传"},
        "annotations": {"runbook_url": "https://wiki.example/{mount}"},
        "group_by": ["component", "mount"],
        "repeat": {"warning": "2h"},
        "inhibited_by": ["beat_down", "disk_usage_high critical"],
        "mute_windows": [{"days": ["sat"], "from": "22:00", "to": "06:00", "timezone": "Asia/Shanghai"}],
    }
    rule = loaded(rules={"own": row}).rules["own"]
    assert (rule.for_, rule.keep_firing_for) == (timedelta(minutes=10), timedelta(hours=1))
    assert (rule.repeat.of("warning"), rule.repeat.of("critical")) == (timedelta(hours=2), timedelta(hours=4))
    assert rule.inhibitors == (
        Inhibitor(rule="beat_down", level=None),
        Inhibitor(rule="disk_usage_high", level="critical"),
    )
    (window,) = rule.mute_windows
    saturday_evening = datetime(2026, 3, 7, 14, 0, tzinfo=UTC)  # 22:00 in Shanghai
    assert window.covers(saturday_evening)
    assert not window.covers(saturday_evening - timedelta(seconds=1))
    shown = plain(rule)
    assert (shown["for"], shown["mute_windows"][0]["from"], shown["levels"]["warning"]["raise"]) == ("10m", "22:00", 1)
    assert read(Rule, shown) == rule


def test_the_environment_sets_one_level_or_time_and_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENGFU_ALERTS__RULES__DISK_USAGE_HIGH__LEVELS__WARNING", "85")
    monkeypatch.setenv("GENGFU_ALERTS__RULES__DISK_USAGE_HIGH__FOR", "1m")
    monkeypatch.setenv("GENGFU_ALERTS__RULES__DISK_USAGE_HIGH__REPEAT__WARNING", "2d")
    rule = load().alerts.rules["disk_usage_high"]
    assert [each.raise_at for each in rule.thresholds] == [90, 85]
    assert (rule.for_, rule.repeat.warning, rule.repeat.error) == (
        timedelta(minutes=1),
        timedelta(days=2),
        timedelta(hours=12),
    )


@pytest.mark.parametrize("rules", ["text", [1], {"x": 3}, {"disk_usage_high": 3}, {"x": None}])
def test_rules_of_another_shape_are_refused(rules: Any) -> None:
    assert "rules" in refusal(rules=rules)
