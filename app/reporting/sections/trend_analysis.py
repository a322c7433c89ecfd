"""The day against the seven days before it."""

from typing import Any

from app.reporting.facts import Facts


def build(facts: Facts) -> dict[str, Any]:
    """Return the comparison that `trend.trend_analysis` made."""
    return dict(facts.trend)
