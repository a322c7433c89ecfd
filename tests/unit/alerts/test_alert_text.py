import json
import sys
import unicodedata

import pytest

from app.alerts.text import json_line, visible

ACTING = [
    "\x1b[31m",
    "\x00",
    "\r\n",
    "\x7f",
    "\x9b2J",
    "\u202e",
    "\u2028",
    "\u200b",
    "\ufeff",
    "\udc80",
    "\xad",
    "\u061c",
    "\U000e0041",
]


@pytest.mark.parametrize("text", ACTING)
def test_nothing_that_acts_on_a_terminal_stays(text: str) -> None:
    assert visible(f"前{text}后").isprintable()


def test_chinese_text_and_emoji_are_shown_as_they_are() -> None:
    assert visible("二维码识别错误 🚨 100 %") == "二维码识别错误 🚨 100 %"


@pytest.mark.parametrize("text", [*ACTING, "二维码", '"quoted\\"', "\\u001b"])
def test_a_json_line_is_one_line_that_reads_back_the_same(text: str) -> None:
    line = json_line({"b": text, "a": [1.5, None]})
    assert line.endswith(b"\n")
    assert line.rstrip(b"\n").decode().isprintable()
    assert json.loads(line) == {"b": text, "a": [1.5, None]}
    assert line.startswith(b'{"b":')


def test_a_json_line_holds_no_nan() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_line({"value": float("nan")})


def test_no_control_format_or_separator_character_stays() -> None:
    categories = {"Cc", "Cf", "Zl", "Zp", "Cs"}
    acting = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) in categories]
    assert [hex(ord(character)) for character in acting if visible(character) == character] == []
    line = json_line("".join(acting))
    assert not any(unicodedata.category(character) in categories for character in line.decode().rstrip("\n"))
    assert json.loads(line).encode("utf-16", "surrogatepass") == "".join(acting).encode("utf-16", "surrogatepass")
