"""What the rows don't say, or say wrongly: how far the figures can be trusted."""

from typing import Any

from app.reporting.facts import Facts
from app.reporting.figures import UNKNOWN


def build(facts: Facts) -> dict[str, Any]:
    """Return numbers of rows that are counted but left out of some figure, and columns the application lacks."""
    figures = facts.figures
    return {
        "no_finish_time": figures.no_finish_time,
        "negative_durations": figures.negative_durations,
        "absurd_times": figures.absurd_times,
        "unknown_status": figures.by_state[UNKNOWN],
        "rows_removed_since": facts.rows_removed,
        "unmapped_columns": list(facts.unmapped),
    }
