from collections import Counter
from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest

from app.demo.arrivals import arrivals

SHANGHAI = ZoneInfo("Asia/Shanghai")
NOW = datetime(2026, 3, 10, 4, 0, tzinfo=UTC)


def _some(tasks: int = 20_000, now: datetime = NOW, zone: ZoneInfo = SHANGHAI) -> list[datetime]:
    return list(arrivals(tasks, Random(1), now, zone))


@pytest.mark.parametrize("tasks", [1, 2, 79, 1441, 20_000])
def test_exactly_as_many_as_asked_for(tasks: int) -> None:
    assert len(_some(tasks)) == tasks


@pytest.mark.parametrize("now", [NOW, NOW + timedelta(minutes=37, seconds=11, microseconds=5)])
def test_ascending_and_within_the_sixty_days_before_now(now: datetime) -> None:
    instants = _some(now=now)
    assert instants == sorted(instants)
    assert now - timedelta(days=60) <= instants[0]
    assert instants[-1] < now


def test_all_sixty_days_have_tasks() -> None:
    days = {instant.astimezone(SHANGHAI).date() for instant in _some()}
    assert len(days) >= 60


def test_weekends_are_quiet_and_no_two_mondays_alike() -> None:
    days = Counter(instant.astimezone(SHANGHAI).date() for instant in _some())
    whole = {day: count for day, count in days.items() if day not in {min(days), max(days)}}
    weekdays = [count for day, count in whole.items() if day.weekday() < 5]
    weekends = [count for day, count in whole.items() if day.weekday() >= 5]
    mondays = [count for day, count in whole.items() if day.weekday() == 0]
    assert max(weekends) < min(weekdays)
    assert len(set(mondays)) > len(mondays) / 2


def test_hours_are_those_of_an_office_in_the_local_zone() -> None:
    hours = Counter(instant.astimezone(SHANGHAI).hour for instant in _some())
    assert max(hours, key=hours.__getitem__) in {9, 10, 14, 15}
    assert hours[12] < hours[11] / 2
    assert hours[12] < hours[14] / 2
    assert hours[3] < hours[10] / 20


@pytest.mark.parametrize("weekday_of_now", range(7))
def test_yesterday_has_plenty_even_on_a_weekend(weekday_of_now: int) -> None:
    now = NOW + timedelta(days=weekday_of_now)
    yesterday = now.astimezone(SHANGHAI).date() - timedelta(days=1)
    days = Counter(instant.astimezone(SHANGHAI).date() for instant in _some(now=now))
    assert days[yesterday] >= 20_000 / 60


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata", "Pacific/Apia"])
def test_any_zone_and_a_change_of_clocks_lose_no_task(zone: str) -> None:
    now = datetime(2026, 3, 20, 12, 0, tzinfo=UTC)  # New York changed its clocks on the eighth
    assert len(_some(5_000, now, ZoneInfo(zone))) == 5_000
