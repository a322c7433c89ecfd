"""Where a running beat leaves its sign of life, for `status` to read without broker or database."""

from pathlib import Path

TICK_LIMIT_S = 30.0
"""A beat whose scheduling thread did not tick for this long is not believed (it ticks at least every 5 s)."""
MOST_BEATS = 9
"""Beats of one home on one machine: a leader and stand-bys."""


def beat_lock_paths(var: Path) -> list[Path]:
    """Return the lock files that the beats of a home hold, the first one's first."""
    return [
        var / "run" / ("beat.lock" if number == 1 else f"beat-{number}.lock") for number in range(1, MOST_BEATS + 1)
    ]
