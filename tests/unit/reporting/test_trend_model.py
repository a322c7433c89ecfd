"""What a day should have been: the cut-offs of the model, and its rates of false alarms and of finds."""

import math
import random
from datetime import date
from statistics import median

import pytest

from app.reporting.series import SERIES, Sample
from app.reporting.trend_model import (
    FEW_DAYS,
    FEW_UNITS,
    NO_VALUE,
    OUTSIDE,
    SHIFTED,
    SMALL_CHANGE,
    WITHIN,
    History,
    Judgement,
    judge,
    to_y,
)

MONDAY = date(2026, 1, 5).toordinal()
WEEK = (1.0, 1.05, 1.0, 0.98, 0.95, 0.5, 0.4)
"""Shares of the weekdays in the simulated series."""


def sample(x: float) -> Sample:
    return Sample(x=x)


def history(values: list[float]) -> History:
    """Days from a Monday on, none of them judged."""
    known = History()
    known.known = {MONDAY + number: to_y(value) for number, value in enumerate(values)}
    return known


def judged(values: list[float], x: float) -> Judgement:
    return judge(history(values), MONDAY + len(values), sample(x))


def simulated(rng: random.Random, days: int, noise: float = 0.12) -> list[int]:
    """Some 1,200 tasks on a working day, growing slowly, with quiet weekends, log-normal and counting noise."""
    base = 1200 * rng.uniform(0.8, 1.2)
    means = [base * WEEK[day % 7] * math.exp(0.001 * day + rng.gauss(0, noise)) for day in range(days)]
    return [max(0, round(rng.gauss(mean, math.sqrt(mean)))) for mean in means]


def test_the_model_seldom_cries_wolf_and_finds_halved_days_and_all_zero_days() -> None:
    rng = random.Random(20260309)
    told = found = zeros = days = 0
    for _ in range(12):
        past = History()
        for number, x in enumerate(simulated(rng, 110)):
            day = MONDAY + number
            found_today = judge(past, day, sample(x))
            if found_today.band is not None and found_today.band.fit.method == "trend":
                days += 1
                told += found_today.sign != 0
                found += judge(past, day, sample(x / 2)).sign < 0
                zeros += judge(past, day, sample(0)).sign < 0
            past.add(day, to_y(x), found_today)
    assert days > 1000
    assert told / days <= 0.02
    assert found / days >= 0.6
    assert zeros == days


@pytest.mark.parametrize(
    ("known", "method"),
    [
        (7, "seven-day median"),
        (10, "seven-day median"),
        (13, "seven-day median"),
        (14, "same weekday"),
        (20, "same weekday"),
    ],
)
def test_young_series_seldom_cry_wolf_either_and_notice_when_all_stops(known: int, method: str) -> None:
    rng = random.Random(known)
    found = []
    for _ in range(60):
        *past, x = simulated(rng, known + 1)
        found.append((judged(past, x), judged(past, 0)))
    assert {one.band.fit.method for pair in found for one in pair if one.band} == {method}
    assert sum(usual.sign != 0 for usual, _ in found) <= 1
    assert all(stopped.sign == -1 for _, stopped in found)


@pytest.mark.parametrize(
    ("days", "method"),
    [
        (6, None),
        (7, "seven-day median"),
        (13, "seven-day median"),
        (14, "same weekday"),
        (20, "same weekday"),
        (21, "trend"),
    ],
)
def test_the_number_of_known_days_chooses_the_method(days: int, method: str | None) -> None:
    found = judged([100.0] * days, 100)
    assert (None if found.band is None else found.band.fit.method) == method
    assert found.n_history == days
    if method is None:
        assert (found.verdict, found.reason) == ("insufficient data", FEW_DAYS)


def test_only_the_last_fifty_six_days_count() -> None:
    assert judged([9_000.0] * 30 + [100.0] * 56, 100).n_history == 56
    assert judged([9_000.0] * 30 + [100.0] * 56, 100).verdict == "normal"


def test_a_day_without_a_value_gets_no_verdict() -> None:
    found = judge(history([100.0] * 30), MONDAY + 30, None)
    assert (found.verdict, found.reason, found.n_history) == ("insufficient data", NO_VALUE, 30)


def test_weekdays_growth_and_level_of_a_series_without_noise_are_found_exactly() -> None:
    values = [math.expm1(math.log(1000 * WEEK[day % 7]) + 0.01 * day) for day in range(56)]
    for ahead in range(3):
        found = judge(history(values), MONDAY + 56 + ahead, sample(0)).band
        assert found is not None
        assert found.fit.slope == pytest.approx(0.01, abs=2e-3)
        wanted = math.log(1000 * WEEK[ahead]) + 0.01 * (56 + ahead)
        assert found.fit.y_expected == pytest.approx(wanted, abs=0.06)


def test_the_fit_is_what_its_formulas_say() -> None:
    rng = random.Random(4)
    ys = [to_y(x) for x in simulated(rng, 56)]
    band = judge(history([math.expm1(y) for y in ys]), MONDAY + 56, sample(700)).band
    assert band is not None
    around = {day: ys[day] - median(ys[day - 3 : day + 4]) for day in range(3, 53)}
    factor = [median(off for day, off in around.items() if day % 7 == weekday) for weekday in range(7)]
    line = [(day - 56, ys[day] - factor[day % 7]) for day in range(28, 56)]
    slope = median((b - a) / (t - s) for n, (s, a) in enumerate(line) for t, b in line[n + 1 :])
    level = median(y - slope * age for age, y in line)
    spread = 1.4826 * median(abs(y - level - slope * age) for age, y in line)
    expected = math.expm1(level + factor[0])
    scale = max(spread, 0.08, 1 / math.sqrt(expected))
    assert (band.fit.slope, band.fit.level) == pytest.approx((slope, level))
    assert (band.expected, band.scale) == pytest.approx((expected, scale))
    assert band.z == pytest.approx((to_y(700) - level - factor[0]) / scale)


def test_no_series_is_trusted_to_be_quieter_than_eight_percent() -> None:
    found = judged([100_000.0] * 56, 100_000)
    assert found.band is not None
    assert found.band.scale == 0.08
    limit = math.expm1(to_y(100_000) + 4 * 0.08)
    assert judged([100_000.0] * 56, limit * 0.999).verdict == "normal"
    assert judged([100_000.0] * 56, limit * 1.001).verdict == "anomaly"


def test_the_noise_of_counting_widens_the_band_of_few_tasks() -> None:
    found = judged([25.0] * 56, 25)
    assert found.band is not None
    assert found.band.scale == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("x", "verdict", "reason"),
    [(3, "normal", WITHIN), (11, "normal", FEW_UNITS), (12, "normal", FEW_UNITS), (13, "anomaly", OUTSIDE)],
)
def test_a_change_of_less_than_ten_units_is_no_anomaly(x: float, verdict: str, reason: str) -> None:
    known = judge(history([3.0] * 56), MONDAY + 56, Sample(x=x, tasks=1e6))
    assert (known.verdict, known.reason) == (verdict, reason)


@pytest.mark.parametrize(("share", "verdict"), [(1.19, "normal"), (1.21, "anomaly")])
def test_a_change_of_less_than_twenty_percent_is_no_anomaly(
    monkeypatch: pytest.MonkeyPatch, share: float, verdict: str
) -> None:
    monkeypatch.setattr("app.reporting.trend_model.LEAST_SCALE", 0.01)
    found = judged([100_000.0] * 56, 100_000 * share)
    assert (found.verdict, found.reason) == (verdict, SMALL_CHANGE if verdict == "normal" else OUTSIDE)


@pytest.mark.parametrize("level", [0.0, 3.0, 25.0, 400.0, 90_000.0])
def test_the_band_says_where_the_verdict_turns(level: float) -> None:
    band = judged([level] * 56, level).band
    assert band is not None
    step = 0.001 * (1 + level)
    assert judged([level] * 56, band.upper - step).verdict == "normal"
    assert judged([level] * 56, band.upper + step).verdict == "anomaly"
    if band.lower > 0:
        assert judged([level] * 56, band.lower + step).verdict == "normal"
        assert judged([level] * 56, band.lower - step).verdict == "anomaly"


def follow(values: list[float], known: int = 40, level: float = 1000.0) -> list[Judgement]:
    """Judge one day after the other behind `known` quiet days."""
    past, found = history([level] * known), []
    for number, x in enumerate(values):
        day = MONDAY + known + number
        found.append(judge(past, day, sample(x)))
        past.add(day, to_y(x), found[-1])
    return found


def test_five_unusual_days_of_one_sign_are_a_level_shift_told_once() -> None:
    found = follow([3000.0] * 12)
    assert [one.verdict for one in found] == [*["anomaly"] * 4, "level shift", *["normal"] * 7]
    assert found[4].reason == SHIFTED
    after = found[5].band
    assert after is not None
    assert after.expected == pytest.approx(3000)


def test_four_unusual_days_are_no_level_shift_and_leave_the_history_as_it_was() -> None:
    found = follow([3000.0] * 4 + [1000.0] * 3)
    assert [one.verdict for one in found] == [*["anomaly"] * 4, *["normal"] * 3]
    assert found[-1].n_history == 40 + 2


def test_unusual_days_of_both_signs_are_no_level_shift() -> None:
    found = follow([3000.0, 3000.0, 3000.0, 3000.0, 100.0, 3000.0])
    assert {one.verdict for one in found} == {"anomaly"}


def test_a_usual_day_between_unusual_ones_begins_the_count_anew() -> None:
    found = follow([3000.0] * 3 + [1000.0] + [3000.0] * 4)
    assert "level shift" not in {one.verdict for one in found}


def test_weekdays_outlive_a_level_shift() -> None:
    values = [1000 * WEEK[day % 7] for day in range(84)]
    past = History()
    verdicts = []
    for number, x in enumerate([*values, *(3 * x for x in values[:21])]):
        found = judge(past, MONDAY + number, sample(x))
        past.add(MONDAY + number, to_y(x), found)
        verdicts.append(found.verdict)
    assert verdicts[84:] == [*["anomaly"] * 4, "level shift", *["normal"] * 16]


def figures(total: int, failed: int, mean: float | None) -> dict[str, object]:
    rate = round(100 * failed / total, 2) if total else 0.0
    states = {"completed": total - failed, "failed": failed}
    times = {"count": 0 if mean is None else total}
    return {
        "total_tasks": total,
        "status_breakdown": states,
        "failure_rate": rate,
        "average_processing_time": mean,
        "processing_time": times,
    }


def test_every_series_takes_its_sample_in_its_unit() -> None:
    day = figures(1200, 60, 0.25)
    found = {name: series.sample(day) for name, series in SERIES.items()}
    assert {name: one.x for name, one in found.items() if one} == {
        "total_tasks": 1200,
        "completed": 1140,
        "failed": 60,
        "failure_rate": 5.0,
        "average_processing_time": 250.0,
    }


def test_a_day_without_tasks_has_no_rate_and_no_time_but_counts() -> None:
    found = {name: series.sample(figures(0, 0, None)) for name, series in SERIES.items()}
    assert {name for name, one in found.items() if one is None} == {"failure_rate", "average_processing_time"}


@pytest.mark.parametrize(("total", "failed", "verdict"), [(1200, 96, "anomaly"), (60, 9, "normal"), (20, 8, "normal")])
def test_a_failure_rate_counts_by_the_tasks_behind_it(total: int, failed: int, verdict: str) -> None:
    series = SERIES["failure_rate"]
    past = history([2.0] * 56)
    found = judge(past, MONDAY + 56, series.sample(figures(total, failed, None)))
    assert found.verdict == verdict
