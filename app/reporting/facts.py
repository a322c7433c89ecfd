"""What a section of the report may use."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from app.reporting.figures import DayFigures


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything known about the day."""

    day: date
    start: datetime
    end: datetime
    figures: DayFigures
    trend: Mapping[str, Any]
    system: Mapping[str, Any]
    """Disk, queues and resources, as the caller found them."""
    unmapped: tuple[str, ...]
    """Columns that the report uses and the application does not have."""
    rows_removed: int
    """Rows deleted since the day was first counted."""

    @property
    def hours(self) -> float:
        """Length of the day: 24, or 23 or 25 when the clocks change."""
        return (self.end - self.start).total_seconds() / 3600
