"""What a silence is about."""

import time

import pytest

from app.alerts.notices.matchers import Matcher, parse_matcher, parse_matchers

LABELS = {"alertname": "DiskUsageHigh", "severity": "warning", "mount": "/数据 盘"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("alertname=DiskUsageHigh", True),
        ("alertname = DiskUsageHigh ", True),
        ('mount="/数据 盘"', True),
        ("alertname=DiskUsage", False),
        ("alertname!=DiskUsageHigh", False),
        ("severity!=critical", True),
        ("alertname=~Disk.*", True),
        ("alertname=~Disk", False),  # the whole label
        ("alertname=~disk.*", False),
        ("alertname=~Inode.*|Disk.*", True),
        ("alertname!~Disk.*", False),
        ("component=", True),  # a label it does not have is empty
        ("component=x", False),
        ("component!=x", True),
        ("component!~.+", True),
    ],
)
def test_a_matcher_is_about_one_label(text: str, *, matches: bool) -> None:
    assert parse_matcher(text).matches(LABELS) is matches


@pytest.mark.parametrize("text", ['a="b"', 'a=~"x|y"', 'a!="q \\" \\\\ z"', 'a!~" blank "', 'a=""'])
def test_a_matcher_is_written_as_it_is_read(text: str) -> None:
    matcher = parse_matcher(text)
    assert parse_matcher(str(matcher)) == matcher
    assert Matcher.from_json(matcher.to_json()) == matcher
    assert str(matcher) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("alertname", "no matcher; write it like"),
        ("=x", "no matcher"),
        ("a=~(", "none that RE2 takes"),
        ("a=~(?=x)", "none that RE2 takes"),
        (f"a=~{'x' * 257}", "too long"),
        (f"{'n' * 65}=x", "too long"),
    ],
)
def test_what_can_not_be_used_is_named(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_matcher(text)


@pytest.mark.parametrize("texts", [[], ["severity!=critical"], ["alertname=~.*"], ["a=", "b!~x"]])
def test_matchers_that_fit_every_alert_are_refused(texts: list[str]) -> None:
    with pytest.raises(ValueError, match="fit every alert"):
        parse_matchers(texts)


def test_one_matcher_that_names_something_is_enough() -> None:
    assert len(parse_matchers(["alertname=DiskUsageHigh", "severity!=critical"])) == 2


def test_an_evil_pattern_takes_no_time() -> None:
    """The standard library's engine takes years over it."""
    matcher = parse_matcher("mount=~(a+)+$")
    began = time.process_time()
    assert not matcher.matches({"mount": "a" * 255 + "!"})
    assert time.process_time() - began < 5
