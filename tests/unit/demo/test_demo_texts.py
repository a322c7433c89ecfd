from random import Random

import pytest

from app.demo.texts import ERROR_MESSAGES, error_message, file_name, parcel_number

# The words by which a reader tells the categories apart, whatever rules a report uses.
KEYWORDS = {
    "二维码识别错误": ("二维码", "QR code"),
    "物流查询错误": ("物流", "tracking"),
    "文档生成错误": ("文档", "document"),
    "任务超时": ("超时", "timed out"),
    "数据库错误": ("数据库", "database"),
}


def test_every_category_of_the_daily_report_has_messages() -> None:
    assert list(ERROR_MESSAGES) == [*KEYWORDS, "其他错误"]


@pytest.mark.parametrize("category", KEYWORDS)
def test_a_template_holds_a_word_of_its_own_category_and_of_no_other(category: str) -> None:
    for template in ERROR_MESSAGES[category]:
        assert [name for name, words in KEYWORDS.items() if any(word in template for word in words)] == [category]


def test_other_messages_hold_no_word_of_a_category() -> None:
    for template in ERROR_MESSAGES["其他错误"]:
        assert not [word for words in KEYWORDS.values() for word in words if word in template]


@pytest.mark.parametrize("category", KEYWORDS)
def test_a_category_is_told_in_chinese_and_in_english(category: str) -> None:
    english = [template.isascii() for template in ERROR_MESSAGES[category]]
    assert any(english)
    assert not all(english)


def test_messages_differ_in_numbers_and_leave_no_placeholder() -> None:
    random = Random(1)
    messages = [error_message(random, "SF1234567890123") for _ in range(2_000)]
    assert not [message for message in messages if "{" in message or "}" in message]
    assert len(set(messages)) > 1_000
    assert max(map(len, messages)) > 500  # longer than a report shows


def test_no_category_reaches_half_of_the_failures() -> None:
    random = Random(1)
    messages = [error_message(random, None) for _ in range(5_000)]
    for words in KEYWORDS.values():
        share = sum(any(word in message for word in words) for message in messages) / 5_000
        assert 0.02 < share < 0.45


def test_parcel_numbers_are_of_two_carriers() -> None:
    random = Random(1)
    numbers = [parcel_number(random) for _ in range(200)]
    assert {number[:2] for number in numbers} == {"SF", "YT"}
    assert all(len(number) == 15 and number[2:].isdecimal() for number in numbers)


def test_some_file_names_are_chinese_and_all_hold_the_task() -> None:
    random = Random(1)
    names = [file_name(random, "image_path", f"{n:032x}") for n in range(1, 100)]
    assert any(not name.isascii() for name in names)
    assert all(name.endswith(".jpg") for name in names)
    assert names[0].startswith("0" * 16)
