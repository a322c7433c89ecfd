"""One clean-up from lock to result: rows first, then the files they left behind, then what goes by age alone."""

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Literal

import structlog

from app.core.errors import DatabaseBusy, DatabaseRefused, DatabaseUnavailable, SchemaMismatch
from app.core.safe_files import Root, open_root, view_root
from app.retention.archive import purge_due_rows
from app.retention.directories import DirectoryEngine, DirectoryPreview
from app.retention.due_files import FileWork, roots_in_doubt, roots_without_rule
from app.retention.emergency import files_first
from app.retention.expiry import frozen_now, passes
from app.retention.folder_guards import FolderGuards
from app.retention.folder_rules import FOLDERS, TEMP, directory_rules, only_these
from app.retention.lag import note_lags
from app.retention.lock import Flight, single_flight
from app.retention.outbox import FileEngine, pending_files, stuck_files
from app.retention.presence import present_references
from app.retention.preview import Preview
from app.retention.references import TooManyOddPaths
from app.retention.remaining import unknown_statuses
from app.retention.report import CleanupResult, Facts, result_of
from app.retention.roots import OpenRoots, open_roots
from app.retention.row_rules import RowRules
from app.retention.rows import RuleFacts
from app.retention.rule_names import require_known
from app.retention.rules import rule_book
from app.retention.settings import LOGS
from app.retention.space import space
from app.retention.tally import Tally
from app.retention.trash import purge_due
from app.retention.workplace import Workplace
from app.retention.writable import require_writable

__all__ = ["CleanupResult", "cleanup_expired"]

_log = structlog.get_logger("gengfu.retention")
_FATES = ("files", "trashed", "already_gone", "referenced")
"""What becomes of the files of deleted rows, as it is counted."""
_SHARE_OF_ROWS = 0.75
"""Of the time allowed; the rest is for the files, so that rows and files keep pace from night to night."""


def cleanup_expired(
    place: Workplace,
    *,
    run_id: str,
    dry_run: bool = False,
    only: Literal["temp", "logs"] | None = None,
    rules: Collection[str] | None = None,
    budget: timedelta | None = None,
) -> CleanupResult:
    """Delete what has expired, or with `dry_run` only tell what would go; the result holds counts, bytes and reasons.

    With `only` just temporary files or just logs are looked at; the application's tables need not be there then.
    With `rules` just those rules, of rows or of folders, by name. `budget` takes the place of `max_seconds`.
    Raises Locked while another clean-up runs, BadArgument for an unknown rule, DatabaseRefused on a replica, and
    DatabaseUnavailable, DatabaseBusy or SchemaMismatch when nothing could be begun. What goes wrong later is told in
    the result.
    """
    facts = Facts(run_id=run_id, dry_run=dry_run)
    cleanup = _Cleanup(place, facts, only, rules, budget)
    if dry_run:
        cleanup.preview()
    else:
        with single_flight(place, run_id) as flight:
            cleanup.run(flight)
    result = result_of(facts)
    if any(facts.counts.values()) or facts.problems.count or facts.held:
        _log.info("cleanup_finished", **_told(result))
    return result


class _Cleanup:
    """The phases, each ending in a state, none keeping the next from its work."""

    def __init__(
        self,
        place: Workplace,
        facts: Facts,
        only: Literal["temp", "logs"] | None,
        names: Collection[str] | None,
        budget: timedelta | None,
    ) -> None:
        self._place = place
        self._with_rows = only is None
        self._facts = facts
        self._started = place.clock.monotonic()
        self._waited_for: dict[str, str] = {}
        """Root -> why no file of it may be removed, though rows may go."""
        self._seconds = place.settings.max_seconds if budget is None else budget.total_seconds()
        self._book = rule_book(place.source, place.settings, place.folders)
        folder_rules = directory_rules(place.settings, place.active_logs, place.clock.now())
        require_known(names, [*(rule.name for rule in self._book.rules), *(rule.name for rule in folder_rules)])
        self._directory_rules = only_these(
            folder_rules, lambda rule: only in {None, rule.kind} and (names is None or rule.name in names)
        )
        with place.database.read() as connection:
            if not facts.dry_run:
                require_writable(connection)
            now = frozen_now(connection)
        chosen = [rule for rule in self._book.rules if names is None or rule.name in names] if self._with_rows else []
        self._rules = RowRules(place, chosen, now, facts.run_id, facts.problems)
        facts.rules = self._rules.facts
        facts.cutoffs = self._cutoffs(now, place.clock.now())

    def run(self, flight: Flight) -> None:
        """Do all the work and fill in the facts."""
        tally = Tally(self._place, self._facts.run_id)
        tally.keep_cursors({e.cursor_name for r in self._book.rules for e in passes(r, self._place.clock.now())})
        without_rule, lost = roots_without_rule(self._place, self._book) if self._with_rows else (set[str](), {})
        names = self._root_names() | without_rule
        with open_roots(open_root, self._place.database, self._place.folders, names) as roots:
            if self._with_rows:
                self._phase(lambda: self._purge(tally, flight))
            for phase in self._phases(roots, tally, flight):
                self._phase(phase)
            self._told_held(roots.held | lost | self._waited_for)
        self._phase(lambda: _settled(tally))
        self._facts.counts, self._facts.carried = tally.counts, tally.carried
        self._facts.interrupted_runs = tally.interrupted_runs
        self._phase(lambda: self._written_down(tally))
        self._conclude()
        self._place.checkpoint("all done")
        self._hand_over(tally)

    def preview(self) -> None:
        """Fill in the facts of a run that is not made."""
        with open_roots(view_root, self._place.database, self._place.folders, self._root_names()) as roots:
            columns, unknown = present_references(self._place.database, self._book)
            look = Preview(self._place, columns, roots, unknown, self._facts.problems)
            look.rows(self._rules.preview(roots.held))
            self._facts.states += [rule.state for rule in self._rules.facts]
            directories = DirectoryPreview(self._place, roots, self._facts.problems)
            guards = self._folder_guards()
            directories.run(guards.let_pass(self._directory_rules, roots, write=False))
            self._told_held(roots.held | unknown | look.in_doubt)
        self._facts.counts = look.counts + directories.counts
        self._facts.folders = [figures.told() for figures in (*guards.held, *directories.figures)]
        self._facts.states += ["held"] if guards.held else []
        self._conclude()
        if self._facts.pending_files is not None:
            self._facts.pending_files += look.waiting

    def _phases(self, roots: OpenRoots[Root], tally: Tally, flight: Flight) -> list[Callable[[], str]]:
        """Return what is to be done, in its order."""
        rows = [
            lambda: self._rows(roots, tally, flight),
            lambda: self._files(roots, tally, flight),
        ]
        directories = [lambda: self._directories(roots, tally, flight)]
        if not self._with_rows:
            return directories
        if not files_first(self._place):
            return [*rows, *directories]
        self._facts.order = "files_first"
        return [*directories, rows[1], *rows]

    def _purge(self, tally: Tally, flight: Flight) -> str:
        with tally.transaction() as (connection, added):
            flight.check(connection)
            if purged := purge_due_rows(connection, self._place.clock.now()):
                added["purged_rows"] = purged
        return "done"

    def _rows(self, roots: OpenRoots[Root], tally: Tally, flight: Flight) -> str:
        self._rules.run(roots, tally, flight, self._started + _SHARE_OF_ROWS * self._seconds)
        self._facts.states += [rule.state for rule in self._rules.facts]
        return "done"

    def _files(self, roots: OpenRoots[Root], tally: Tally, flight: Flight) -> str:
        if self._is_halted():
            return "partial"
        columns, unknown = present_references(self._place.database, self._book)
        # Rows of these roots may go, their files wait in the outbox.
        unknown = roots_in_doubt(self._place, columns) | unknown
        usable = {name: root for name, root in roots.ready.items() if name not in unknown}
        sure = OpenRoots(ready=usable, held=roots.held)
        with self._place.database.read() as connection:
            self._place.on_stage(tally.stage("files", "files", _FATES, pending_files(connection)))
        work = FileWork(
            place=self._place, columns=columns, roots=sure, tally=tally, flight=flight, problems=self._facts.problems
        )
        is_done = purge_due(work, self._until()) & FileEngine(work).run(self._until())
        self._waited_for.update({name: why for name, why in unknown.items() if name in roots.ready})
        return "done" if is_done else self._early()

    def _directories(self, roots: OpenRoots[Root], tally: Tally, flight: Flight) -> str:
        if self._is_halted():
            return "partial"
        with self._place.database.read() as connection:  # what can't be counted is not removed
            flight.check(connection)
        self._place.on_stage(tally.stage("folders", "folders", (TEMP, LOGS, FOLDERS)))
        guards = self._folder_guards()
        rules = guards.let_pass(self._directory_rules, roots, self._until(), write=True)
        engine = DirectoryEngine(self._place, roots, tally, flight, self._facts.problems)
        try:
            state = "done" if engine.run(rules, self._until()) else self._early()
        finally:
            self._facts.folders = [figures.told() for figures in (*guards.held, *engine.figures)]
        guards.finish(engine.figures)
        return "held" if guards.held else state

    def _folder_guards(self) -> FolderGuards:
        return FolderGuards(place=self._place, run_id=self._facts.run_id, problems=self._facts.problems)

    def _early(self) -> str:
        """Return the state of what did not come to its end."""
        return "partial" if self._is_halted() else "budget"

    def _is_halted(self) -> bool:
        why = self._place.halted()
        if why is not None and why not in self._facts.problems.lines():
            self._facts.problems.add(why)
        return why is not None

    def _written_down(self, tally: Tally) -> str:
        self._rules.finish(tally)
        return "done"

    def _phase(self, work: Callable[[], str]) -> None:
        try:
            self._facts.states.append(work())
        except (DatabaseBusy, TooManyOddPaths) as error:
            self._failed("partial", error)
        except (DatabaseUnavailable, DatabaseRefused, SchemaMismatch) as error:
            self._failed("failed", error)

    def _failed(self, state: str, error: Exception) -> None:
        self._facts.states.append(state)
        self._facts.problems.add(str(error))

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
                self._tell_what_stayed()
            tables = [table for rule in self._rules.facts for table in rule.rule.tables]
            facts.space = space(database, tables, self._rules.deleted)
            with database.read() as connection:
                facts.stuck_files, facts.pending_files = stuck_files(connection), pending_files(connection)
        except (DatabaseBusy, DatabaseUnavailable, DatabaseRefused) as error:
            self._failed("partial", error)
        facts.seconds = self._place.clock.monotonic() - self._started

    def _tell_what_stayed(self) -> None:
        for rule, kept in self._rules.kept():
            rule.kept.update(kept.rows)
            rule.lag_hours = kept.lag_hours
            if kept.expired and not self._facts.dry_run:
                rule.kept[_why_expired_rows_stayed(rule)] += kept.expired
        if not self._facts.dry_run:
            growing = note_lags(self._place, {rule.rule.name: rule.lag_hours for rule in self._rules.facts})
            for rule in self._rules.facts:
                rule.lag_growing = growing[rule.rule.name]
        working = [rule.rule for rule in self._rules.facts if rule.state != "refused"]
        if unknown := unknown_statuses(self._place.database, self._place.source, working):
            self._facts.unknown_statuses = unknown

    def _hand_over(self, tally: Tally) -> None:
        try:
            tally.close()
        except (DatabaseBusy, DatabaseUnavailable) as error:
            # The next report will contain these figures again; a sum over reports leaves this one out.
            self._facts.carried_forward = True
            self._failed("partial", error)

    def _root_names(self) -> set[str]:
        # Of all rules, not only the chosen ones: their files may still wait in the outbox.
        rules = self._book.rules if self._with_rows else ()
        of_rows = {file.root for rule in rules for file in rule.all_files}
        return {*of_rows, *(rule.root for rule in self._directory_rules)}

    def _until(self) -> float:
        return self._started + self._seconds

    def _cutoffs(self, database_now: datetime, host_now: datetime) -> dict[str, datetime]:
        settings = self._place.settings
        return {
            **{rule.name: database_now - rule.keep for rule in self._book.rules},
            "temp_files": host_now - timedelta(hours=settings.temp_files_hours),
            "logs": host_now - timedelta(days=settings.log_files_days),
        }


def _settled(tally: Tally) -> str:
    tally.settle()
    return "done"


def _why_expired_rows_stayed(rule: RuleFacts) -> str:
    if rule.state == "held":
        return "root_held" if rule.by_root else "guard_held"
    return "locked" if rule.state == "done" else "not_reached"


def _told(result: CleanupResult) -> dict[str, object]:
    keys = ("run_id", "dry_run", "tasks_cleaned", "receipts_cleaned", "files_cleaned", "logs_cleaned", "bytes_freed")
    return {"state": result.state} | {key: result.document[key] for key in keys}
