"""Percentages and Wilson's interval."""

import pytest

from app.reporting.rates import percent, wilson_bounds


def test_a_rate_is_percent_with_two_decimals() -> None:
    assert (percent(1100, 1250), percent(1, 3), percent(0, 5), percent(5, 5)) == (88.0, 33.33, 0.0, 100.0)


def test_a_rate_of_nothing_is_zero() -> None:
    assert percent(0, 0) == 0.0


@pytest.mark.parametrize(
    ("part", "whole", "bounds"),
    # Newcombe, "Two-sided confidence intervals for the single proportion" (1998), table I, method 3.
    [(81, 263, (25.53, 36.62)), (15, 148, (6.24, 16.05)), (0, 20, (0.0, 16.11)), (1, 29, (0.61, 17.18))],
)
def test_wilsons_interval_agrees_with_published_figures(part: int, whole: int, bounds: tuple[float, float]) -> None:
    assert wilson_bounds(part, whole) == bounds


def test_nothing_observed_means_nothing_known() -> None:
    assert wilson_bounds(0, 0) == (0.0, 100.0)


def test_the_bounds_never_leave_zero_to_hundred_and_always_hold_the_rate() -> None:
    for whole in range(1, 60):
        for part in range(whole + 1):
            lower, upper = wilson_bounds(part, whole)
            assert 0 <= lower <= percent(part, whole) <= upper <= 100
