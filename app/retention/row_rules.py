"""All row rules of one clean-up: each is judged, worked off, told and written down, whatever becomes of the others."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from sqlalchemy.exc import DBAPIError

from app.core.errors import DatabaseBusy, DatabaseRefused, DatabaseUnavailable, SchemaMismatch
from app.core.safe_files import Root
from app.retention.guards import Verdict, judge
from app.retention.lock import Flight
from app.retention.presence import why_refused
from app.retention.problems import Problems
from app.retention.remaining import Kept, kept_by
from app.retention.roots import OpenRoots
from app.retention.rows import RowEngine, RuleFacts
from app.retention.rule_runs import RuleRuns
from app.retention.rules import RowRule
from app.retention.tally import Tally, rule_key
from app.retention.workplace import Workplace

_QUIET = frozenset({"done", "budget"})
"""Ends that need nobody's attention."""


class RowRules:
    """The rules of a run, and what came of each."""

    def __init__(
        self, place: Workplace, rules: Sequence[RowRule], now: datetime, run_id: str, problems: Problems
    ) -> None:
        """Take the rules to work off; `now` is the database's clock, frozen."""
        self._place = place
        self._now = now
        self._run_id = run_id
        self._problems = problems
        self._runs = RuleRuns(place.database, place.clock)
        self._begun: list[RuleFacts] = []
        self._told: set[str] = set()
        self.facts = [RuleFacts(rule=rule, cutoff=now - rule.keep) for rule in rules]

    @property
    def deleted(self) -> Counter[str]:
        """Table -> rows that this run deleted."""
        return sum((facts.by_table for facts in self.facts), Counter())

    def run(self, roots: OpenRoots[Root], tally: Tally, flight: Flight, until: float) -> None:
        """Work off every rule that may run, until the monotonic instant `until`."""
        engine = RowEngine(self._place, roots, tally, flight)
        for facts in self.facts:
            # Before it is judged: an approval must not be used up by a run that does nothing.
            if engine.may_begin(facts, until) and self._may_run(facts, roots.held, write=True):
                self._begun.append(facts)
                name = facts.rule.name
                self._place.on_stage(
                    tally.stage("rule", name, (rule_key(name, "rows"),), facts.expected, facts.expected_is)
                )
                engine.run(facts, until)
            self._tell(facts)

    def preview(self, held: Mapping[str, str]) -> dict[str, tuple[RowRule, datetime]]:
        """Return rule and cutoff of every rule that would run now; nothing is written."""
        going = {f.rule.name: (f.rule, f.cutoff) for f in self.facts if self._may_run(f, held, write=False)}
        for facts in self.facts:
            self._tell(facts)
        return going

    def finish(self, tally: Tally) -> None:
        """Write down how each rule ended, now that its files are gone too. Raises DatabaseBusy, DatabaseUnavailable."""
        for facts in self._begun:
            rows, children, files, freed = (
                # What a killed run did is told by its own record.
                tally.counts[rule_key(facts.rule.name, what)] - tally.carried[rule_key(facts.rule.name, what)]
                for what in ("rows", "children", "files", "bytes")
            )
            self._runs.finish(
                self._run_id, facts.rule.name, facts.state, rows=rows, children=children, files=files, freed=freed
            )

    def kept(self) -> Iterator[tuple[RuleFacts, Kept]]:
        """Yield each rule with what it left. Raises DatabaseBusy, DatabaseUnavailable."""
        for facts in self.facts:
            try:
                yield facts, kept_by(self._place.database, facts.rule, facts.cutoff)
            except (SchemaMismatch, DatabaseRefused):
                yield facts, Kept()  # the reason for which it was refused
            except DBAPIError:
                # A column of another type can't even be counted by.
                if facts.state not in {"refused", "failed"}:
                    raise
                yield facts, Kept()

    def _may_run(self, facts: RuleFacts, held: Mapping[str, str], *, write: bool) -> bool:
        try:
            self._judge(facts, held, write=write)
        except DatabaseBusy as error:
            facts.ended("contended", str(error))
        except (SchemaMismatch, DatabaseRefused) as error:
            facts.ended("refused", str(error))
        except DatabaseUnavailable as error:
            facts.ended("failed", str(error))
        except DBAPIError as error:
            facts.ended("failed", f"{facts.rule.table_name} can't be looked at: {' '.join(str(error.orig).split())}")
        return facts.state == "done"

    def _judge(self, facts: RuleFacts, held: Mapping[str, str], *, write: bool) -> None:
        rule = facts.rule
        if why := why_refused(self._place.database, rule):
            facts.ended("refused", why)
            return
        # Without a root the files of its rows could not be written down and would be nobody's: no row goes.
        if roots := sorted({file.root for file in rule.all_files} & held.keys()):
            facts.ended("held", f"its files need the root {', '.join(roots)}, which is held")
            facts.by_root = True
            return
        verdict = judge(self._place, rule, self._now, self._run_id)
        if write:
            self._runs.begin(self._run_id, rule, facts.cutoff, verdict)
        self._take(facts, verdict)

    def _take(self, facts: RuleFacts, verdict: Verdict) -> None:
        facts.usual = verdict.usual
        facts.expected = verdict.likely or verdict.expired
        if verdict.expired_is_bound:
            facts.expected_is = "bound" if verdict.likely is None else "estimate"
        most = facts.rule.max_rows
        if most is not None and facts.expected is not None and most <= facts.expected:
            facts.expected, facts.expected_is = most, "exact" if most <= (verdict.expired or 0) else facts.expected_is
        for reason in verdict.reasons:
            facts.ended(verdict.state, reason)

    def _tell(self, facts: RuleFacts) -> None:
        """Each reason once; what holds a root is told of the root."""
        if facts.state in _QUIET or facts.by_root:
            return
        for reason in facts.reasons:
            if reason not in self._told:
                self._told.add(reason)
                self._problems.add(f"rule {facts.rule.name}: {reason}")
