"""What a plan says of one rule: figures, each with the bounds between which it lies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A number and the bounds between which it lies, with 95 % where it rests on a sample."""

    value: int
    low: int
    high: int | None
    """None: not known."""
    exact: bool = False
    """Counted, not estimated."""

    @classmethod
    def exactly(cls, value: int) -> "Figure":
        return cls(value=value, low=value, high=value, exact=True)

    def told(self) -> dict[str, Any]:
        return {"value": self.value, "low": self.low, "high": self.high, "exact": self.exact}


@dataclass(frozen=True, kw_only=True)
class RulePlan:
    """What one rule would do."""

    name: str
    table: str
    keep: str
    cutoff: datetime
    state: str
    """go | held | refused, as a run would be now."""
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    table_rows: int | None = None
    rows: Figure | None = None
    children: Figure | None = None
    files: Figure | None = None
    """Files that are there; those that a remaining row names too are counted and would stay."""
    bytes: Figure | None = None
    """On disk."""
    oldest: str | None = None
    newest: str | None = None
    stays: Mapping[str, int] = field(default_factory=dict)
    """Reason -> rows of the rule that stay for it."""
    stays_exact: bool = True
    indexes: tuple[str, ...] = ()
    """Indexes by which the rows are found; none: the whole table is read."""

    def told(self) -> dict[str, Any]:
        """Return the plan as plain JSON values."""
        figures = {"rows": self.rows, "children": self.children, "files": self.files, "bytes": self.bytes}
        return {
            "kind": "rows",
            "name": self.name,
            "table": self.table,
            "keep": self.keep,
            "cutoff": self.cutoff.isoformat(),
            "state": self.state,
            "reasons": list(self.reasons),
            "warnings": list(self.warnings),
            "table_rows": self.table_rows,
            **{key: figure.told() if figure is not None else None for key, figure in figures.items()},
            "oldest": self.oldest,
            "newest": self.newest,
            "stays": dict(self.stays),
            "stays_exact": self.stays_exact,
            "indexes": list(self.indexes),
        }


def total(figures: Sequence[Figure]) -> Figure:
    """Return the sum; its bounds are the sums of the bounds."""
    highs = [figure.high for figure in figures]
    return Figure(
        value=sum(figure.value for figure in figures),
        low=sum(figure.low for figure in figures),
        high=None if None in highs else sum(high for high in highs if high is not None),
        exact=all(figure.exact for figure in figures),
    )
