"""The ordered rules that put error messages into categories."""

import pytest

from app.core.errors import SettingsError
from app.core.settings_reader import read
from app.reporting.categories import Categories
from app.reporting.settings import DEFAULT_CATEGORIES, ReportingSettings


@pytest.mark.parametrize(
    ("message", "category"),
    [
        ("二维码识别失败", "二维码识别错误"),
        ("QR CODE not found", "二维码识别错误"),
        ("快递接口返回 500", "物流查询错误"),
        ("Tracking API rejected request", "物流查询错误"),
        ("模板缺少字段", "文档生成错误"),
        ("SoftTimeLimitExceeded: time limit", "任务超时"),
        ("psycopg2.OperationalError: server closed", "数据库错误"),
        ("物流查询超时", "物流查询错误"),  # the first rule wins
        ("磁盘已满", "其他错误"),
        ("", "其他错误"),
        (None, "其他错误"),
    ],
)
def test_a_message_belongs_to_the_first_category_that_knows_a_word_of_it(message: str | None, category: str) -> None:
    assert Categories(DEFAULT_CATEGORIES).of(message) == category


def test_the_order_of_the_settings_decides() -> None:
    rules = [{"name": "超时", "contains": ["超时"]}, {"name": "物流", "contains": ["物流"]}, {"name": "其余"}]
    settings = read(ReportingSettings, {"categories": rules})
    assert Categories(settings.categories).of("物流查询超时") == "超时"


@pytest.mark.parametrize(
    ("rules", "complaint"),
    [
        ([], "last category"),
        ([{"name": "a", "contains": ["x"]}], "last category"),
        ([{"name": "a"}, {"name": "b"}], "'a' has no `contains`"),
        ([{"name": "a", "contains": ["x"]}, {"name": "b", "matches": ["x"]}], "last category"),
        ([{"name": "a", "matches": ["(a"]}, {"name": "b"}], r"'\(a' is none that RE2 takes: missing \)"),
        ([{"name": "a", "matches": ["(?=x)"]}, {"name": "b"}], "none that RE2 takes"),
        ([{"name": "a", "matches": ["(a)\\1"]}, {"name": "b"}], "none that RE2 takes"),
        ([{"name": "a", "matches": ["x" * 257]}, {"name": "b"}], "257 characters; 256 are allowed"),
        ([{"name": "a", "matches": [""]}, {"name": "b"}], "empty pattern"),
        ([{"name": "a", "matches": ["x*"]}, {"name": "b"}], "found in every message"),
        ([{"name": "a", "contains": ["x"]}, {"name": "a"}], "'a' is named twice"),
        ([{"name": "a", "contains": [" "]}, {"name": "b"}], "blank word"),
        ([{"name": ""}], "at least 1 character"),
    ],
)
def test_rules_that_can_not_work_are_refused(rules: list[dict[str, object]], complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        read(ReportingSettings, {"categories": rules})


def test_words_and_patterns_of_a_rule_are_alternatives_whatever_the_case() -> None:
    rules = [{"name": "网络", "contains": ["Refused"], "matches": [r"HTTP 5\d\d", "连接.*重置"]}, {"name": "其余"}]
    of = Categories(read(ReportingSettings, {"categories": rules}).categories).of
    found = [of(text) for text in ("http 503", "connection REFUSED", "连接被对方重置", "http 404", "x" * 256, None)]
    assert found == ["网络", "网络", "网络", "其余", "其余", "其余"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(a+)+$", "a" * 65_000 + "!"),
        ("(a|aa)+$", "a" * 65_000 + "!"),
        ("(.*a){25}b", "a" * 65_000 + "!"),
        ("^(([a-z])+.)+[0-9]([a-z])+$", "a" * 65_000),
        ("(x+x+)+y", "x" * 65_000),
        (r"(\w+\s?)+!$", "word " * 13_000),
        ("(超+)+时", "超" * 65_000),
        (".*.*.*.*=.*", "x" * 65_000),
        ("(a?){100}a{100}b", "a" * 65_000),
        ("[a-q][^u-z]{200}x", "a" * 65_000),
        (r"([\w.]+)+@", "a." * 32_000),
        ("(?:a{1,50}){1,19}b", "a" * 65_000),
    ],
)
def test_a_pattern_that_would_take_years_by_backtracking_comes_to_an_end(pattern: str, message: str) -> None:
    rules = [{"name": "恶意", "matches": [pattern]}, {"name": "其余"}]
    categories = Categories(read(ReportingSettings, {"categories": rules}).categories)
    assert categories.of(message) == "其余"
