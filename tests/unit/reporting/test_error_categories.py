"""The ordered rules that put error messages into categories."""

import pytest
from pydantic import ValidationError

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
    settings = ReportingSettings(categories=rules)  # type: ignore[arg-type]  # as TOML gives it
    assert Categories(settings.categories).of("物流查询超时") == "超时"


@pytest.mark.parametrize(
    ("rules", "complaint"),
    [
        ([], "last category"),
        ([{"name": "a", "contains": ["x"]}], "last category"),
        ([{"name": "a"}, {"name": "b"}], "'a' has no `contains`"),
        ([{"name": "a", "contains": ["x"]}, {"name": "a"}], "'a' is named twice"),
        ([{"name": "a", "contains": [" "]}, {"name": "b"}], "blank word"),
        ([{"name": ""}], "at least 1 character"),
    ],
)
def test_rules_that_can_not_work_are_refused(rules: list[dict[str, object]], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        ReportingSettings(categories=rules)  # type: ignore[arg-type]  # as TOML gives it
