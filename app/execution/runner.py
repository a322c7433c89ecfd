"""Runs one job: ids in the log context, run record, timing, errors told once, what it found handed over."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from app.context import Context
from app.core.errors import ExitCode, GengfuError, Locked
from app.core.redaction import redact
from app.schedule.heartbeat import Heartbeat
from app.schedule.run_book import Begun, Refusal, RunBook
from app.schedule.run_rows import Ending, Start
from app.schedule.runs import Origin, State, new_run_id
from app.schedule.single_flight import MANY_AT_ONCE, NOWHERE, Place
from app.service.process_mark import own_mark, provably_gone

log = structlog.get_logger("gengfu.run")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a use case brings back."""

    result: dict[str, Any]
    """Plain JSON-able values, with `success`."""
    observed: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Family of figures -> what was found, to be judged by the alert rules."""
    alerts: list[dict[str, Any]] | None = None
    """All that is wrong by the job's own judgement (type, message, severity ...); None where it judges nothing."""
    report: Path | None = None
    exit_code: ExitCode = ExitCode.OK
    temporary: bool = False
    """True where the same run may succeed later by itself."""


@dataclass(frozen=True, kw_only=True)
class JobRun:
    """What became of one run."""

    run_id: str
    job: str
    state: State
    result: dict[str, Any]
    exit_code: ExitCode
    temporary: bool = False
    """True where the same run may succeed later by itself: database or broker away, a lock held."""


UseCase = Callable[[Context], Outcome]
HandOver = Callable[[Context, str, Outcome], dict[str, Any]]
"""Judges and tells what a job (by name) found; returns what the run's result is to say of it."""
AgainAt = Callable[[JobRun], datetime | None]
"""When the slot of a run that ended so is to be sent again; None where the slot is closed with it."""


def run_job(
    context: Context, name: str, use_case: UseCase, *, origin: Origin, hand_over: HandOver | None = None
) -> JobRun:
    """Run `use_case` as job `name`; never raises what the job raised, its result says so.

    A run leaves a row in the history wherever the database can be written; where it can't, the run goes on and the log
    says so: the disk check must work while the database is down. While a run of the job is at work a second one is
    `skipped`.
    """
    with bound_run(context, name, origin) as (bound, start):
        begun = Begun(start=start)
        with _recording("run_start_not_recorded"):
            begun = begin(bound, start)
        return carry_out(bound, use_case, begun, hand_over=hand_over)


@contextmanager
def bound_run(context: Context, name: str, origin: Origin) -> Iterator[tuple[Context, Start]]:
    """Yield the context and the start of one run, whose ids stand in every log line of the block."""
    start = Start(job=name, run_id=origin.run_id or new_run_id(), origin=origin, at=context.clock.now())
    with structlog.contextvars.bound_contextvars(run_id=start.run_id, job=name, queue=origin.queue):
        yield replace(context, due_at=origin.slot, run_id=start.run_id), start


def begin(context: Context, start: Start, *, owner: str | None = None) -> Begun:
    """Take what a run needs and record its start, see `RunBook.begin`. Raises the errors of `Database`."""
    context.prepare_own_tables()
    begun = _book(context).begin(start, alone=start.job not in MANY_AT_ONCE, owner=owner)
    if begun.dead_runs:
        log.warning("dead_runs_closed", runs=begun.dead_runs)
    return begun


def carry_out(
    context: Context,
    use_case: UseCase,
    begun: Begun,
    *,
    hand_over: HandOver | None = None,
    again_at: AgainAt = lambda _done: None,
) -> JobRun:
    """Do the work of a run that was begun, unless it is refused, and record its end."""
    started = context.clock.monotonic()
    if begun.refusal is not None:
        outcome, done = _refused(begun.start, begun.refusal)
    else:
        outcome, done = _at_work(context, use_case, begun, hand_over, again_at)
    if begun.leaves_row or begun.claim is not None:
        _finish(context, begun, outcome, done, context.clock.monotonic() - started, again_at(done))
    return done


def _book(context: Context) -> RunBook:
    # SQLite in WAL mode serves the processes of one kernel only, so no mark is that of another machine which looks like
    # this one. Clients of a server may be such: virtual machines copied while they ran share boot, pids and times.
    place = Place(mark=own_mark, gone=provably_gone) if context.database.dialect == "sqlite" else NOWHERE
    return RunBook(context.database, context.clock, place)


def _at_work(
    context: Context, use_case: UseCase, begun: Begun, hand_over: HandOver | None, again_at: AgainAt
) -> tuple[Outcome, JobRun]:
    started = context.clock.monotonic()
    try:
        with Heartbeat(_book(context).renewal(begun)):
            outcome, done = _attempt(context, begun.start.run_id, begun.start.job, use_case)
            # Before its end is recorded: a run that is killed in between is done again, and what it found is told.
            return outcome, _told(context, outcome, done, hand_over)
    except BaseException as torn:
        # The process is told to end: what it holds is given back, so that nobody has to wait for it.
        outcome, done = _torn(begun.start, torn)
        _finish(context, begun, outcome, done, context.clock.monotonic() - started, again_at(done))
        raise


def _told(context: Context, outcome: Outcome, done: JobRun, hand_over: HandOver | None) -> JobRun:
    """Have judged and told what the run found; trouble with that is told, and does not make the run a failed one."""
    if hand_over is None:
        return done
    try:
        more = hand_over(context, done.job, outcome)
    except Exception as error:  # what the run did is done; its record and its report must not be lost with its alerts
        log.exception("alerts_not_handed_over", error=redact(str(error)), error_type=type(error).__name__)
        more = {"alerts_error": f"{type(error).__name__}: {redact(str(error))}"}
    return replace(done, result={**done.result, **plain(more)}) if more else done


def _finish(
    context: Context, begun: Begun, outcome: Outcome, done: JobRun, seconds: float, again_at: datetime | None
) -> None:
    ending = Ending(
        state=done.state,
        seconds=seconds,
        result=done.result,
        error=done.result.get("error"),
        report_path=str(outcome.report) if outcome.report else None,
    )
    # A slot that can't be closed stays claimed until its lease is over and is then offered again.
    with _recording("run_end_not_recorded"):
        if not _book(context).end(begun, ending, again_at=again_at):
            log.error("slot_was_taken_over", slot=str(begun.start.origin.slot))
        elif again_at is not None:
            why = done.result.get("error") or done.result.get("skipped")
            log.warning("job_will_be_tried_again", error=why, at=again_at.isoformat())
    log.info("job_finished", state=done.state, seconds=round(seconds, 3))


def _refused(start: Start, refusal: Refusal) -> tuple[Outcome, JobRun]:
    """What becomes of a run that is not carried out.

    The first delivery of a message may be a dead worker's, so its second is worth another try.
    """
    if refusal.same_run:
        log.info("run_delivered_twice")
    outcome, done = _skipped(start.run_id, start.job, refusal.why)
    code = ExitCode.LOCKED if refusal.at_work else ExitCode.OK
    return outcome, replace(done, temporary=refusal.same_run, exit_code=code)


def _skipped(run_id: str, name: str, why: str) -> tuple[Outcome, JobRun]:
    result = {"success": True, "skipped": why}
    return Outcome(result=result), JobRun(
        run_id=run_id, job=name, state="skipped", result=result, exit_code=ExitCode.LOCKED
    )


def _torn(start: Start, torn: BaseException) -> tuple[Outcome, JobRun]:
    why = f"its process was told to end ({type(torn).__name__})"
    result = {"success": False, "error": why, "error_type": type(torn).__name__}
    return Outcome(result=result), JobRun(
        run_id=start.run_id,
        job=start.job,
        state="interrupted",
        result=result,
        exit_code=ExitCode.FAILED,
        temporary=True,
    )


def _attempt(context: Context, run_id: str, name: str, use_case: UseCase) -> tuple[Outcome, JobRun]:
    try:
        outcome = use_case(context)
    except Locked as held:
        return _skipped(run_id, name, str(held))
    except GengfuError as error:
        log.error("job_failed", error=str(error), error_type=type(error).__name__)  # noqa: TRY400 - told on purpose
        return _failed(run_id, name, error, error.exit_code, temporary=not error.permanent)
    except Exception as error:  # the loop of jobs goes on; this one is told with its stack
        log.exception("job_crashed", error=redact(str(error)), error_type=type(error).__name__)
        return _failed(run_id, name, error, ExitCode.FAILED, temporary=False)
    result = plain(outcome.result)
    succeeded = bool(result.get("success"))
    exit_code = outcome.exit_code if outcome.exit_code or succeeded else ExitCode.FAILED
    state: State = "skipped" if succeeded and "skipped" in result else "succeeded" if succeeded else "failed"
    return outcome, JobRun(
        run_id=run_id, job=name, state=state, result=result, exit_code=exit_code, temporary=outcome.temporary
    )


def _failed(
    run_id: str, name: str, error: Exception, exit_code: ExitCode, *, temporary: bool
) -> tuple[Outcome, JobRun]:
    # One line: SQLAlchemy adds a second one with an address to read on.
    text = redact(" ".join(str(error).partition("\n(Background on")[0].split())) or type(error).__name__
    result = {"success": False, "error": text, "error_type": type(error).__name__}
    return Outcome(result=result), JobRun(
        run_id=run_id, job=name, state="failed", result=result, exit_code=exit_code, temporary=temporary
    )


@contextmanager
def _recording(event: str) -> Iterator[None]:
    """A database that is away costs the record, not the run."""
    try:
        yield
    except GengfuError as error:
        log.warning(event, error=str(error))


def plain(value: Any) -> Any:
    """Return `value` with only what JSON has: paths and other objects as text, NaN and infinities as None."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(inner) for inner in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)
