"""Rates in percent (0-100) and their uncertainty."""

import math

_Z95 = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""


def percent(part: int, whole: int) -> float:
    """Return `part` of `whole` in percent, rounded to two decimals; 0.0 of nothing."""
    return round(100 * part / whole, 2) if whole else 0.0


def wilson_bounds(part: int, whole: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of `part` of `whole` in percent; 0 to 100 where nothing was observed.

    Wilson, E. B. (1927), "Probable inference, the law of succession, and statistical inference", JASA 22.
    Unlike the normal approximation it stays within 0-100 and is right for small counts.
    """
    if not whole:
        return 0.0, 100.0
    rate, z2 = part / whole, _Z95**2
    centre = rate + z2 / (2 * whole)
    spread = _Z95 * math.sqrt(rate * (1 - rate) / whole + z2 / (4 * whole**2))
    scale = 100 / (1 + z2 / whole)
    return round(max(0.0, (centre - spread) * scale), 2), round(min(100.0, (centre + spread) * scale), 2)
