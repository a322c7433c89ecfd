"""What the folder rules would remove now, told by a walk over roots that can't remove anything."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from app.core.measures import age_text
from app.core.safe_files import ReadOnlyRoot, view_root
from app.retention.directories import DirectoryPreview
from app.retention.folder_guards import verdict_on
from app.retention.folder_rules import DirectoryRule, directory_rules, only_these
from app.retention.plan import plan_rules
from app.retention.problems import Problems
from app.retention.roots import OpenRoots, open_roots
from app.retention.rule_names import require_known
from app.retention.rule_plan import Figure, RulePlan
from app.retention.rules import row_rules
from app.retention.sweep import Candidate, Figures
from app.retention.workplace import Workplace

_WALK_S = 120.0
"""For all roots together: some ten million files. Beyond, what was seen so far is told as a lower bound."""
_NS = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class FolderPlan:
    """What one folder rule would do in one root."""

    name: str
    root: str
    keep: str
    cutoff: datetime
    state: str
    """go | held, as a run would be now."""
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    files: Figure | None = None
    """None: the root is held and was not looked through."""
    bytes: Figure | None = None
    """On disk."""
    evicted: int = 0
    """Of the files: before their time, because of the cap."""
    root_files: Figure | None = None
    """All files of the root, those of its other rules among them."""
    oldest: str | None = None
    newest: str | None = None
    stays: Mapping[str, int] = field(default_factory=dict)
    """Reason -> files of the rule that stay for it: young, spared, in_use, newest, or why they would be refused."""

    def told(self) -> dict[str, Any]:
        """Return the plan as plain JSON values."""
        figures = {"files": self.files, "bytes": self.bytes, "root_files": self.root_files}
        return {
            "kind": "folder",
            "name": self.name,
            "root": self.root,
            "keep": self.keep,
            "cutoff": self.cutoff.isoformat(),
            "state": self.state,
            "reasons": list(self.reasons),
            "warnings": list(self.warnings),
            **{key: figure.told() if figure is not None else None for key, figure in figures.items()},
            "evicted": self.evicted,
            "oldest": self.oldest,
            "newest": self.newest,
            "stays": dict(self.stays),
        }


def plan_all(place: Workplace, names: Collection[str] | None = None) -> tuple[list[RulePlan], list[FolderPlan]]:
    """Return the plans of all rules of rows and of folders, or of those named.

    Raises BadArgument for an unknown name, DatabaseUnavailable.
    """
    of_rows = [rule.name for rule in row_rules(place.source, place.settings, place.folders)]
    of_folders = [rule.name for rule in _directory_rules(place)]
    require_known(names, [*of_rows, *of_folders])
    chosen = of_rows if names is None else [name for name in of_rows if name in names]
    return plan_rules(place, chosen), plan_folders(place, names)


def plan_folders(place: Workplace, names: Collection[str] | None = None) -> list[FolderPlan]:
    """Return the plans of all folder rules, or of those among the names, root by root.

    Raises DatabaseUnavailable; why a root is held is told with its rules.
    """
    rules = only_these(_directory_rules(place), lambda rule: names is None or rule.name in names)
    problems = Problems()
    with open_roots(view_root, place.database, place.folders, {rule.root for rule in rules}) as roots:
        look = _Look(place, roots, problems)
        return look.plans(rules)


def _directory_rules(place: Workplace) -> list[DirectoryRule]:
    return directory_rules(place.settings, place.active_logs, place.clock.now())


class _Look:
    """One walk over each root."""

    def __init__(self, place: Workplace, roots: OpenRoots[ReadOnlyRoot], problems: Problems) -> None:
        self._place = place
        self._roots = roots
        self._problems = problems
        self._spans: dict[int, tuple[int, int]] = {}

    def plans(self, rules: list[DirectoryRule]) -> list[FolderPlan]:
        preview = DirectoryPreview(self._place, self._roots, self._problems, self._note_age)
        preview.run(rules, self._place.clock.monotonic() + _WALK_S)
        held = {root: self._why_held(preview, rules, root) for root in {rule.root for rule in rules}}
        return [self._plan(preview, figures, held[figures.rule.root]) for figures in preview.figures]

    def _note_age(self, candidate: Candidate) -> None:
        stamp = candidate.figures.rule.stamp_of(candidate.entry)
        oldest, newest = self._spans.get(id(candidate.figures), (stamp, stamp))
        self._spans[id(candidate.figures)] = min(oldest, stamp), max(newest, stamp)

    def _why_held(self, preview: DirectoryPreview, rules: list[DirectoryRule], root: str) -> tuple[str, ...]:
        if root in self._roots.held:
            return (self._roots.held[root],)
        own = [rule for rule in rules if rule.root == root]
        verdict = verdict_on(self._place, own, "RUN", going=preview.going[root], files=preview.files[root])
        return verdict.reasons if verdict is not None else ()

    def _plan(self, preview: DirectoryPreview, figures: Figures, held: tuple[str, ...]) -> FolderPlan:
        rule = figures.rule
        known: dict[str, Any] = {
            "name": rule.name,
            "root": rule.root,
            "keep": age_text(rule.keep),
            "cutoff": datetime.fromtimestamp(rule.before_ns / _NS, UTC),
            "state": "held" if held else "go",
            "reasons": held,
        }
        if figures.state == "held":
            return FolderPlan(**known)
        oldest, newest = self._spans.get(id(figures), (None, None))
        return FolderPlan(
            **known,
            files=_figure(figures.removed, figures),
            bytes=_figure(figures.bytes, figures),
            evicted=figures.evicted,
            root_files=_figure(preview.files[rule.root], figures),
            oldest=_time(oldest),
            newest=_time(newest),
            stays={reason: count for reason, count in sorted(figures.kept.items()) if count},
            warnings=tuple(self._warnings(figures)),
        )

    def _warnings(self, figures: Figures) -> list[str]:
        name = figures.rule.root
        told = [line for line in self._problems.lines() if line.startswith(f"{name}: ")]
        if figures.state == "budget":
            told.append(f"looking through root {name} ended after {_WALK_S:.0f} s; there may be more than was seen")
            if figures.rule.cap is not None:
                told.append("what is above the cap is not known: it takes the sum of all files")
        return told


def _figure(value: int, figures: Figures) -> Figure:
    """A walk that was cut short tells the least."""
    if figures.state == "budget":
        return Figure(value=value, low=value, high=None)
    return Figure.exactly(value)


def _time(stamp_ns: int | None) -> str | None:
    return None if stamp_ns is None else datetime.fromtimestamp(stamp_ns / _NS, UTC).isoformat(timespec="seconds")
