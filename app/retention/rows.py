"""Deleting expired rows: rule by rule, each until it is done, its time or number of rows is used up, or it must not."""

import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from threading import Lock
from typing import Literal

import structlog
from sqlalchemy.exc import DBAPIError

from app.core.errors import (
    DatabaseBusy,
    DatabaseRefused,
    DatabaseUnavailable,
    GengfuError,
    RootRefused,
    SchemaMismatch,
)
from app.core.safe_files import Root
from app.retention.archive import rows_at_once
from app.retention.batch import Gone, RowsStayed
from app.retention.batch_size import BatchSize
from app.retention.blocked import why_blocked
from app.retention.crew import work_together
from app.retention.deletion import Deletion, PassAtWork, Worker
from app.retention.expiry import passes
from app.retention.lock import Flight
from app.retention.pass_progress import Allowance
from app.retention.roots import OpenRoots
from app.retention.rules import RowRule
from app.retention.tally import Tally
from app.retention.workplace import Workplace
from app.retention.writable import replay_lag_s

_log = structlog.get_logger("gengfu.retention")
_FIRST_ROWS = {"postgresql": 5000, "sqlite": 1000}
_SQLITE_PAUSE_S = 0.025
"""Between two write locks the application gets its turn. SQLite queues nobody: who waits looks again after up to 25 ms
and mostly oversleeps a shorter pause. Behind pauses of 5 ms a client fell 5 s behind, behind these 1.1 s."""
_LAG_EVERY_S = 5.0
_CUT_OFF_S = 50.0
"""A connection lost after so long was cut off by a time-out: its files took too long to look at, as on a slow mount.
The server does so after 60 s of idleness in a transaction, and the client can't always read why."""


@dataclass(kw_only=True)
class RuleFacts:
    """What came of one rule in this run."""

    rule: RowRule
    cutoff: datetime
    state: str = "done"
    """done | budget | contended | partial | refused | held | failed."""
    reasons: list[str] = field(default_factory=list)
    by_root: bool = False
    """A root of its files is held, which is told by itself."""
    rows: int = 0
    children: int = 0
    by_table: Counter[str] = field(default_factory=Counter)
    """The same by table."""
    batch_s: list[float] = field(default_factory=list)
    """How long each transaction lasted."""
    seconds: float = 0.0
    kept: Counter[str] = field(default_factory=Counter)
    """Reason -> rows that stayed; see `remaining`."""
    lag_hours: float = 0.0
    lag_growing: int = 0
    """Runs in a row after which the lag was larger than before."""
    usual: float | None = None
    """Rows that the last seven runs covered (median)."""
    expected: int | None = None
    """Rows that it covers now and may take; None: not known."""
    expected_is: Literal["exact", "estimate", "bound"] = "exact"

    def ended(self, state: str, reason: str) -> None:
        """The rule ended before its time."""
        self.state = state
        self.reasons.append(reason)


@dataclass(kw_only=True)
class _Early(Exception):
    """The rule ends here."""

    state: str
    reason: str


_EXPECTED = (_Early, GengfuError, DBAPIError)
"""How work at a rule may end; anything else ends the run."""


class RowEngine:
    """Deletes what has expired, oldest first, one status word after the other."""

    def __init__(self, place: Workplace, roots: OpenRoots[Root], tally: Tally, flight: Flight) -> None:
        self._place = place
        self._asking = Lock()
        self.deletion = Deletion(place, roots, tally, flight)
        self._dialect = place.database.dialect
        self._lag_looked_at = float("-inf")

    def may_begin(self, facts: RuleFacts, until: float) -> bool:
        """Tell whether there is time, and nobody halts us; else the facts say so."""
        try:
            self.require_time(until)
        except _Early as early:
            facts.ended(early.state, early.reason)
        except (DatabaseBusy, DatabaseUnavailable) as error:
            facts.ended("failed", str(error))
        return facts.state == "done"

    def run(self, facts: RuleFacts, until: float) -> None:
        """Delete until all is done, a budget is used up, or the monotonic instant `until`; the facts tell the rest.

        Raises nothing that concerns this rule alone: the others go on.
        """
        started = self._place.clock.monotonic()
        if facts.rule.max_seconds is not None:
            until = min(until, started + facts.rule.max_seconds)
        try:
            _RuleWork(self, self._place, facts, until).run()
        except _Early as early:
            facts.ended(early.state, early.reason)
        except DatabaseBusy as error:
            facts.ended("contended", str(error))
        except RowsStayed as error:
            facts.ended("partial", str(error))
        except (SchemaMismatch, DatabaseRefused) as error:
            facts.ended("refused", str(error))
        except RootRefused as error:
            facts.ended("held", str(error))
        except DatabaseUnavailable as error:
            facts.ended("failed", str(error))
        except DBAPIError as error:
            facts.ended("failed", why_blocked(self._place.database, facts.rule, error))
        finally:
            facts.seconds = self._place.clock.monotonic() - started

    def require_time(self, until: float) -> None:
        """Raise _Early where time is up, somebody halts us, or a replica lags."""
        now = self._place.clock.monotonic()
        if now >= until:
            raise _Early(state="budget", reason="the time allowed is used up; the next run goes on from here")
        with self._asking:
            if why := self._place.halted():
                raise _Early(state="partial", reason=why)
            most = self._place.settings.max_replay_lag_s
            if most and now - self._lag_looked_at >= _LAG_EVERY_S:
                self._lag_looked_at = now
                self._require_near_replicas(most)

    def _require_near_replicas(self, most: int) -> None:
        with self._place.database.read() as connection:
            lag = replay_lag_s(connection)
        if lag > most:
            raise _Early(
                state="contended", reason=f"a replica is {lag:.0f} s behind, more than max_replay_lag_s = {most}"
            )

    def workers(self, rule: RowRule) -> list[Worker]:
        """Return those who work at one rule. Raises DatabaseUnavailable, DatabaseBusy."""
        most = self._place.settings.batch_size
        if rule.keep_deleted:
            with self._place.database.read() as connection:
                most = min(most, rows_at_once(connection, rule))
        # SQLite has one write lock.
        count = self._place.settings.connections if self._dialect == "postgresql" else 1
        return [Worker(size=BatchSize(most=most, rows=min(most, _FIRST_ROWS[self._dialect]))) for _ in range(count)]

    def give_way(self) -> None:
        """Let the application have its turn."""
        if self._dialect == "sqlite":
            time.sleep(_SQLITE_PAUSE_S)


class _RuleWork:
    """One rule from its first pass to its last."""

    def __init__(self, engine: RowEngine, place: Workplace, facts: RuleFacts, until: float) -> None:
        self._engine = engine
        self._place = place
        self._facts = facts
        self._until = until
        self._allowance = Allowance(most=facts.rule.max_rows)
        self._workers = engine.workers(facts.rule)
        self._noting = Lock()

    def run(self) -> None:
        for expiry in passes(self._facts.rule, self._facts.cutoff):
            one_batch = partial(self._one_batch, self._engine.deletion.begin(expiry, self._allowance))
            # A table with little to delete needs no second connection.
            if one_batch(self._workers[0]):
                work_together(one_batch, self._workers, _EXPECTED)

    def _one_batch(self, work: PassAtWork, worker: Worker) -> bool:
        """Return whether there is more to do for the worker."""
        self._engine.require_time(self._until)
        if worker.stretch is None and self._allowance.is_used_up:
            most = self._allowance.most
            raise _Early(state="budget", reason=f"max_rows = {most:,} is used up; the next run goes on from here")
        started = self._place.clock.monotonic()
        try:
            gone = self._engine.deletion.delete_batch(work, worker)
        except (DatabaseBusy, DatabaseUnavailable) as error:
            is_cut = self._place.clock.monotonic() - started >= _CUT_OFF_S
            if isinstance(error, DatabaseUnavailable) and not is_cut:
                raise
            worker.size.failed()
            if worker.size.hopeless:
                raise
            return True
        seconds = self._place.clock.monotonic() - started
        worker.size.succeeded(seconds)
        if gone is not None:
            self._note(gone, seconds)
        is_more = worker.stretch is not None or not work.progress.is_ended
        if gone is not None and is_more:
            self._engine.give_way()
        return is_more

    def _note(self, gone: Gone, seconds: float) -> None:
        facts = self._facts
        with self._noting:
            facts.rows += gone.rows
            facts.children += sum(gone.children)
            for table, count in zip(facts.rule.tables, (gone.rows, *gone.children), strict=True):
                facts.by_table[table.fullname] += count
            facts.batch_s.append(seconds)
        _log.debug(
            "rows_deleted",
            rule=facts.rule.name,
            table=facts.rule.table_name,
            rows=gone.rows,
            children=sum(gone.children),
        )
        self._place.checkpoint("batch committed")
