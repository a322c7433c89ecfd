"""Several threads at one piece of work, the caller's among them."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from threading import Event
from typing import TypeVar

_Worker = TypeVar("_Worker")


def work_together(
    work: Callable[[_Worker], bool], workers: Sequence[_Worker], expected: tuple[type[Exception], ...]
) -> None:
    """Call `work` for each worker until it says False, for the first one in the caller's thread.

    After an error nobody begins anew, and the first one is raised when all have ended. What comes upon the caller's
    thread and is not `expected`, a time limit or an interrupt, goes before the errors of the others.
    """
    stopped = Event()
    errors: list[BaseException] = []

    def loop(worker: _Worker, caught: tuple[type[BaseException], ...]) -> None:
        try:
            while not stopped.is_set() and work(worker):
                pass
        except caught as error:
            errors.append(error)
            stopped.set()

    first, *others = workers
    with ThreadPoolExecutor(len(others) or 1, thread_name_prefix="clean-up") as pool:
        try:
            for worker in others:
                pool.submit(copy_context().run, loop, worker, (BaseException,))
            loop(first, expected)
        except BaseException:
            stopped.set()
            raise
    if errors:
        raise errors[0]
