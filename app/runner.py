"""Runs one job: ids in the log context, run record, timing, errors told once, alerts handed over."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import structlog

from app.context import Context
from app.core.errors import ExitCode, GengfuError, Locked
from app.core.redaction import redact
from app.schedule.heartbeat import Heartbeat, Renewal
from app.schedule.leases import Held
from app.schedule.runs import Origin, State, new_run_id
from app.schedule.single_flight import MANY_AT_ONCE, RunsAlready, SingleFlight

log = structlog.get_logger("gengfu.run")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a use case brings back."""

    result: dict[str, Any]
    """Plain JSON-able values, with `success`."""
    alerts: list[dict[str, Any]] = field(default_factory=list)
    """Alerts to hand over, in the seed's form: type, message, severity, and more."""
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
HandOver = Callable[[Context, list[dict[str, Any]]], None]


def run_job(
    context: Context,
    name: str,
    use_case: UseCase,
    *,
    origin: Origin,
    hand_over: HandOver | None = None,
    single_flight: bool | None = None,
    renewals: Sequence[Renewal] = (),
) -> JobRun:
    """Run `use_case` as job `name`; never raises what the job raised, its result says so.

    A run leaves a row in the history wherever the database can be written; where it can't, the run goes on and the log
    says so: the disk check must work while the database is down. While a run of the job is at work a second one is
    `skipped` (`single_flight`; None: as the job's name says). `renewals` are called with the run's own heartbeat.
    """
    run_id = origin.run_id or new_run_id()
    bound = replace(context, due_at=origin.slot, run_id=run_id)
    alone = name not in MANY_AT_ONCE if single_flight is None else single_flight
    with structlog.contextvars.bound_contextvars(run_id=run_id, job=name, queue=origin.queue):
        started = context.clock.monotonic()
        try:
            with _flight(bound, name, origin, alone=alone) as own:
                with Heartbeat([*own, *renewals]):
                    outcome, done = _attempt(bound, run_id, name, use_case)
                _finish(bound, outcome, done, context.clock.monotonic() - started)
        except RunsAlready as other:
            return _refused(bound, name, origin, other)
        if outcome.alerts and hand_over is not None:
            hand_over(bound, outcome.alerts)
    return done


@contextmanager
def _flight(context: Context, name: str, origin: Origin, *, alone: bool) -> Iterator[Sequence[Renewal]]:
    """Hold the job's lease for the time of the block and yield what is to be renewed meanwhile.

    Raises RunsAlready. Without a database the run goes on alone, unrecorded.
    """
    flights = SingleFlight(context.database, context.clock)
    held: Held | None = None
    renewals: list[Renewal] = []
    with _recording("run_start_not_recorded"):
        context.prepare_own_tables()
        if origin.attempt > 1:
            _refuse_done(context)
        if alone:
            lease = held = flights.take(name, context.run_id)
            renewals.append(lambda: flights.renew(lease))
        if dead := context.history.started(context.run_id, name, origin):
            log.warning("dead_runs_closed", runs=dead)
        renewals.append(lambda: context.history.heartbeat(context.run_id))
    try:
        yield renewals
    finally:
        if held is not None:
            with _recording("lease_not_given_back"):
                flights.give_back(held)


def _refuse_done(context: Context) -> None:
    """Raise RunsAlready for another attempt of a run that succeeded: it was delivered twice, and the first worked."""
    earlier = context.history.get(context.run_id)
    if earlier is not None and earlier.state == "succeeded":
        raise RunsAlready(context.run_id, f"run {context.run_id} has succeeded already", at_work=False)


def _finish(context: Context, outcome: Outcome, done: JobRun, seconds: float) -> None:
    with _recording("run_end_not_recorded"):
        context.history.finished(
            done.run_id,
            done.state,
            seconds=seconds,
            result=done.result,
            error=done.result.get("error"),
            report_path=str(outcome.report) if outcome.report else None,
        )
    log.info("job_finished", state=done.state, seconds=round(seconds, 3))


def _refused(context: Context, name: str, origin: Origin, other: RunsAlready) -> JobRun:
    """Leave a row for a run that found another one at work.

    A second delivery of the other run's own message leaves none: the row is the other's. Its first delivery may be a
    dead worker's, so it is worth another try; `_flight` tells then whether the first came to a good end.
    """
    again = other.run_id == context.run_id
    outcome, done = _skipped(context.run_id, name, other)
    if again:
        log.info("run_delivered_twice")
        return replace(done, temporary=other.at_work)
    with _recording("run_start_not_recorded"):
        context.history.started(context.run_id, name, origin)
    _finish(context, outcome, done, 0.0)
    return done


def _skipped(run_id: str, name: str, held: Locked) -> tuple[Outcome, JobRun]:
    result = {"success": True, "skipped": str(held)}
    return Outcome(result=result), JobRun(
        run_id=run_id, job=name, state="skipped", result=result, exit_code=ExitCode.LOCKED
    )


def _attempt(context: Context, run_id: str, name: str, use_case: UseCase) -> tuple[Outcome, JobRun]:
    try:
        outcome = use_case(context)
    except Locked as held:
        return _skipped(run_id, name, held)
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
    except RunsAlready:
        raise
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
