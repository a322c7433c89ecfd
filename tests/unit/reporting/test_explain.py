"""A verdict's computation, printed so that a reader can do it again."""

import math
import re
from datetime import date, timedelta
from statistics import median
from zoneinfo import ZoneInfo

import pytest

from app.core.clock import ManualClock
from app.core.database import Database
from app.core.errors import BadArgument
from app.reporting.explain import Explanation, explain
from app.reporting.rollups import Rollups
from app.reporting.trend import PastDay, trend_analysis

DAY = date(2026, 3, 9)
NUMBER = r"(-?[0-9.]+(?:e[+-]?[0-9]+)?)"


def figures(total: int) -> dict[str, object]:
    return {
        "total_tasks": total,
        "status_breakdown": {"completed": total, "failed": 0},
        "failure_rate": 0.0,
        "average_processing_time": 2.0 if total else None,
        "processing_time": {"count": total},
    }


@pytest.fixture
def rollups(database: Database, clock: ManualClock) -> Rollups:
    return Rollups(database=database, zone=ZoneInfo("Asia/Shanghai"), clock=clock)


def store(rollups: Rollups, totals: list[int]) -> None:
    """Store one day after the other, the last one DAY."""
    for back, total in enumerate(reversed(totals)):
        rollups.store(DAY - timedelta(days=back), figures(total))


def lines_of(told: Explanation, title: str) -> str:
    [lines] = [step.lines for step in told.steps if step.title.startswith(title)]
    return "\n".join(lines)


def number_in(text: str, words: str) -> float:
    found = re.search(f"{words}{NUMBER}", text)
    assert found is not None, text
    return float(found[1])


def test_a_reader_gets_from_the_printed_numbers_to_the_verdict(rollups: Rollups) -> None:
    store(rollups, [1000 + 37 * (day * day % 11) - 300 * (day % 7 > 4) for day in range(56)] + [400])
    told = explain(rollups, DAY, "total_tasks")
    line = [
        (date.fromisoformat(day), float(y))
        for day, y in re.findall(rf"(\S+): {NUMBER}, residual", lines_of(told, "expected"))
    ]
    ages = [((day - DAY).days, y) for day, y in line]
    slope = median((b - a) / (t - s) for n, (s, a) in enumerate(ages) for t, b in ages[n + 1 :])
    level = median(y - slope * age for age, y in ages)
    spread = 1.4826 * median(abs(y - slope * age - level) for age, y in ages)
    factor = number_in(lines_of(told, "expected"), "Monday: [+]?")
    expected = math.expm1(level + factor)
    scale = max(spread, 0.08, 1 / math.sqrt(expected))
    z = (math.log1p(400) - level - factor) / scale
    assert len(ages) == 28
    assert told.verdict["expected"] == pytest.approx(expected, rel=1e-4)
    assert told.verdict["z"] == pytest.approx(z, rel=1e-3)
    assert number_in(lines_of(told, "scale"), "residuals = ") == pytest.approx(spread, abs=2e-6)
    assert lines_of(told, "verdict").splitlines() == [told.verdict["verdict"], told.verdict["reason"]]


def test_it_is_the_verdict_of_the_report(rollups: Rollups) -> None:
    store(rollups, [1000] * 40 + [400])
    days = rollups.load(DAY - timedelta(days=60), DAY)
    past = [PastDay(day=day, figures=days[day]) for day in sorted(days) if day < DAY]
    [reported, *_] = trend_analysis(PastDay(day=DAY, figures=days[DAY]), past)["verdicts"]
    assert explain(rollups, DAY, "total_tasks").verdict == reported


@pytest.mark.parametrize(("days", "title"), [(8, "expected: seven-day median"), (15, "expected: same weekday")])
def test_the_simple_methods_are_printed_too(rollups: Rollups, days: int, title: str) -> None:
    store(rollups, [1000] * days + [400])
    told = explain(rollups, DAY, "total_tasks")
    assert number_in(lines_of(told, title), "their median = ") == pytest.approx(math.log1p(1000), abs=1e-6)


def test_unusual_days_and_level_shifts_are_named(rollups: Rollups) -> None:
    store(rollups, [1000] * 30 + [0] + [1000] * 3 + [3000] * 6 + [3000])
    told = lines_of(explain(rollups, DAY, "total_tasks"), "history")
    assert re.search(r"2026-02-27 Friday: y = \S+, unusual and left out", told)
    assert re.search(r"level shift on 2026-03-03: \+1\.09\d+ is contained in every y before it", told)


def test_a_day_with_too_little_history_says_so(rollups: Rollups) -> None:
    store(rollups, [1000] * 3)
    told = explain(rollups, DAY, "failed")
    assert [step.title.partition(":")[0] for step in told.steps] == ["value", "history", "verdict"]
    assert told.steps[-1].lines == ("insufficient data", "fewer than 7 days of history")


def test_an_empty_day_has_no_rate_to_explain(rollups: Rollups) -> None:
    store(rollups, [1000] * 30 + [0])
    assert lines_of(explain(rollups, DAY, "failure_rate"), "value") == "failure_rate of 2026-03-09: none"


def test_what_is_not_there_is_refused_with_the_next_step(rollups: Rollups) -> None:
    with pytest.raises(BadArgument, match=r"no series 'totl_tasks'.*total_tasks"):
        explain(rollups, DAY, "totl_tasks")
    with pytest.raises(BadArgument, match="gengfu report backfill --from 2026-03-09 --to 2026-03-09"):
        explain(rollups, DAY, "total_tasks")
