"""A worker's sign of life, which `up`, `status` and `doctor` read without asking the broker."""

from typing import Any

import structlog

from app.core.errors import GengfuError
from app.service.process_lock import ProcessLock
from app.service.worker_lock import worker_lock_path
from tasks.base import process_context

log = structlog.get_logger("gengfu.tasks")
_held: list[ProcessLock] = []


def leave(name: str, queues: list[str]) -> None:
    """Take the worker's lock and say what it serves; where that can't be, the log says so."""
    lock = ProcessLock(worker_lock_path(process_context().settings.paths.var, name.partition("@")[0]))
    try:
        lock.acquire(name=name, queues=queues, messages_refused=0)
    except GengfuError as error:
        log.warning("worker_lock_not_taken", worker=name, error=str(error))
    else:
        _held.append(lock)


def note(**facts: Any) -> None:
    """Add facts to the sign; a full disk costs them, not the worker."""
    try:
        for lock in _held:
            lock.update(**facts)
    except GengfuError as error:
        log.warning("sign_of_life_not_written", error=str(error))


def drop() -> None:
    """Give the lock back, or in a child of the pool forget the parent's: it must not keep it alive."""
    while _held:
        _held.pop().release()
