"""Works off one slot of the ledger: claim, run with a heartbeat, close. A second delivery finds it and leaves."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from app.context import Context
from app.core.errors import ExitCode, GengfuError
from app.runner import HandOver, JobRun, UseCase, run_job
from app.schedule.ledger import MOST_ATTEMPTS, Claim, Ledger
from app.schedule.runs import Origin, new_run_id

log = structlog.get_logger("gengfu.run")

_FIRST_PAUSE = timedelta(seconds=30)


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
    context.prepare_own_tables()
    ledger = Ledger(context.database)
    run_id = origin.run_id or new_run_id()
    claim = ledger.claim(name, due_at, owner, run_id, context.clock.now())
    if claim is None:
        return _not_ours(name, due_at, run_id)
    # Killed after its run was recorded and before its slot was closed, a worker leaves work that is done.
    if claim.attempt > 1 and (earlier := context.history.succeeded_for(name, due_at)) is not None:
        ledger.close(claim, "succeeded", context.clock.now())
        return _skipped(name, run_id, f"slot {due_at.isoformat()} was done by run {earlier.id}")
    done = run_job(
        context,
        name,
        use_case,
        origin=replace(origin, run_id=run_id),
        hand_over=hand_over,
        renewals=[lambda: ledger.renew(claim, context.clock.now())],
    )
    with _told():
        _close(context, ledger, claim, done)
    return done


def _close(context: Context, ledger: Ledger, claim: Claim, done: JobRun) -> None:
    now = context.clock.now()
    # The other run may be about another day, or a dead worker's whose lease is not over yet: no slot is lost to it.
    passing = done.temporary or done.exit_code == ExitCode.LOCKED
    if passing and claim.attempt < MOST_ATTEMPTS:
        again = now + _FIRST_PAUSE * 2 ** (claim.attempt - 1)
        kept = ledger.offer_again(claim, again)
        why = done.result.get("error") or done.result.get("skipped")
        log.warning("job_will_be_tried_again", error=why, at=again.isoformat())
    else:
        kept = ledger.close(claim, done.state, now)
    if not kept:
        log.error("slot_was_taken_over", job=claim.job, slot=claim.due_at.isoformat(), attempt=claim.attempt)


def _not_ours(name: str, due_at: datetime, run_id: str) -> JobRun:
    log.info("slot_not_claimed", job=name, slot=due_at.isoformat())
    return _skipped(name, run_id, f"slot {due_at.isoformat()} is done, in work, or was never planned")


def _skipped(name: str, run_id: str, why: str) -> JobRun:
    return JobRun(
        run_id=run_id, job=name, state="skipped", result={"success": True, "skipped": why}, exit_code=ExitCode.OK
    )


@contextmanager
def _told() -> Iterator[None]:
    """A slot that can't be closed stays claimed until its lease is over and is then offered again; the log says so."""
    try:
        yield
    except GengfuError as error:
        log.error("slot_not_closed", error=str(error))  # noqa: TRY400 - told on purpose
