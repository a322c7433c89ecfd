"""One clean-up from lock to result: rows first, then the files they left behind, then temporary files and logs."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal

import structlog

from app.core.errors import DatabaseBusy, DatabaseUnavailable, SchemaMismatch
from app.core.safe_files import ReadOnlyRoot, Root, open_root, view_root
from app.retention.directories import DirectoryEngine, directory_rules
from app.retention.expiry import expiries, frozen_now
from app.retention.lock import Flight, single_flight
from app.retention.outbox import FileEngine, pending_files, stuck_files
from app.retention.preview import Preview
from app.retention.references import TooManyOddPaths
from app.retention.remaining import reusable_bytes, rows_kept
from app.retention.report import CleanupResult, Facts, result_of
from app.retention.roots import OpenRoots, open_roots
from app.retention.rows import RowEngine
from app.retention.stored_paths import file_columns
from app.retention.tally import Tally
from app.retention.workplace import Workplace

__all__ = ["CleanupResult", "cleanup_expired"]

_log = structlog.get_logger("gengfu.retention")
_SHARE_OF_ROWS = 0.75
"""Of the time allowed; the rest is for the files, so that rows and files keep pace from night to night."""


def cleanup_expired(
    place: Workplace, *, run_id: str, dry_run: bool = False, only: Literal["temp", "logs"] | None = None
) -> CleanupResult:
    """Delete what has expired, or with `dry_run` only tell what would go; the result holds counts, bytes and reasons.

    With `only` just temporary files or just logs are looked at; the application's tables need not be there then.
    Raises Locked while another clean-up runs, and DatabaseUnavailable, DatabaseBusy or SchemaMismatch when nothing
    could be begun. What goes wrong later is told in the result.
    """
    facts = Facts(run_id=run_id, dry_run=dry_run)
    if dry_run:
        _Cleanup(place, facts, only).preview()
    else:
        with single_flight(place, run_id) as flight:
            _Cleanup(place, facts, only).run(flight)
    result = result_of(facts)
    if any(facts.counts.values()) or facts.problems.count or facts.held:
        _log.info("cleanup_finished", **_told(result))
    return result


class _Cleanup:
    """The phases, each ending in a state, none keeping the next from its work."""

    def __init__(self, place: Workplace, facts: Facts, only: Literal["temp", "logs"] | None) -> None:
        self._place = place
        self._with_rows = only is None
        self._facts = facts
        self._started = place.clock.monotonic()
        self._columns = file_columns(place.source, place.settings, place.folders)
        rules = directory_rules(place.settings, place.active_logs, place.clock.now())
        self._directory_rules = [rule for rule in rules if only in {None, rule.kind}]
        with place.database.read() as connection:
            self._now = frozen_now(connection)
        self._rules = expiries(place.settings, place.source.statuses, self._now)
        facts.cutoffs = self._cutoffs(self._now, place.clock.now())

    def run(self, flight: Flight) -> None:
        """Do all the work and fill in the facts."""
        tally = Tally(self._place, self._facts.run_id)
        with open_roots(open_root, self._place.database, self._place.folders, self._root_names()) as roots:
            if self._with_rows:
                self._rows(roots, tally, flight)
                self._phase(lambda: self._files(roots, tally, flight))
            self._phase(lambda: self._directories(roots, tally, flight))
            self._told_held(roots.held)
        self._facts.counts, self._facts.carried = tally.counts, tally.carried
        self._facts.interrupted_runs = tally.interrupted_runs
        self._conclude()
        self._place.checkpoint("all done")
        self._hand_over(tally)

    def preview(self) -> None:
        """Fill in the facts of a run that is not made."""
        with open_roots(view_root, self._place.database, self._place.folders, self._root_names()) as roots:
            look = Preview(self._place, self._columns, roots, self._facts.problems)
            if self._with_rows and not self._held_files(roots):
                look.rows(self._rules)
            look.directories(self._directory_rules)
            self._told_held(roots.held)
        self._facts.counts = look.counts
        self._conclude()

    def _rows(self, roots: OpenRoots[Root], tally: Tally, flight: Flight) -> None:
        """Without a root the files of its rows could not be written down and would be nobody's: no row goes."""
        if self._held_files(roots):
            return
        engine = RowEngine(self._place, self._columns, roots, tally, flight)
        until = self._started + _SHARE_OF_ROWS * self._place.settings.max_seconds
        self._facts.states.append(engine.run(self._rules, until, self._facts.problems))

    def _files(self, roots: OpenRoots[Root], tally: Tally, flight: Flight) -> str:
        engine = FileEngine(self._place, self._columns, roots, tally, flight, self._facts.problems)
        return "done" if engine.run(self._until()) else "budget"

    def _directories(self, roots: OpenRoots[Root], tally: Tally, flight: Flight) -> str:
        with self._place.database.read() as connection:  # what can't be counted is not removed
            flight.check(connection)
        engine = DirectoryEngine(self._place, roots, tally, self._facts.problems)
        return "done" if engine.run(self._directory_rules, self._until()) else "budget"

    def _phase(self, work: Callable[[], str]) -> None:
        try:
            self._facts.states.append(work())
        except (DatabaseBusy, TooManyOddPaths) as error:
            self._failed("partial", error)
        except (DatabaseUnavailable, SchemaMismatch) as error:
            self._failed("failed", error)

    def _failed(self, state: str, error: Exception) -> None:
        self._facts.states.append(state)
        self._facts.problems.add(str(error))

    def _held_files(self, roots: OpenRoots[ReadOnlyRoot] | OpenRoots[Root]) -> bool:
        held = self._columns.roots & roots.held.keys()
        if held:
            self._facts.states.append("held")
        return bool(held)

    def _told_held(self, held: dict[str, str]) -> None:
        self._facts.held = dict(held)
        for why in held.values():
            self._facts.problems.add(why)
        if self._facts.problems.count:
            self._facts.states.append("partial")

    def _conclude(self) -> None:
        """What stands in the database now; a report without it is better than none."""
        database, facts = self._place.database, self._facts
        try:
            if self._with_rows:
                facts.rows_kept = rows_kept(
                    database, self._place.source, self._rules, self._now, expired_as=self._why_expired_rows_stayed()
                )
            facts.reusable_bytes = reusable_bytes(database)
            with database.read() as connection:
                facts.stuck_files, facts.pending_files = stuck_files(connection), pending_files(connection)
        except (DatabaseBusy, DatabaseUnavailable) as error:
            self._failed("partial", error)
        facts.seconds = self._place.clock.monotonic() - self._started

    def _why_expired_rows_stayed(self) -> str | None:
        if self._facts.dry_run:
            return None
        reasons = {"done": "locked", "budget": "not_reached", "held": "root_held"}
        return reasons.get(self._facts.states[0], "not_reached")

    def _hand_over(self, tally: Tally) -> None:
        try:
            tally.close()
        except (DatabaseBusy, DatabaseUnavailable) as error:
            # The next report will contain these figures again; a sum over reports leaves this one out.
            self._facts.carried_forward = True
            self._failed("partial", error)

    def _root_names(self) -> set[str]:
        of_rows = self._columns.roots if self._with_rows else frozenset()
        return {*of_rows, *(rule.root for rule in self._directory_rules)}

    def _until(self) -> float:
        return self._started + self._place.settings.max_seconds

    def _cutoffs(self, database_now: datetime, host_now: datetime) -> dict[str, datetime]:
        settings = self._place.settings
        return {
            "completed": database_now - timedelta(days=settings.completed_tasks_days),
            "failed": database_now - timedelta(days=settings.failed_tasks_days),
            "temp_files": host_now - timedelta(hours=settings.temp_files_hours),
            "logs": host_now - timedelta(days=settings.log_files_days),
        }


def _told(result: CleanupResult) -> dict[str, object]:
    keys = ("run_id", "dry_run", "tasks_cleaned", "receipts_cleaned", "files_cleaned", "logs_cleaned", "bytes_freed")
    return {"state": result.state} | {key: result.document[key] for key in keys}
