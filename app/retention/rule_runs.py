"""What each run of each rule did: the guards compare with it, and `gengfu retention approve` signs in it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import Connection, Row, delete, func, insert, or_, select, update

from app.core.clock import Clock
from app.core.database import Database
from app.core.errors import BadArgument
from app.core.own_tables import rule_run
from app.retention.verdict import NEVER_APPROVED, Reason, Verdict

KEPT = 1000
"""Runs remembered of each rule, the latest ones: nearly three years of nights."""
_WENT = ("running", "interrupted", "done", "budget", "contended", "partial", "failed")
_LONGEST_NAME = 200


@dataclass(frozen=True, kw_only=True)
class RuleRun:
    """One run of one rule."""

    run_id: str
    rule: str
    started_at: datetime
    finished_at: datetime | None
    cutoff: datetime
    state: str
    """running | interrupted (killed) | done | budget | contended | partial | failed | refused | held."""
    expired: int | None
    """Rows that the rule covered before the first delete."""
    table_rows: int | None
    rows: int
    children: int
    files: int
    bytes: int
    columns_seen: str | None
    rule_seen: dict[str, Any] | None
    reasons: tuple[Reason, ...]
    approved_at: datetime | None
    approved_by: str | None
    approval_used_by: str | None

    @property
    def codes(self) -> frozenset[str]:
        """What it was held for."""
        return frozenset(reason.code for reason in self.reasons)


class Named(Protocol):
    """A rule, of rows or of folders."""

    @property
    def name(self) -> str:
        """What its runs are remembered by."""
        ...


class RuleRuns:
    """The history of rules."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def begin(self, run_id: str, rule: Named, cutoff: datetime, verdict: Verdict) -> None:
        """Write down what was decided, before the first delete; the approval that was looked at is used up by that.

        Runs of the rule that never ended were killed: only one clean-up is at work at a time.
        """
        now = self._clock.now()
        with self._database.maintain() as connection:
            connection.execute(
                update(rule_run)
                .where(rule_run.c.rule == rule.name, rule_run.c.state == "running")
                .values(state="interrupted")
            )
            if verdict.approval is not None:
                connection.execute(
                    update(rule_run)
                    .where(rule_run.c.rule == rule.name, rule_run.c.run_id == verdict.approval)
                    .values(approval_used_by=run_id)
                )
            # The same run, started again after it was killed.
            connection.execute(delete(rule_run).where(rule_run.c.run_id == run_id, rule_run.c.rule == rule.name))
            connection.execute(insert(rule_run).values(_begun(run_id, rule, cutoff, verdict, now)))

    def finish(
        self, run_id: str, rule: str, state: str, *, rows: int = 0, children: int = 0, files: int = 0, freed: int = 0
    ) -> None:
        """Write down how it ended and what went (`freed` in bytes), and forget the rule's oldest runs."""
        with self._database.maintain() as connection:
            connection.execute(
                update(rule_run)
                .where(rule_run.c.run_id == run_id, rule_run.c.rule == rule)
                .values(
                    finished_at=self._clock.now(), state=state, rows=rows, children=children, files=files, bytes=freed
                )
            )
            _forget(connection, rule)

    def last(self, rule: str, most: int) -> list[RuleRun]:
        """Return the latest runs of a rule, the newest first."""
        with self._database.read() as connection:
            return last_runs(connection, rule, most)

    def approve(self, run_id: str, by: str, rules: Collection[str] = ()) -> list[RuleRun]:
        """Let the held rules of a run (or only those named) pass once, and return them.

        Raises BadArgument where nothing of that run is held, where it is approved already, or where the rule has been
        judged anew since: what was looked at is then no longer what would be deleted.
        """
        with self._database.write() as connection:
            held = _held(connection, run_id, rules)
            for run in held:
                _require_approvable(run)
                _require_latest(connection, run)
                connection.execute(
                    update(rule_run)
                    .where(rule_run.c.run_id == run_id, rule_run.c.rule == run.rule)
                    .values(approved_at=self._clock.now(), approved_by=by[:_LONGEST_NAME])
                )
        return held


def last_runs(connection: Connection, rule: str, most: int) -> list[RuleRun]:
    """Return the latest runs of a rule, the newest first."""
    return _runs(connection, rule, most)


def runs_that_went(connection: Connection, rule: str, most: int) -> list[RuleRun]:
    """Return the latest runs of a rule that were let go, the newest first."""
    return _runs(connection, rule, most, _WENT)


def deleted_up_to(connection: Connection, rules: Collection[str]) -> datetime | None:
    """Return the latest cutoff by which one of the rules may have deleted rows, or None where none ever did."""
    # What a run deleted that was killed, or is at work now, is not written down.
    has_deleted = or_(rule_run.c.rows > 0, rule_run.c.finished_at.is_(None))
    cutoffs = select(func.max(rule_run.c.cutoff)).where(rule_run.c.rule.in_(rules), has_deleted)
    found: datetime | None = connection.execute(cutoffs).scalar()
    return found


def open_approval(connection: Connection, rule: str) -> RuleRun | None:
    """Return the approved run of a rule whose approval has not been used."""
    statement = select(rule_run).where(
        rule_run.c.rule == rule, rule_run.c.approved_at.is_not(None), rule_run.c.approval_used_by.is_(None)
    )
    row = connection.execute(statement.order_by(rule_run.c.started_at.desc())).first()
    return _run(row) if row is not None else None


def _runs(connection: Connection, rule: str, most: int, states: Sequence[str] = ()) -> list[RuleRun]:
    statement = select(rule_run).where(rule_run.c.rule == rule)
    if states:
        statement = statement.where(rule_run.c.state.in_(states))
    # Two runs within one tick of the clock: the order of their ids is as good as any, but always the same.
    newest = statement.order_by(rule_run.c.started_at.desc(), rule_run.c.run_id.desc()).limit(most)
    return [_run(row) for row in connection.execute(newest)]


def _begun(run_id: str, rule: Named, cutoff: datetime, verdict: Verdict, now: datetime) -> dict[str, Any]:
    goes = verdict.state == "go"
    return {
        "run_id": run_id,
        "rule": rule.name,
        "started_at": now,
        "finished_at": None if goes else now,
        "cutoff": cutoff,
        "state": "running" if goes else verdict.state,
        "expired": verdict.expired,
        "table_rows": verdict.table_rows,
        "rows": 0,
        "children": 0,
        "files": 0,
        "bytes": 0,
        "columns_seen": verdict.columns_seen,
        "rule_seen": dict(verdict.rule_seen),
        "reasons": [{"code": reason.code, "text": reason.text} for reason in verdict.found],
    }


def _forget(connection: Connection, rule: str) -> None:
    oldest_kept = (
        select(rule_run.c.started_at)
        .where(rule_run.c.rule == rule)
        .order_by(rule_run.c.started_at.desc())
        .offset(KEPT - 1)
        .limit(1)
    ).scalar_subquery()
    connection.execute(delete(rule_run).where(rule_run.c.rule == rule, rule_run.c.started_at < oldest_kept))


def _held(connection: Connection, run_id: str, rules: Collection[str]) -> list[RuleRun]:
    rows = connection.execute(select(rule_run).where(rule_run.c.run_id == run_id).order_by(rule_run.c.rule)).all()
    if not rows:
        raise BadArgument(f"there is no run {run_id!r} of a rule; `gengfu retention status` names the held ones")
    runs = {row.rule: _run(row) for row in rows}
    for name in rules:
        if name not in runs or runs[name].state != "held":
            raise BadArgument(f"run {run_id} did not hold the rule {name!r}; nothing to approve")
    held = [run for run in runs.values() if run.state == "held" and (not rules or run.rule in rules)]
    if not held:
        states = ", ".join(f"{run.rule} {run.state}" for run in runs.values())
        raise BadArgument(f"run {run_id} held nothing ({states}); nothing to approve")
    return held


def _require_approvable(run: RuleRun) -> None:
    for reason in run.reasons:
        if reason.code in NEVER_APPROVED:
            raise BadArgument(f"run {run.run_id} of {run.rule} can't be approved: {reason.text}")


def _require_latest(connection: Connection, run: RuleRun) -> None:
    if run.approved_at is not None:
        used = f"used by run {run.approval_used_by}" if run.approval_used_by else "still to be used"
        raise BadArgument(f"run {run.run_id} of {run.rule} is approved already, {used}")
    latest = last_runs(connection, run.rule, 1)[0]
    if latest.run_id != run.run_id:
        raise BadArgument(
            f"{run.rule} was judged again by run {latest.run_id} ({latest.state}); look at that one: "
            "`gengfu retention status`"
        )


def _run(row: Row[Any]) -> RuleRun:
    values = dict(row._mapping)  # noqa: SLF001 - the public name of SQLAlchemy's mapping view
    reasons = tuple(Reason(code=reason["code"], text=reason["text"]) for reason in values.pop("reasons") or ())
    return RuleRun(reasons=reasons, **values)
