"""Hours that come again."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.alerts.rules.windows import Window, parse_window

SHANGHAI = ZoneInfo("Asia/Shanghai")


def window(**changed: Any) -> Window:
    return parse_window({"from": "22:00", "to": "06:00", "timezone": "Asia/Shanghai"} | changed)


def local(text: str, zone: str = "Asia/Shanghai") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


@pytest.mark.parametrize(
    ("at", "covered"),
    [
        ("2026-03-10 21:59:59", False),
        ("2026-03-10 22:00:00", True),
        ("2026-03-11 05:59:59", True),
        ("2026-03-11 06:00:00", False),
    ],
)
def test_a_window_over_midnight_has_its_first_instant_and_not_its_end(at: str, *, covered: bool) -> None:
    assert window().covers(local(at)) is covered


@pytest.mark.parametrize(
    ("at", "covered"),
    [
        ("2026-03-13 22:00:00", True),  # a Friday
        ("2026-03-14 05:00:00", True),  # Friday's night
        ("2026-03-14 22:00:00", False),
        ("2026-03-13 05:00:00", False),  # Thursday's night
    ],
)
def test_the_days_are_those_on_which_it_begins(at: str, *, covered: bool) -> None:
    assert window(days=["fri"]).covers(local(at)) is covered


@pytest.mark.parametrize(
    ("at", "covered"),
    [("2026-03-14 00:00:00", True), ("2026-03-14 23:59:59", True), ("2026-03-15 00:00:00", False)],
)
@pytest.mark.parametrize("end", ["24:00", "00:00"])
def test_a_whole_day_ends_at_midnight(at: str, end: str, *, covered: bool) -> None:
    assert window(**{"days": ["sat"], "from": "00:00", "to": end}).covers(local(at)) is covered


def test_the_clock_on_the_wall_of_its_zone_counts_when_clocks_change() -> None:
    night = window(**{"from": "01:00", "to": "04:00", "timezone": "Europe/Berlin"})
    start = datetime(2026, 3, 29, 0, 0, tzinfo=UTC)  # 01:00 in Berlin; 02:00 does not exist there
    hours = [night.covers(start + timedelta(hours=n)) for n in range(-1, 4)]
    assert hours == [False, True, True, False, False]


def test_any_zone_may_ask() -> None:
    assert window().covers(datetime(2026, 3, 10, 14, 0, tzinfo=UTC))
    assert not window().covers(datetime(2026, 3, 10, 13, 59, tzinfo=UTC))


def test_what_is_written_is_read_again() -> None:
    known = window(days=["sun", "mon"])
    assert known.days == ("mon", "sun")
    assert parse_window(known.to_json()) == known


def test_without_a_zone_it_is_that_of_the_settings() -> None:
    row = {"from": "22:00", "to": "06:00"}
    assert parse_window(row, SHANGHAI) == window()
    with pytest.raises(ValueError, match="timezone None is unknown"):
        parse_window(row)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("22-6", "no window"),
        ({"form": "1:00"}, 'did you mean "from"'),
        ({"from": "25:00", "to": "06:00"}, "from '25:00' is no time of day"),
        ({"from": "24:00", "to": "06:00"}, "from '24:00' is no time of day"),
        ({"from": "22:00+08:00", "to": "06:00"}, "from '22:00.08:00' names a zone"),
        ({"from": "22:00", "to": "06:00Z"}, "to '06:00Z' names a zone"),
        ({"from": "22:00"}, "to None is no time of day"),
        ({"from": "22:00", "to": "06:00", "days": []}, "days \\[\\] are none"),
        ({"from": "22:00", "to": "06:00", "days": ["Mon"]}, 'did you mean "mon"'),
        ({"from": "22:00", "to": "06:00", "timezone": "Asia/Peking"}, "timezone 'Asia/Peking' is unknown"),
        ({"from": "22:00", "to": "06:00", "timezone": "../../etc/passwd"}, "is unknown"),
    ],
)
def test_what_is_wrong_is_named(row: object, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_window(row, SHANGHAI)
