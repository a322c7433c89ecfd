"""Simulated disks, hour by hour: no cry of wolf, runaways within three hours, leaks days ahead."""

import random
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import fmean

import pytest

from app.health.forecast import FAST_HORIZON_H, HISTORY, Forecast, Sample, forecast

START = datetime(2026, 3, 1, 0, 15, tzinfo=UTC)
HOUR = timedelta(hours=1)
SIZE = 1000.0
"""Of every simulated disk, in GB."""
WARNING_H, CRITICAL_H = 168.0, 24.0


def shown(amount: float) -> str:
    return f"{amount:.0f} GB"


class Disk:
    """A disk that fills from 8 to 20 o'clock and is cleaned from 2 to 5, its days never quite alike."""

    def __init__(
        self, seed: int, *, low: float = 450, high: float = 850, noise: float = 10, weekend: float = 1.0
    ) -> None:
        rng = random.Random(seed)
        self.lows = [rng.gauss(low, noise) for _ in range(120)]
        self.highs = [rng.gauss(high, noise) for _ in range(120)]
        self.flutter = [rng.gauss(0, noise / 10) for _ in range(24 * 120)]
        self.weekend = weekend

    def used(self, hour: int) -> float:
        day, clock = divmod(hour, 24)
        before = self._high(day - 1) if day else self.lows[0]
        if clock < 2:
            level = before
        elif clock < 5:
            level = before + (self.lows[day] - before) * (clock - 1) / 3
        else:
            level = self.lows[day] + (self._high(day) - self.lows[day]) * min(1.0, max(0, clock - 7) / 12)
        return level + self.flutter[hour]

    def _high(self, day: int) -> float:
        # 2026-03-01 is a Sunday.
        quiet = self.weekend if day % 7 in {0, 6} else 1.0
        return self.lows[day] + (self.highs[day] - self.lows[day]) * quiet


def sampled(used: Callable[[int], float], hours: Iterable[int]) -> list[Sample]:
    return [(START + hour * HOUR, min(SIZE, used(hour))) for hour in hours]


def judge(samples: list[Sample], *, size: float = SIZE) -> Forecast:
    """Judge at the last sample, as the check does: it knows what was there before and what it just measured."""
    *earlier, (now, used) = samples
    return forecast(earlier, now, used=used, free=size - used, shown=shown)


def judged(samples: list[Sample], first: int) -> list[Forecast]:
    """Judge at each sample from the one numbered `first` on."""
    held = HISTORY // HOUR
    return [judge(samples[max(0, end - held) : end + 1]) for end in range(first, len(samples))]


def alarms(found: Iterable[Forecast], hours: float = WARNING_H) -> list[Forecast]:
    return [one for one in found if one.hours_left is not None and one.hours_left < hours]


def cries_of_a_straight_line(samples: list[Sample]) -> float:
    """Share of the hours in which a regression over six hours says that the disk is full within a week."""
    cries = 0
    for end in range(6, len(samples)):
        levels = [used for _, used in samples[end - 6 : end]]
        slope = sum((x - 2.5) * (level - fmean(levels)) for x, level in enumerate(levels)) / 17.5
        cries += slope > 0 and (SIZE - levels[-1]) / slope < WARNING_H
    return cries / (len(samples) - 6)


@pytest.mark.parametrize(
    "disk",
    [
        Disk(1),
        Disk(2, noise=20),
        Disk(3, low=300, high=900),
        Disk(4, weekend=0.2),
        Disk(5, low=940, high=960, noise=3),
    ],
    ids=["daily", "uneven", "wide", "quiet weekends", "nearly full"],
)
def test_a_disk_that_never_fills_gives_no_alarm_in_sixty_days(disk: Disk) -> None:
    samples = sampled(disk.used, range(24 * 60))
    assert alarms(judged(samples, 0)) == []


def test_a_straight_line_through_six_hours_would_cry_wolf_on_the_same_disk() -> None:
    assert cries_of_a_straight_line(sampled(Disk(1).used, range(24 * 60))) > 0.5


def running_away(disk: Disk, begin: int, until: int) -> list[Sample]:
    return sampled(lambda at: disk.used(at) + 40 * max(0, at - begin), range(until + 1))


@pytest.mark.parametrize("hour", range(4, 23, 2))
def test_a_runaway_is_found_within_three_hours(hour: int) -> None:
    begin = 24 * 20 + hour
    samples = running_away(Disk(6), begin, begin + 3)
    before, after = judged(samples, begin - 24), judge(samples)
    assert alarms(before[:-1]) == []
    assert (after.verdict, after.method, after.confidence) == ("filling fast", "fast", 1.0)
    assert after.hours_left is not None
    assert after.rate_per_hour is not None
    assert after.hours_left < CRITICAL_H
    assert after.full_at == samples[-1][0] + timedelta(hours=(SIZE - samples[-1][1]) / after.rate_per_hour)


@pytest.mark.parametrize("hour", [0, 1, 2, 3])
def test_a_runaway_that_begins_while_the_disk_is_cleaned_is_found_three_hours_after_that(hour: int) -> None:
    begin, cleaned = 24 * 20 + hour, 24 * 20 + 4
    samples = running_away(Disk(6), begin, cleaned + 3)
    assert judge(samples[: cleaned + 1]).verdict == "steady"
    assert judge(samples).verdict == "filling fast"


def test_two_fast_hours_are_not_enough() -> None:
    disk, begin = Disk(6), 24 * 20 + 12
    samples = sampled(lambda at: disk.used(at) + 40 * max(0, at - begin), range(begin + 3))
    assert alarms(judged(samples, begin)) == []


def test_one_large_copy_is_no_pace() -> None:
    disk, copied = Disk(7, high=700), 24 * 20 + 11
    samples = sampled(lambda at: disk.used(at) + 150 * (at >= copied), range(copied + 24 * 10))
    assert alarms(judged(samples, copied - 24)) == []


def test_what_fills_later_than_in_a_day_is_not_told_by_three_hours() -> None:
    disk, begin = Disk(8, low=300, high=320), 24 * 20
    for pace, told in ((40, True), (20, False)):
        samples = sampled(lambda at, pace=pace: disk.used(at) + pace * max(0, at - begin), range(begin + 4))  # type: ignore[misc]
        found = judge(samples)
        assert (found.verdict == "filling fast") is told
        assert (found.hours_left is not None) is told
    assert (SIZE - 320) / 40 < FAST_HORIZON_H < (SIZE - 320) / 20


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("daily", [8, 15, 30])
def test_a_slow_leak_is_found_days_ahead(seed: int, daily: float) -> None:
    disk, begin = Disk(seed, high=700), 24 * 20
    samples = sampled(lambda at: disk.used(at) + daily / 24 * max(0, at - begin), range(24 * 60))
    full = next((n for n, (_, used) in enumerate(samples) if used >= SIZE), len(samples))
    found = judged(samples[:full], begin)
    first = next(n for n, one in enumerate(found) if alarms([one]))
    assert (full - begin - first) / 24 > 3.5
    assert found[first].method == "slow"


def test_a_steady_leak_is_told_to_the_hour_and_to_the_byte() -> None:
    samples = sampled(lambda at: 500 + at / 2, range(24 * 12))
    found = judge(samples)
    left = (SIZE - samples[-1][1]) / 0.5
    assert (found.verdict, found.method, found.confidence) == ("filling", "slow", 1.0)
    assert (found.rate_per_hour, found.hours_left) == (0.5, round(left, 1))
    assert found.full_at == samples[-1][0] + timedelta(hours=left)
    assert found.samples == len(samples)
    assert found.reason.startswith("12 GB a day (median of 168 hours against the day before); ")
    assert found.reason.endswith("; 356 GB free, 0 GB of it for the usual rise of a day")


def test_the_usual_rise_of_the_day_is_not_to_be_had_any_more() -> None:
    disk = Disk(9, noise=0)
    samples = sampled(lambda at: disk.used(at) + at / 4, range(24 * 20 + 7))
    found = judge(samples)
    level = samples[-1][1]
    full = next(at for at in range(24 * 20, 24 * 60) if disk.used(at) + at / 4 >= SIZE)
    assert found.hours_left is not None
    assert abs(found.hours_left - (full - len(samples) + 1)) < 24
    assert (SIZE - level) / 0.25 > 10 * found.hours_left


def test_a_week_that_ends_where_it_began_is_no_leak() -> None:
    samples = sampled(lambda at: 700 + 30 * (at % 168) / 24, range(24 * 7 * 6))
    assert alarms(judged(samples, 24 * 15)) == []
    assert judge(samples).reason.startswith("0 GB a day over two weeks, cleaned weekly; ")
    leaking = [(at, used - 200 + 5 * number / 24) for number, (at, used) in enumerate(samples)]
    found = judge(leaking)
    assert found.verdict == "filling"
    assert found.rate_per_hour == pytest.approx(5 / 24)


def test_a_clean_up_by_hand_ends_the_alarm_and_does_not_hide_the_leak() -> None:
    def used(at: int) -> float:
        return 700 + at - 150 * (at >= 24 * 10)

    samples = sampled(used, range(24 * 14))
    assert judge(samples[: 24 * 10]).hours_left == pytest.approx(SIZE - used(24 * 10 - 1), abs=0.1)
    after = judge(samples[: 24 * 10 + 1])
    assert after.hours_left == pytest.approx(SIZE - used(24 * 10), abs=24.1)
    assert judge(samples[: 24 * 12]).method == "slow"


@pytest.mark.parametrize("size", [SIZE, 2 * SIZE, 0.95 * SIZE])
def test_a_disk_that_was_made_larger_or_smaller_is_judged_by_what_it_has_now(size: float) -> None:
    samples = sampled(lambda at: 600 + at / 2, range(24 * 12))
    found = judge(samples, size=size)
    assert found.hours_left == pytest.approx((size - samples[-1][1]) / 0.5, abs=0.1)


def test_another_volume_in_the_same_place_is_no_growth() -> None:
    disk = Disk(10, low=100, high=200)
    samples = sampled(lambda at: disk.used(at) + 700 * (at >= 24 * 20 + 9), range(24 * 30))
    assert alarms(judged(samples, 24 * 20)) == []


def test_irregular_samples_and_gaps_change_nothing_on_a_disk_that_never_fills() -> None:
    rng, disk, samples, minutes = random.Random(11), Disk(11), list[Sample](), 0.0
    while minutes < 60 * 24 * 40:
        hour, share = int(minutes // 60), minutes % 60 / 60
        level = disk.used(hour) + share * (disk.used(hour + 1) - disk.used(hour))
        samples.append((START + timedelta(minutes=minutes), level))
        # Every fiftieth pause takes hours, up to three days.
        minutes += rng.uniform(5, 110) if rng.random() > 0.02 else rng.uniform(120, 3 * 24 * 60)
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(samples)]
    assert max(gaps) > timedelta(days=1)
    assert alarms(judged(samples, 0)) == []


@pytest.mark.parametrize("step", [timedelta(minutes=5), timedelta(minutes=40), timedelta(minutes=90)])
def test_samples_more_or_less_often_give_the_same_forecast(step: timedelta) -> None:
    count = timedelta(days=12) // step
    samples = [(START + n * step, 500 + (n * step) / HOUR / 2) for n in range(count + 1)]
    found = judge(samples)
    assert found.rate_per_hour == pytest.approx(0.5)
    assert found.hours_left == pytest.approx((SIZE - 644) / 0.5, abs=0.1)


def test_a_jump_across_a_gap_is_not_spread_over_hours_that_nobody_saw() -> None:
    disk, end = Disk(12, low=300, high=500), 24 * 20 + 12
    samples = sampled(lambda at: disk.used(at) + 300 * (at > end - 3), [*range(end - 3), end])
    assert judge(samples).hours_left is None


def test_a_mount_that_was_away_for_days_is_judged_again_when_it_is_back() -> None:
    away = range(24 * 12, 24 * 15)
    samples = sampled(lambda at: 400 + at / 2, [at for at in range(24 * 25) if at not in away])
    first_back = judge(samples[: 24 * 12 + 1])
    assert first_back.verdict == "filling"
    assert judge(samples).hours_left == pytest.approx((SIZE - samples[-1][1]) / 0.5, abs=0.1)


def test_samples_of_a_clock_that_ran_ahead_are_passed_over() -> None:
    samples = sampled(lambda at: 500 + at / 2, range(24 * 12))
    ahead = [(samples[-1][0] + timedelta(days=day), 10.0) for day in (1, 300)]
    assert judge([*ahead, *samples]) == judge(samples)


def test_a_clock_that_is_set_back_an_hour_gives_no_alarm() -> None:
    disk = Disk(13)
    samples = sampled(disk.used, range(24 * 20 + 10))
    again = [(at - HOUR, used) for at, used in sampled(disk.used, range(24 * 20 + 10, 24 * 24))]
    merged = dict(samples) | dict(again)
    both = sorted(merged.items())
    assert alarms(judged(both, 24 * 20)) == []


def test_a_clock_that_jumps_ahead_leaves_nothing_to_compare_with() -> None:
    samples = sampled(lambda at: 500 + at / 2, range(24 * 12))
    found = judge([*samples, (samples[-1][0] + timedelta(days=40), 644.0)])
    assert (found.verdict, found.hours_left, found.samples) == ("insufficient data", None, 1)


@pytest.mark.parametrize(("days", "verdict"), [(0, "insufficient data"), (3, "insufficient data"), (4, "filling")])
def test_three_days_must_have_a_day_before_them(days: int, verdict: str) -> None:
    samples = sampled(lambda at: 500 + at / 2, range(24 * days + 1))
    found = judge(samples)
    assert found.verdict == verdict
    if verdict == "insufficient data":
        assert found.reason == f"{max(0, days - 1)} days can be compared with the day before, 3 are needed"
        assert (found.rate_per_hour, found.hours_left, found.full_at) == (None, None, None)


@pytest.mark.parametrize("daily", [0.0, -24.0, 0.01])
def test_what_does_not_grow_or_fills_in_more_than_a_year_is_steady(daily: float) -> None:
    found = judge(sampled(lambda at: 800 + daily * at / 24, range(24 * 20)))
    assert (found.verdict, found.hours_left, found.full_at) == ("steady", None, None)
    assert "a day (median of 168 hours against the day before); " in found.reason
    assert "in the last three hours" in found.reason


def test_a_full_disk_is_full_whatever_was_before() -> None:
    found = judge([(START, SIZE)])
    assert (found.verdict, found.hours_left, found.full_at) == ("full", 0.0, START)
