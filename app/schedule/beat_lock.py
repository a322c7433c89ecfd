"""Where a running beat leaves its sign of life, for `status` to read without broker or database."""

from pathlib import Path

TICK_LIMIT_S = 30.0
"""A beat whose scheduling thread did not tick for this long is not believed (it ticks at least every 5 s)."""


def beat_lock_path(var: Path) -> Path:
    """Return the lock file that exactly one beat of a GENGFU_HOME holds."""
    return var / "run" / "beat.lock"
