"""One wrapper around every job: context, ids, run record, timing, errors, retries, alerts handed over."""

import inspect
import os
import secrets
import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from celery import Task
from celery.exceptions import Retry

from app.context import Context, make_context
from app.core.errors import BadArgument, GengfuError
from app.execution.runner import JobRun, Outcome, UseCase, run_job
from app.execution.slots import run_slot
from app.observability.structured_logs import configure_logs
from app.schedule.runs import Origin
from app.watch.telling import hand_over
from config.celery_settings import is_redis
from tasks import queue_depth
from tasks.registry import Job

MOST_RETRIES = 5
_PROCESS = secrets.token_hex(8)
_FIRST_RETRY_S = 30
_FARTHEST_SLOT = timedelta(days=366)

log = structlog.get_logger("gengfu.tasks")
_contexts: dict[int, Context] = {}


def process_context() -> Context:
    """Return this process's context; forked children share the settings and make their own connections."""
    if not _contexts:
        _contexts[0] = new_context()
    return _contexts[0]


def new_context() -> Context:
    """Return a context of its own; the caller disposes of its database."""
    context = make_context()
    # Redis is asked directly; RabbitMQ only answers a client that speaks its protocol.
    return context if is_redis(context.broker_url) else replace(context, queue_meter=queue_depth.measure)


def tell_what_is_missing() -> None:
    """Log, once at a worker's start, what its jobs will fail for: tables and columns that are not there."""
    context = process_context()
    try:
        context.prepare_database()
    except GengfuError as error:
        log.error("database_not_ready", error=str(error))  # noqa: TRY400 - told on purpose, in one line
    finally:
        context.database.dispose()


def run_in_task(task: Task, declared: Job, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Run a job for Celery and return its result (a plain dict with `success`).

    A temporary failure of a delivered message is tried again with a growing pause; run from a shell it is just told.
    """
    context = process_context()
    eager = bool(task.request.is_eager or task.request.called_directly)
    if eager and not structlog.is_configured():
        # A shell line: what it prints is its result; the log belongs in the log files.
        configure_logs("app", context.settings.logging, context.settings.paths.logs)
    origin = _origin(task, declared, eager=eager)
    call = _checked_call(declared, args, kwargs)
    if origin.slot is not None:
        return _run_slot(context, declared, call, origin, origin.slot)
    done = run_job(context, declared.spec.name, call, origin=origin, hand_over=hand_over)
    if done.temporary and not eager and task.request.retries < MOST_RETRIES:
        raise _retry(task, done)
    return done.result


def _run_slot(context: Context, declared: Job, call: UseCase, origin: Origin, due_at: datetime) -> dict[str, Any]:
    """Work off a slot; the ledger, not Celery, sends it again after a failure that passes."""
    name = declared.spec.name
    owner = f"{origin.worker}#{_PROCESS}"
    try:
        return run_slot(
            context, name, call, due_at=due_at, origin=origin, owner=owner[-64:], hand_over=hand_over
        ).result
    except GengfuError as error:
        # Nothing was begun. The message is acknowledged; the slot stays sent and is sent again.
        log.warning("slot_not_claimable", job=name, slot=due_at.isoformat(), error=str(error))
        return {"success": False, "error": str(error)}


def _checked_call(declared: Job, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the use case with its arguments; wrong ones become an error in the run's result, not a dead worker."""

    def call(context: Context) -> Outcome:
        try:
            bound = inspect.signature(declared.function).bind(context, *args, **kwargs)
        except TypeError as error:
            raise BadArgument(f"job {declared.spec.name!r} can't take what it was given: {error}") from error
        return declared.function(*bound.args, **bound.kwargs)

    return call


def _origin(task: Task, declared: Job, *, eager: bool) -> Origin:
    if eager:
        return Origin(trigger="shell", worker=_worker_name(task))
    headers = task.request.headers or {}
    slot = instant_of(headers.get("slot"))
    return Origin(
        trigger="schedule" if slot else "manual",
        slot=slot,
        queue=(task.request.delivery_info or {}).get("routing_key") or declared.spec.queue,
        worker=_worker_name(task),
        queued_at=instant_of(headers.get("published_at")),
        attempt=task.request.retries + 1,
        run_id=_run_id(task.request.id),
    )


def _run_id(task_id: Any) -> str | None:
    """Celery's id without its dashes: a message delivered again finds the row of its first delivery."""
    return str(task_id).replace("-", "")[:32] or None


def _worker_name(task: Task) -> str:
    return str(task.request.hostname or f"shell@{socket.gethostname()}") + f"/{os.getpid()}"


def instant_of(text: Any) -> datetime | None:
    """What a header says, or None where it says nothing: a hand-made message must not reach centuries we have not."""
    try:
        instant = datetime.fromisoformat(str(text)) if text else None
        aware = instant if instant is None or instant.tzinfo else instant.replace(tzinfo=UTC)
        known = aware is not None and abs(aware - process_context().clock.now()) < _FARTHEST_SLOT
        return aware.astimezone(UTC) if aware is not None and known else None
    except (ValueError, OverflowError):
        return None


def _retry(task: Task, done: JobRun) -> Retry:
    pause = _FIRST_RETRY_S * 2**task.request.retries
    log.warning("job_will_be_tried_again", error=done.result.get("error"), in_seconds=pause)
    retry: Retry = task.retry(countdown=pause, throw=False)
    return retry
