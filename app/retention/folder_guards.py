"""What makes the folder rules of a root stop before their first removal and ask: a large part of its files at once.

A root is judged as a whole: what one of its rules spares no other may take, so that none may run without the rest.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import Any

from app.core.errors import PathRefused, RootRefused
from app.core.safe_files import ReadOnlyRoot
from app.retention.directories import sweep_of
from app.retention.folder_rules import DirectoryRule
from app.retention.guards import covers, differing_clocks
from app.retention.problems import Problems
from app.retention.roots import AnyRoot, OpenRoots
from app.retention.rule_runs import KEPT, RuleRun, RuleRuns, open_approval, runs_that_went
from app.retention.sweep import Figures
from app.retention.verdict import Reason, Verdict
from app.retention.workplace import Workplace

_ByRoot = attrgetter("root")


def name_of_root(root: str) -> str:
    """Return the name by which the runs of a root's folder rules are remembered and approved."""
    # No row rule has a colon in its name.
    return f"folders:{root}"


@dataclass(frozen=True, kw_only=True)
class _RootRules:
    """The folder rules of one root, under the name by which their runs are remembered."""

    root: str
    rules: Sequence[DirectoryRule]

    @property
    def name(self) -> str:
        return name_of_root(self.root)

    def told(self) -> dict[str, Any]:
        """Return what decides which files go, as plain JSON values."""
        return {
            rule.name: [
                rule.is_bystander,
                rule.keep.total_seconds(),
                rule.any_stamp,
                rule.keep_newest,
                rule.cap,
                rule.low_water,
            ]
            for rule in self.rules
        }


@dataclass(kw_only=True)
class FolderGuards:
    """Decides about the folder rules of one run and writes down what was decided."""

    place: Workplace
    run_id: str
    problems: Problems
    held: list[Figures] = field(default_factory=list)
    """Of rules that may not run."""
    _begun: list[str] = field(default_factory=list)

    def let_pass(
        self, rules: Sequence[DirectoryRule], roots: OpenRoots[AnyRoot], until: float = float("inf"), *, write: bool
    ) -> list[DirectoryRule]:
        """Return the rules that may run; with `write` the decision is remembered, and an approval used up.

        Raises DatabaseUnavailable, DatabaseBusy.
        """
        guards = self.place.settings.guards
        passed: list[DirectoryRule] = []
        for group in _by_root(rules):
            root = roots.ready.get(group.root)
            verdict = _judge(self.place, root, group, self.run_id, until) if root and guards.enabled else None
            if verdict is not None and write:
                self._write_down(group, verdict)
            if verdict is None or verdict.state == "go":
                passed += group.rules
            else:
                self._hold(group, verdict)
        return passed

    def finish(self, figures: Sequence[Figures]) -> None:
        """Write down how the rules that were let pass ended. Raises DatabaseUnavailable, DatabaseBusy."""
        runs = RuleRuns(self.place.database, self.place.clock)
        for root in self._begun:
            own = [one for one in figures if one.rule.root == root]
            state = own[0].state if own else "partial"
            runs.finish(
                self.run_id,
                name_of_root(root),
                state,
                files=sum(one.removed for one in own),
                freed=sum(one.bytes for one in own),
            )

    def _write_down(self, group: _RootRules, verdict: Verdict) -> None:
        runs = RuleRuns(self.place.database, self.place.clock)
        runs.begin(self.run_id, group, self.place.clock.now(), verdict)
        if verdict.state == "go":
            self._begun.append(group.root)

    def _hold(self, group: _RootRules, verdict: Verdict) -> None:
        reasons = list(verdict.reasons)
        asked = (rule for rule in group.rules if not rule.is_bystander)
        self.held += [Figures(rule=rule, state="held", reasons=reasons) for rule in asked]
        for reason in verdict.reasons:
            self.problems.add(f"{group.name}: {reason}")


def _judge(place: Workplace, root: ReadOnlyRoot, group: _RootRules, run_id: str, until: float) -> Verdict | None:
    """Return the verdict about a root; None where too few files would go for one and the clocks agree."""
    sweep = sweep_of(place, root, group.rules, _told_later, until)
    try:
        going = sum(len(batch) for batch in sweep.batches())
    except RootRefused:
        return None  # the engine meets the same, and says so
    return _verdict(place, group, run_id, going, sweep.files)


def verdict_on(
    place: Workplace, rules: Sequence[DirectoryRule], run_id: str, *, going: int, files: int
) -> Verdict | None:
    """Return the verdict about the rules of one root that would remove `going` of its `files`; None: they may run.

    Raises DatabaseUnavailable, DatabaseBusy.
    """
    if not place.settings.guards.enabled:
        return None
    return _verdict(place, _RootRules(root=rules[0].root, rules=rules), run_id, going, files)


def _verdict(place: Workplace, group: _RootRules, run_id: str, going: int, files: int) -> Verdict | None:
    limits = place.settings.guards
    if not going:
        return None
    with place.database.read() as connection:
        # Ages of files are told by the host's clock alone: one that is years ahead makes everything old.
        found = tuple(differing_clocks(connection, place.clock.now(), limits))
        if not found and going <= limits.folder_files:
            return None
        went = runs_that_went(connection, group.name, KEPT)
        approval = open_approval(connection, group.name)
    if going > limits.folder_files and going > limits.folder_share * files and not _did_the_like(went, going, place):
        text = (
            f"would remove {going:,} of the {files:,} files of root {group.root} "
            f"({100 * going / files:.0f} %); more than {100 * limits.folder_share:g} % and "
            f"{limits.folder_files:,} files, and no earlier run did the like"
        )
        found += (Reason(code="folder_share", text=text),)
    verdict = Verdict(
        state="held" if found else "go",
        found=found,
        run_id=run_id,
        expired=going,
        table_rows=files,
        rule_seen=group.told(),
        approval=approval.run_id if approval is not None else None,
    )
    return verdict.let_go() if approval is not None and covers(approval, verdict, found) else verdict


def _did_the_like(went: Sequence[RuleRun], going: int, place: Workplace) -> bool:
    """An earlier run also took more than the share, and at least a third (by default) as many files."""
    limits = place.settings.guards
    return any(
        (run.expired or 0) > limits.folder_share * (run.table_rows or 0)
        and (run.expired or 0) * limits.times_usual >= going
        for run in went
    )


def _by_root(rules: Sequence[DirectoryRule]) -> Iterator[_RootRules]:
    for root, group in groupby(sorted(rules, key=_ByRoot), key=_ByRoot):
        yield _RootRules(root=root, rules=list(group))


def _told_later(_refusal: PathRefused) -> None:
    """Take no notice: the removal walks again and tells it."""
