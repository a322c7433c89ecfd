"""Ending a clean-up in the middle: at a counted step, by an exception or by SIGKILL, and starting the next one."""

import os
import signal
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from app.core.errors import Locked

IS_FULL = bool(os.environ.get("TEST_FULL"))
"""Whether every step is taken where by default one of each kind is."""


class Stopped(BaseException):
    """Stands for a time limit or an interrupt that ends the run in the middle."""


class Steps:
    """Counts checkpoints and acts at one of them."""

    def __init__(self, stop_at: int, act: Callable[[], None]) -> None:
        self.seen = 0
        self._stop_at = stop_at
        self._act = act

    def __call__(self, _point: str) -> None:
        self.seen += 1
        if self.seen == self._stop_at:
            self._act()


def chosen_steps(points: Sequence[str], *shares: float) -> list[int]:
    """Steps at which to end a run that passes these checkpoints, counted from 1.

    Of each kind of checkpoint those at the given shares of its occurrences, 0 being the first and 1 the last;
    with `TEST_FULL=1` every step.
    """
    if IS_FULL:
        return list(range(1, len(points) + 1))
    kinds: dict[str, list[int]] = {}
    for step, point in enumerate(points, 1):
        kinds.setdefault(point.partition(":")[0], []).append(step)
    return sorted({steps[int(share * (len(steps) - 1))] for steps in kinds.values() for share in shares})


def stop() -> None:
    """End the run like an interrupt."""
    raise Stopped


def run_and_kill(lab: Any, step: int) -> None:
    """Run in a child that gets SIGKILL at the given step."""
    # SQLite must not be carried over a fork.
    lab.database.dispose()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of the test runner, which the child never uses
        child = os.fork()
    if child == 0:
        try:
            lab.run("killed", checkpoint=Steps(step, lambda: os.kill(os.getpid(), signal.SIGKILL)))
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"step {step} was not reached"


def next_run(lab: Any, run_id: str = "next") -> dict[str, Any]:
    """The server needs a moment to notice that the killed process is gone."""
    deadline = time.monotonic() + 20
    while True:
        try:
            document: dict[str, Any] = lab.document(run_id)
        except Locked:
            assert time.monotonic() < deadline
        else:
            return document
