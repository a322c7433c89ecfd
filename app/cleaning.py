"""The use cases of the clean-up, and what they hand to retention from the rest of the program."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import structlog
from msgspec import structs

from app.alerts.life.evaluator import PARTIAL
from app.context import Context
from app.core.errors import BadArgument, ExitCode
from app.counted_days import count_before, why_uncounted
from app.execution.confinement import require_confinement
from app.execution.runner import Outcome
from app.health.checks.disk import check_disks
from app.observability.structured_logs import ACTIVE_LOGS
from app.outcomes import nearest_existing, trouble_of
from app.retention.cleanup import CleanupResult, cleanup_expired
from app.retention.report_file import add_to_report, cleanup_report_path
from app.retention.workplace import Stage, Workplace
from app.schedule.pauses import paused_jobs

log = structlog.get_logger("gengfu.jobs")

PAUSE_FILE = "cleanup.pause"
"""In `var/run`: while it is there the clean-up deletes nothing."""
_CLEANUP = "cleanup-expired-tasks"
_PAUSES_EVERY_S = 1.0
_EXIT_OF_STATE = {
    "contended": ExitCode.PARTIAL,
    "partial": ExitCode.PARTIAL,
    "refused": ExitCode.FAILED,
    "held": ExitCode.HELD,
    "failed": ExitCode.FAILED,
}


def cleanup_expired_tasks(
    context: Context,
    *,
    dry_run: bool = False,
    rules: list[str] | None = None,
    budget_s: float | None = None,
    on_progress: Callable[[Mapping[str, int]], None] | None = None,
    on_stage: Callable[[Stage], None] | None = None,
) -> Outcome:
    """Delete expired tasks with receipts and files, old temporary files and logs; with `dry_run` only count them.

    `rules` leaves out all others, `budget_s` (seconds) takes the place of `[retention] max_seconds`; `on_progress` gets
    the counts so far after each transaction, `on_stage` each part of the run that begins.
    """
    if not isinstance(dry_run, bool):
        raise BadArgument(f"dry_run is {dry_run!r}; it takes true or false")
    if not dry_run:
        require_confinement(context)
    if context.settings.retention.default_rules:
        context.prepare_database()
    else:
        context.prepare_own_tables()
    place = workplace(context)
    if on_progress is not None:
        place = replace(place, on_progress=on_progress)
    if on_stage is not None:
        place = replace(place, on_stage=on_stage)
    if context.settings.retention.default_rules and not dry_run:
        place = _counting_first(context, place)
    budget = timedelta(seconds=budget_s) if budget_s is not None else None
    done = cleanup_expired(place, run_id=context.run_id, dry_run=dry_run, rules=rules, budget=budget)
    return _cleaned(context, done, whole=rules is None)


def _counting_first(context: Context, place: Workplace) -> Workplace:
    """Count the days whose rows are about to go, and let no row of the others go."""
    settings = context.settings.retention
    shortest = timedelta(days=min(settings.completed_tasks_days, settings.failed_tasks_days))
    count_before(context, context.clock.now() - shortest)
    return replace(place, uncounted=lambda table, cutoff: why_uncounted(context, table, cutoff))


def cleanup_temp_files(context: Context) -> Outcome:
    """Delete old files in the temporary folders only."""
    require_confinement(context)
    context.prepare_own_tables()
    return _cleaned(context, cleanup_expired(workplace(context), run_id=context.run_id, only="temp"), whole=False)


def cleanup_logs(context: Context) -> Outcome:
    """Delete old logs only."""
    require_confinement(context)
    context.prepare_own_tables()
    return _cleaned(context, cleanup_expired(workplace(context), run_id=context.run_id, only="logs"), whole=False)


def workplace(context: Context) -> Workplace:
    """Return what the clean-up and the commands around it work with."""
    settings, paths = context.settings.retention, context.settings.paths
    return Workplace(
        database=context.database,
        source=context.source,
        settings=settings,
        folders=context.folders,
        active_logs=ACTIVE_LOGS,
        clock=context.clock,
        lock_file=paths.var / "run" / "cleanup.lock",
        halted=_halted(context),
        critical=lambda folder: _is_critical(context, folder),
    )


def _halted(context: Context) -> Callable[[], str | None]:
    """Return what tells the clean-up to stop: a pause file, or a job that was paused since the run began.

    Asked between batches; it asks the database once a second at most.
    """
    file = context.settings.paths.var / "run" / PAUSE_FILE
    began = context.clock.now()
    asked, paused = float("-inf"), False

    def why() -> str | None:
        nonlocal asked, paused
        if file.exists():
            return f"paused by {file}; remove it and the next run goes on from here"
        if not paused and context.clock.monotonic() - asked >= _PAUSES_EVERY_S:
            asked = context.clock.monotonic()
            since = paused_jobs(context.database).get(_CLEANUP)
            paused = since is not None and since >= began
        return f"the job {_CLEANUP} was paused; the next run goes on from here" if paused else None

    return why


def _is_critical(context: Context, folder: Path) -> bool:
    """Tell whether the disk of a folder is over its critical mark, whichever mounts the disk check looks at."""
    marks = structs.replace(context.settings.health.disk, mounts=())
    return bool(check_disks([nearest_existing(folder)], marks)["status"] == "critical")


def _cleaned(context: Context, done: CleanupResult, *, whole: bool) -> Outcome:
    """Return what a clean-up brings back; one that was not `whole` proves of no rule that it is well again."""
    document = dict(done.document)
    report = None
    if not document["dry_run"]:
        at = context.clock.now().astimezone(context.zone)
        path = cleanup_report_path(context.settings.paths.daily_reports, at)
        if trouble := trouble_of(lambda: add_to_report(path, dict(done.document), at)):
            document |= {**trouble, "errors": [*document["errors"], trouble["error"]]}
        else:
            report = path
    # A look ahead is nobody's alarm.
    observed = {} if document["dry_run"] else {"cleanup": {**document, PARTIAL: not whole}}
    return Outcome(
        result={"report_path": str(report) if report else None, **document},
        observed=observed,
        report=report,
        exit_code=_EXIT_OF_STATE.get(done.state, ExitCode.OK),
    )
