"""`[reporting]`: how much detail a daily report holds, and how error messages are put into categories."""

from typing import Annotated

from msgspec import Meta

from app.core.settings_file import Check, Section
from app.reporting.patterns import compile_pattern


def _no_blank_words(value: tuple[str, ...]) -> tuple[str, ...]:
    if any(not word.strip() for word in value):
        raise ValueError("a blank word is contained in every message; remove it from `contains`")
    return value


def _linear_patterns(value: tuple[str, ...]) -> tuple[str, ...]:
    for pattern in value:
        compile_pattern(pattern)
    return value


class ErrorCategory(Section):
    """`[[reporting.categories]]`: one rule. The first rule of the list that fits a message names its category."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    contains: Annotated[tuple[str, ...], Check(_no_blank_words)] = ()
    """Any of these in the message, whatever their case."""
    matches: Annotated[tuple[str, ...], Check(_linear_patterns)] = ()
    """Any of these regular expressions (RE2: linear time, no look-around) found in the message, whatever their case."""

    @property
    def is_fallback(self) -> bool:
        """Whether the rule says nothing about messages: it takes what fits nowhere else."""
        return not self.contains and not self.matches


DEFAULT_CATEGORIES = (
    ErrorCategory(name="二维码识别错误", contains=("二维码", "条形码", "qr code", "qrcode", "qr_code", "barcode")),
    ErrorCategory(
        name="物流查询错误",
        contains=("物流", "快递", "运单", "轨迹", "tracking", "logistics", "courier", "shipment"),
    ),
    ErrorCategory(name="文档生成错误", contains=("文档", "模板", "document", "docx", "template", "pdf")),
    ErrorCategory(name="任务超时", contains=("超时", "timeout", "timed out", "time limit", "timelimit")),
    ErrorCategory(
        name="数据库错误",
        contains=("数据库", "死锁", "database", "deadlock", "sqlalchemy", "psycopg", "sqlite", "postgres", "mysql"),
    ),
    ErrorCategory(name="其他错误"),
)


def _one_fallback_at_the_end(value: tuple[ErrorCategory, ...]) -> tuple[ErrorCategory, ...]:
    names = [category.name for category in value]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"category {twice[0]!r} is named twice")
    if not value or not value[-1].is_fallback:
        raise ValueError(
            "the last category must have neither `contains` nor `matches`: it takes what fits nowhere else"
        )
    if early := [category.name for category in value[:-1] if category.is_fallback]:
        raise ValueError(
            f"category {early[0]!r} has no `contains` or `matches` and is not the last; no message gets past it"
        )
    return value


class ReportingSettings(Section):
    """`[reporting]`."""

    slowest: Annotated[int, Meta(ge=0, le=100)] = 5
    """How many of the slowest tasks are named."""
    failed_details: Annotated[int, Meta(ge=0, le=1000)] = 50
    """How many failed tasks are described, the newest first; all of them are counted."""
    message_length: Annotated[int, Meta(ge=0, le=10_000)] = 500
    """Error messages in the report are cut at this many characters."""
    categories: Annotated[tuple[ErrorCategory, ...], Check(_one_fallback_at_the_end)] = DEFAULT_CATEGORIES
    """Error categories in the order in which they are tried."""
