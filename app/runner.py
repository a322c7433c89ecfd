"""Runs one job: ids in the log context, run record, timing, errors told once, alerts handed over."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import structlog

from app.context import Context
from app.core.errors import ExitCode, GengfuError, Locked
from app.core.redaction import redact
from app.schedule.runs import Origin, State, new_run_id

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
    context: Context, name: str, use_case: UseCase, *, origin: Origin, hand_over: HandOver | None = None
) -> JobRun:
    """Run `use_case` as job `name`; never raises what the job raised, its result says so.

    A run leaves a row in the history wherever the database can be written; where it can't, the run goes on and the log
    says so: the disk check must work while the database is down.
    """
    run_id = origin.run_id or new_run_id()
    bound = replace(context, due_at=origin.slot, run_id=run_id)
    with structlog.contextvars.bound_contextvars(run_id=run_id, job=name, queue=origin.queue):
        started = context.clock.monotonic()
        with _recording("run_start_not_recorded"):
            bound.prepare_own_tables()
            bound.history.started(run_id, name, origin)
        outcome, done = _attempt(bound, run_id, name, use_case)
        seconds = context.clock.monotonic() - started
        with _recording("run_end_not_recorded"):
            bound.history.finished(
                run_id,
                done.state,
                seconds=seconds,
                result=done.result,
                error=done.result.get("error"),
                report_path=str(outcome.report) if outcome.report else None,
            )
        log.info("job_finished", state=done.state, seconds=round(seconds, 3))
        if outcome.alerts and hand_over is not None:
            hand_over(bound, outcome.alerts)
    return done


def _attempt(context: Context, run_id: str, name: str, use_case: UseCase) -> tuple[Outcome, JobRun]:
    try:
        outcome = use_case(context)
    except Locked as held:
        result = {"success": True, "skipped": str(held)}
        return Outcome(result=result), JobRun(
            run_id=run_id, job=name, state="skipped", result=result, exit_code=ExitCode.LOCKED
        )
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
