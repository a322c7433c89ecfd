"""`alerts test FILE`: figures over time through the rules, compared with what was expected."""

from datetime import timedelta
from pathlib import Path

import pytest

from app.alerts.life.rule_tests import MOST_LOOKS, TestOutcome, read_tests, run_test, series
from app.alerts.rules.rule import Rule
from app.alerts.settings import default_rules
from app.core.errors import BadArgument
from app.core.settings_reader import read

DISK = {
    "alertname": "DiskUsageHigh",
    "type": "disk_usage",
    "source": "disk.usage_percent",
    "levels": {"warning": {"raise": 80, "clear": 77}, "critical": {"raise": 90, "clear": 87}},
    "for": "2m",
    "keep_firing_for": "0s",
    "message": "{mount} is {value} % full, {free_gb} GB are free",
}
RULES = {"disk": read(Rule, DISK)}
TEST = """
[[tests]]
name = "磁盘渐满"
[[tests.figures]]
source = "disk.usage_percent"
labels = { mount = "/data" }
words = { free_gb = "12" }
values = "70 85x3 95 76x5"
"""


def outcomes(tmp_path: Path, text: str, rules: dict[str, Rule] | None = None) -> list[TestOutcome]:
    file = tmp_path / "rules_test.toml"
    file.write_text(text, encoding="utf-8")
    return [run_test(test, rules or RULES) for test in read_tests(file)]


def expecting(at: str, alerts: str = "") -> str:
    return TEST + f'[[tests.expect]]\nat = "{at}"\nalerts = [{alerts}]\n'


def disk(level: str, more: str = "") -> str:
    return f'{{ rule = "disk", level = "{level}", labels = {{ mount = "/data" }}{more} }}'


@pytest.mark.parametrize(
    ("at", "alerts"),
    [
        ("0s", ""),
        ("2m", ""),  # pending for a minute
        ("3m", disk("warning")),
        ("4m", disk("critical")),
        ("5m", disk("critical")),  # one good look does not end it
        ("6m", ""),
    ],
)
def test_a_rule_does_over_time_what_is_expected_of_it(tmp_path: Path, at: str, alerts: str) -> None:
    (outcome,) = outcomes(tmp_path, expecting(at, alerts))
    assert outcome.differences == ()
    assert (outcome.name, outcome.passed) == ("磁盘渐满", True)


@pytest.mark.parametrize(
    ("at", "alerts", "told"),
    [
        ("2m", disk("warning"), "after 2m: disk (mount /data) was to be warning, and does not fire"),
        ("4m", disk("warning"), "was to be warning, and is critical: /data is 95 % full, 12 GB are free"),
        ("3m", "", "after 3m: disk (mount /data) fires (warning): /data is 85 % full, 12 GB are free"),
        ("3m", disk("warning", ', message = "voll"'), "was to say 'voll', and says '/data is 85 % full"),
    ],
)
def test_what_is_missing_other_or_too_much_is_told(tmp_path: Path, at: str, alerts: str, told: str) -> None:
    (outcome,) = outcomes(tmp_path, expecting(at, alerts))
    assert not outcome.passed
    assert len(outcome.differences) == 1
    assert told in outcome.differences[0]


def test_the_figures_of_a_job_do_not_wait(tmp_path: Path) -> None:
    job = expecting("1m", disk("warning")).replace("[[tests.figures]]", "job = true\n[[tests.figures]]", 1)
    assert outcomes(tmp_path, job)[0].passed
    assert not outcomes(tmp_path, expecting("1m", disk("warning")))[0].passed


def test_a_figure_that_is_missing_keeps_its_alert(tmp_path: Path) -> None:
    text = expecting("6m", disk("critical")).replace("76x5", "_x5")
    assert outcomes(tmp_path, text)[0].passed


def test_a_rate_needs_as_many_samples_as_its_rule_wants(tmp_path: Path) -> None:
    text = """
[[tests]]
name = "two of five are no rate"
job = true
[[tests.figures]]
source = "daily.failure_rate"
samples = {0}
values = "40"
[[tests.expect]]
at = "0s"
alerts = [{1}]
"""
    fires = '{ rule = "task_failure_rate_high", level = "warning" }'
    assert outcomes(tmp_path, text.replace("{0}", "5").replace("{1}", ""), default_rules())[0].passed
    assert outcomes(tmp_path, text.replace("{0}", "20").replace("{1}", fires), default_rules())[0].passed


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("70", [70]),
        ("70 85x3", [70, 85, 85, 85]),
        ("90+1x5", [90, 91, 92, 93, 94]),
        ("1-0.1x3", [1, 0.9, 0.8]),
        ("_x2 -3", [None, None, -3]),
    ],
)
def test_values_are_written_briefly(text: str, values: list[float | None]) -> None:
    assert series(text) == values


@pytest.mark.parametrize("text", ["", "  ", "x3", "85 x3", "_+1x3", "85x", "1e3", "nan", "85;rm"])
def test_values_that_mean_nothing_are_quoted(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no value|there is no value"):
        series(text)


def test_a_series_without_end_is_refused() -> None:
    assert len(series(f"1x{MOST_LOOKS}")) == MOST_LOOKS
    with pytest.raises(ValueError, match="100,000 looks"):
        series(f"1x{MOST_LOOKS} 1")
    with pytest.raises(ValueError, match="100,000 looks"):
        series("1x99999999999999999999")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[test]]", 'did you mean "tests"'),
        (TEST.replace("disk.usage_percent", "disk.usage_procent"), 'did you mean "disk.usage_percent"'),
        (expecting("90s"), "at '90s' there is no look; there is one every 1m up to 9m"),
        (expecting("10m"), "at '10m' there is no look"),
        (expecting("1m", '{ rule = "disk", level = "loud" }'), "loud"),
        (TEST.replace("70 85x3", "70 fünf"), "'fünf' is no value"),
        (TEST, "expect"),
        ("tests = 3", "tests"),
        ("x = [", "rules_test.toml"),
    ],
)
def test_a_file_that_can_not_be_used_is_refused_with_its_name(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(BadArgument) as refused:
        outcomes(tmp_path, text)
    assert told in str(refused.value)
    assert "rules_test.toml" in str(refused.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadArgument, match="can't be read"):
        read_tests(tmp_path / "none.toml")


def test_each_test_begins_anew(tmp_path: Path) -> None:
    twice = expecting("3m", disk("warning")) + expecting("0s")
    assert [outcome.passed for outcome in outcomes(tmp_path, twice)] == [True, True]
    assert timedelta(minutes=1) == read_tests(tmp_path / "rules_test.toml")[0].every
