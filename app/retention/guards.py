"""What makes a rule stop before its first delete and ask: too much, unlike before, or at a time that can't be right.

Small tables are never held for their share, their age or their emptiness: an ordinary first run just works. All is
counted in one read-only transaction that locks nothing, by the indexes the deletion needs anyway: to bounds, and to the
end where a person is asked.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, literal, or_, select, true
from sqlalchemy.exc import DBAPIError

from app.core.errors import SchemaMismatch
from app.retention.counting import EXACT, any_row, at_most, estimated, table_rows
from app.retention.expiry import expired, expired_in, frozen_now, passes
from app.retention.preflight import fingerprint, look, other_names, remarks
from app.retention.remembered import recalled, remembered
from app.retention.rule_runs import KEPT, RuleRun, open_approval, runs_that_went
from app.retention.rule_settings import SHORTEST, GuardSettings
from app.retention.rules import RowRule
from app.retention.verdict import NEVER_APPROVED, Reason, Verdict
from app.retention.workplace import Workplace

__all__ = ["Verdict", "covers", "differing_clocks", "judge"]

_SCAN_S = 600.0
_USUAL_RUNS = 7
_NEWEST = 1000
"""Rows with the highest keys that are asked whether anything young or lasting is among them."""
_NEARLY_ALL = 0.9
_MOST_GROWTH = 2
"""An approval covers at most so many times the rows that were held."""
_ALL = 2**62
_LAST_DAY = datetime(9999, 12, 31, tzinfo=UTC)
"""Later than that stand `infinity` and, on SQLite, what is no time at all."""


def judge(place: Workplace, rule: RowRule, now: datetime, run_id: str) -> Verdict:
    """Decide whether a rule may run; `now` is the database's clock as the run has frozen it.

    Nothing is written or locked: `RuleRuns.begin` writes the verdict down. Raises DatabaseUnavailable, DatabaseBusy.
    """
    seen = remembered(rule)
    if impossible := tuple(_impossible(rule, now, place)):
        return Verdict(state="held", found=impossible, run_id=run_id, rule_seen=seen)
    with place.database.read(deadline_s=_SCAN_S) as connection:
        facts = look(connection, rule)
        told = remarks(rule, facts, place.settings, connection.dialect.name)
        told += other_names(connection, rule, facts, place.source)
        warnings = tuple(remark.text for remark in told if remark.level == "warning")
        if refused := tuple(Reason(code=r.code, text=r.text) for r in told if r.level == "refused"):
            return Verdict(state="refused", found=refused, run_id=run_id, rule_seen=seen, warnings=warnings)
        figures = _Figures.heard(connection, place, rule, now)
        approval = open_approval(connection, rule.name)
        verdict = Verdict(
            state="go",
            run_id=run_id,
            expired=figures.expired,
            expired_is_bound=figures.is_bound,
            likely=figures.likely(),
            approval=approval.run_id if approval is not None else None,
            usual=_usual(figures.went) if figures.went else None,
            table_rows=figures.table_rows,
            columns_seen=fingerprint(rule, facts),
            rule_seen=seen,
            warnings=warnings,
        )
        if not place.settings.guards.enabled:
            return verdict
        found = tuple(_reasons(place, verdict, figures))
        if figures.is_bound and (found or approval is not None):
            # Who approves approves a figure: a bound would cover any number above it.
            figures = figures.to_the_end()
            verdict = replace(verdict, expired=figures.expired, expired_is_bound=False, likely=None)
            found = tuple(_reasons(place, verdict, figures))
    held = bool(found) and not (approval is not None and covers(approval, verdict, found))
    return replace(verdict, state="held" if held else "go", found=found)


def _reasons(place: Workplace, verdict: Verdict, figures: "_Figures") -> Iterator[Reason]:
    yield from figures.reasons(verdict, place.clock.now())
    yield from _uncounted(place, figures.rule, figures.now)
    yield from _changed_rule(place, verdict, figures)


def _uncounted(place: Workplace, rule: RowRule, now: datetime) -> Iterator[Reason]:
    """What is deleted before it was counted makes every later look at its day better than it was."""
    if why := place.uncounted(rule.table_name, now - rule.keep):
        yield Reason(code="uncounted", text=why)


def _impossible(rule: RowRule, now: datetime, place: Workplace) -> Iterator[Reason]:
    if rule.status is not None and not rule.words:
        yield Reason(
            code="empty_rule",
            text=f"no status word of {rule.table_name}.{rule.status.name} is left that may go; name them, or switch "
            f"the rule {rule.name} off",
        )
    cutoff, host_now = now - rule.keep, place.clock.now()
    clocks_agree = abs((host_now - now).total_seconds()) <= place.settings.guards.clock_s
    latest = now if clocks_agree else min(now, host_now)
    if cutoff > latest - SHORTEST:
        yield Reason(
            code="cutoff",
            text=f"the cutoff {_time(cutoff)} is not even an hour before {_time(latest)}; set the clocks of host and "
            "database right",
        )


def covers(approval: RuleRun, verdict: Verdict, found: tuple[Reason, ...]) -> bool:
    """An approval lets pass what was looked at: the same rule, columns and reasons, and not many more rows."""
    codes = {reason.code for reason in found}
    return (
        approval.rule_seen == verdict.rule_seen
        and approval.columns_seen == verdict.columns_seen
        and codes <= approval.codes - NEVER_APPROVED
        and (verdict.expired or 0) <= _MOST_GROWTH * (approval.expired or 0)
    )


def differing_clocks(connection: Connection, host_now: datetime, guards: GuardSettings) -> Iterator[Reason]:
    """Yield the reason for holding a rule where the clocks of host and database differ."""
    apart = abs((host_now - frozen_now(connection)).total_seconds())
    if apart > guards.clock_s + 1:  # the database's clock is read in whole seconds
        yield Reason(
            code="clocks",
            text=f"the clocks of host and database differ by {apart:,.0f} s, more than {guards.clock_s} s; "
            "set both right",
        )


@dataclass(frozen=True, kw_only=True)
class _Figures:
    """The figures of one rule."""

    connection: Connection
    rule: RowRule
    guards: GuardSettings
    now: datetime
    went: list[RuleRun]
    expired: int
    most: int
    """Where counting ended."""
    table_rows: int

    @classmethod
    def heard(cls, connection: Connection, place: Workplace, rule: RowRule, now: datetime) -> "_Figures":
        guards = place.settings.guards
        went = runs_that_went(connection, rule.name, KEPT)
        rows = table_rows(connection, rule.table)
        most = max(EXACT, guards.rows, round(guards.share * rows), round(guards.times_usual * _usual(went))) + 1
        return cls(
            connection=connection,
            rule=rule,
            guards=guards,
            now=now,
            went=went,
            expired=_covered_rows(connection, rule, now, most),
            most=most,
            table_rows=rows,
        )

    def to_the_end(self) -> "_Figures":
        """Return the same with every row counted."""
        return replace(self, expired=_covered_rows(self.connection, self.rule, self.now, _ALL), most=_ALL)

    @property
    def is_bound(self) -> bool:
        """There may be more rows than were counted."""
        return self.expired >= self.most

    def likely(self) -> int | None:
        """Return the planner's guess where it exceeds a bound; SQLite makes none."""
        if not self.is_bound or self.connection.dialect.name == "sqlite":
            return None
        # Of a comparison of two columns it expects a third to hold.
        rule = replace(self.rule, created=None)
        goes = expired(rule, self.now - rule.keep, self.connection.dialect.name)
        guess = estimated(self.connection, select(literal(1)).select_from(self.rule.table).where(goes))
        return guess if guess > self.expired else None

    def reasons(self, verdict: Verdict, host_now: datetime) -> Iterator[Reason]:
        yield from differing_clocks(self.connection, host_now, self.guards)
        yield from self._columns(verdict)
        yield from self._share()
        yield from self._unusual()
        if self.table_rows > self.guards.whole_table:
            is_dated = self._has_younger()
            if not is_dated:
                yield self._nothing_younger()
            yield from self._whole(is_dated=is_dated)
            yield from self._future()

    def _columns(self, verdict: Verdict) -> Iterator[Reason]:
        before = next((run for run in self.went if run.columns_seen), None)
        if before is not None and before.columns_seen != verdict.columns_seen:
            tables = ", ".join(table.fullname for table in self.rule.tables)
            yield Reason(
                code="columns",
                text=f"the mapped columns of {tables} changed (name, type or NULL) since the run of "
                f"{_time(before.started_at)}; see that the rule still means what it says",
            )

    def _share(self) -> Iterator[Reason]:
        limit = self.guards.share * self.table_rows
        if self.expired <= self.guards.rows or self.expired <= limit or self._did_the_like():
            return
        yield Reason(
            code="share",
            text=f"would delete {self._amount()} of {self.table_rows:,} rows of {self.rule.table_name} "
            f"({self._percent()}); more than {100 * self.guards.share:g} % and {self.guards.rows:,} rows, and no "
            "earlier run did the like",
        )

    def _did_the_like(self) -> bool:
        """An earlier run also covered more than the share, and at least a third (by default) as many rows."""
        return any(
            (run.expired or 0) > self.guards.share * (run.table_rows or 0)
            and (run.expired or 0) * self.guards.times_usual >= self.expired
            for run in self.went
        )

    def _unusual(self) -> Iterator[Reason]:
        usual = _usual(self.went)
        if self.went and self.expired > max(self.guards.rows, self.guards.times_usual * usual):
            yield Reason(
                code="unusual",
                text=f"would delete {self._amount()} rows of {self.rule.table_name}; more than "
                f"{self.guards.times_usual:g} times the {usual:,.0f} that are usual (median of the last "
                f"{min(len(self.went), _USUAL_RUNS)} runs) and more than {self.guards.rows:,}",
            )

    def _has_younger(self) -> bool:
        """Asked of the index of the rule's own rows first, then of the rows with the highest keys."""
        rule, cutoff = self.rule, self.now - self.rule.keep
        own = select(literal(1)).select_from(rule.table).where(_of_rule(rule), rule.finished >= cutoff)
        if any_row(self.connection, own.limit(1)):
            return True
        times = [column for column in (rule.finished, rule.fallback, rule.created) if column is not None]
        return self._among_newest(or_(*(column >= cutoff for column in times)))

    def _nothing_younger(self) -> Reason:
        return Reason(
            code="nothing_younger",
            text=f"no row of {self.rule.table_name} is newer than the cutoff {_time(self.now - self.rule.keep)}; does "
            "the application still write there, and are the clocks right?",
        )

    def _whole(self, *, is_dated: bool) -> Iterator[Reason]:
        if is_dated or self.expired <= self.guards.whole_table or self.expired < _NEARLY_ALL * self._least_rows():
            return
        goes = expired(self.rule, self.now - self.rule.keep, self.connection.dialect.name)
        covered = case((goes, 1), else_=0)  # a plain yes or no, also where the condition itself is NULL
        if self._among_newest(covered == 0):
            return
        if not any_row(self.connection, select(literal(1)).select_from(self.rule.table).where(covered == 0)):
            yield Reason(
                code="whole_table",
                text=f"would delete every row of {self.rule.table_name} ({self._amount()})",
            )

    def _least_rows(self) -> int:
        """Counting ended early: then what was counted says nothing about the rest."""
        return min(self.table_rows, self.most)

    def _among_newest(self, condition: ColumnElement[bool]) -> bool:
        rule = self.rule
        newest = select(case((condition, 1), else_=0).label("yes")).select_from(rule.table)
        some = newest.order_by(rule.key.desc()).limit(_NEWEST).subquery()
        return any_row(self.connection, select(literal(1)).select_from(some).where(some.c.yes == 1))

    def _future(self) -> Iterator[Reason]:
        rule, bound = self.rule, self.now + timedelta(seconds=self.guards.clock_s)
        late = and_(_of_rule(rule), rule.finished > bound, rule.finished < _LAST_DAY)
        key: Any = self.connection.execute(select(rule.key).where(late).limit(1)).scalar()
        if key is not None:
            yield Reason(
                code="future",
                text=f"the row of {rule.table_name} with {rule.key.name} {key} was finished in the future; correct it, "
                "or the clock that wrote it",
            )

    def _amount(self) -> str:
        return f"{'at least ' if self.is_bound else ''}{self.expired:,}"

    def _percent(self) -> str:
        share = min(100.0, 100 * self.expired / max(self.table_rows, 1))
        return f"{'at least ' if self.is_bound else ''}{share:.0f} %"


def _changed_rule(place: Workplace, verdict: Verdict, figures: _Figures) -> Iterator[Reason]:
    """Ask the rule of the last run what it would delete now."""
    guards = place.settings.guards
    before = next((run for run in figures.went if run.rule_seen), None)
    if before is None or before.rule_seen == verdict.rule_seen or figures.expired <= guards.whole_table:
        return
    by_old = _expired_by_old(place, before, figures)
    if by_old is not None and figures.expired > guards.times_changed * by_old:
        yield Reason(
            code="rule_changed",
            text=f"the rule was changed since the run of {_time(before.started_at)} and would now delete "
            f"{figures._amount()} rows instead of {by_old:,}; more than {guards.times_changed:g} times as many",  # noqa: SLF001
        )


def _expired_by_old(place: Workplace, before: RuleRun, figures: _Figures) -> int | None:
    old = recalled(figures.rule.name, before.rule_seen or {})
    if old.table_name != figures.rule.table_name:
        return 0
    try:
        # A column that is gone would end the transaction in which everything else was asked.
        with place.database.read(deadline_s=_SCAN_S) as connection:
            return _covered_rows(connection, old, figures.now, figures.most)
    except (SchemaMismatch, DBAPIError):
        return None  # then the mapped columns have changed too, which is a reason of its own


def _usual(went: list[RuleRun]) -> float:
    last = [run.expired or 0 for run in went[:_USUAL_RUNS]]
    return median(last) if last else 0.0


def _covered_rows(connection: Connection, rule: RowRule, now: datetime, most: int) -> int:
    """Count the rows that go, without a look at their creation: so an index alone answers, and damaged rows count too.

    One pass after the other: an OR over several status words would read the rows themselves.
    """
    rows = 0
    for expiry in passes(replace(rule, created=None), now - rule.keep):
        rows += at_most(connection, rule.table, expired_in(expiry, connection.dialect.name), most - rows)
        if rows >= most:
            break
    return rows


def _of_rule(rule: RowRule) -> ColumnElement[bool]:
    return rule.status.in_(rule.words) if rule.status is not None else true()


def _time(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
