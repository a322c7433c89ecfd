"""What is decided about a rule before its first delete."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

NEVER_APPROVED = frozenset({"empty_rule", "cutoff"})
"""Reasons that no approval lets pass: the rule can't be meant as it stands."""


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why a rule does not run: a constant word to compare and a line to read."""

    code: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a rule may run now, with the figures that decided."""

    state: Literal["go", "held", "refused"]
    """`held`: it looks wrong and a person may let it pass; `refused`: something must be mended before."""
    found: tuple[Reason, ...] = ()
    """Also of a run that an approval let pass."""
    run_id: str = ""
    expired: int | None = None
    """Rows that the rule covers; where `expired_is_bound`, at least so many. Damaged rows may be counted with them."""
    expired_is_bound: bool = False
    likely: int | None = None
    """Rows that it covers as the planner guesses, where it guesses more than the bound."""
    usual: float | None = None
    """Median of the rows that the last seven runs covered; None without earlier runs."""
    table_rows: int | None = None
    """Exact for small tables, else the database's estimate."""
    columns_seen: str | None = None
    rule_seen: Mapping[str, Any] = field(default_factory=dict)
    approval: str | None = None
    """The held run whose approval was looked at, whether or not it let this one pass: it is used up."""
    warnings: tuple[str, ...] = ()
    """What the preflight tells without refusing."""

    def let_go(self) -> "Verdict":
        """Return the verdict as an approval makes it."""
        return replace(self, state="go")

    @property
    def reasons(self) -> tuple[str, ...]:
        """One line for each reason of not running, the last one telling what to do; empty when it goes."""
        if self.state == "go":
            return ()
        lines = tuple(reason.text for reason in self.found)
        if self.state == "refused" or any(reason.code in NEVER_APPROVED for reason in self.found):
            return lines
        return (*lines, f"if this is right let it pass once: `gengfu retention approve {self.run_id}`")
