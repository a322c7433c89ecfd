"""Works off one slot of the ledger: claim, run, close. A second delivery finds it and leaves."""

from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from app.context import Context
from app.core.errors import ExitCode
from app.execution.runner import HandOver, JobRun, UseCase, begin, bound_run, carry_out
from app.schedule.claims import Claim
from app.schedule.ledger import MOST_ATTEMPTS
from app.schedule.runs import Origin

log = structlog.get_logger("gengfu.run")

_FIRST_PAUSE = timedelta(seconds=30)
_WHILE_LOCKED = timedelta(seconds=60)


def run_slot(
    context: Context,
    name: str,
    use_case: UseCase,
    *,
    due_at: datetime,
    origin: Origin,
    owner: str,
    hand_over: HandOver | None = None,
) -> JobRun:
    """Run job `name` for its slot `due_at`, if nobody else did or does; the result then says `skipped`.

    A run that failed for a passing reason, or found another run of the job at work, gives the slot back, to be sent
    again after a growing pause. Raises DatabaseUnavailable or DatabaseBusy where the slot can't be claimed: the ledger
    offers it again by itself.
    """
    with bound_run(context, name, replace(origin, slot=due_at)) as (bound, start):
        begun = begin(bound, start, owner=owner)
        if begun.refusal is not None:
            log.info("slot_not_run", slot=due_at.isoformat(), why=begun.refusal.why)

        def again_at(done: JobRun) -> datetime | None:
            return _next_try(begun.claim, done, context.clock.now())

        return carry_out(bound, use_case, begun, hand_over=hand_over, again_at=again_at)


def _next_try(claim: Claim | None, done: JobRun, now: datetime) -> datetime | None:
    """When a slot is to be sent again whose run ended so; None where it is closed."""
    if claim is None:
        return None
    if done.exit_code == ExitCode.LOCKED:
        # The other run may be about another day, or a dead worker's whose lease is not over yet: no slot is lost to
        # it. What ends the waiting is the slot's own age (`JobSpec.max_age_s`).
        return now + _WHILE_LOCKED
    if not done.temporary or claim.attempt >= MOST_ATTEMPTS:
        return None
    pause: timedelta = _FIRST_PAUSE * 2 ** (claim.attempt - 1)
    return now + pause
