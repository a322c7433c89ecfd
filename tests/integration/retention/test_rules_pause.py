"""Stopping a clean-up that is at work: a pause file, or the job being paused."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from app.cleaning import PAUSE_FILE, workplace
from app.context import Context, make_context
from app.core.clock import ManualClock
from app.core.migrate import upgrade
from app.schedule.pauses import pause, resume
from app.settings import load

JOB = "cleanup-expired-tasks"


@pytest.fixture
def context(database_url: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    made = make_context(load(), clock)
    upgrade(made.database)
    yield made
    made.database.dispose()


def test_a_pause_file_halts_the_clean_up_as_long_as_it_is_there(context: Context) -> None:
    place = workplace(context)
    file = context.settings.paths.var / "run" / PAUSE_FILE
    assert place.halted() is None
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    assert PAUSE_FILE in (place.halted() or "")
    file.unlink()
    assert place.halted() is None


def test_a_job_paused_while_it_runs_is_halted_and_stays_so(context: Context, clock: ManualClock) -> None:
    place = workplace(context)
    assert place.halted() is None
    clock.advance(timedelta(seconds=5))
    pause(context.database, JOB, clock.now())
    assert JOB in (place.halted() or "")
    resume(context.database, JOB)
    clock.advance(timedelta(seconds=5))
    assert JOB in (place.halted() or "")  # the run that was halted ends


def test_a_pause_from_before_the_run_or_of_another_job_halts_nobody(context: Context, clock: ManualClock) -> None:
    pause(context.database, JOB, clock.now())
    clock.advance(timedelta(seconds=1))
    place = workplace(context)
    pause(context.database, "disk-space-check", clock.now())
    assert place.halted() is None
