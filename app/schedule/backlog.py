"""What is due and not yet in work: closed at once where nobody wants it run any more."""

from collections.abc import Iterable
from datetime import datetime
from zoneinfo import ZoneInfo

from app.schedule.job_spec import JobSpec
from app.schedule.ledger import Ledger
from app.schedule.planner import plan_job


def close_backlog(ledger: Ledger, specs: Iterable[JobSpec], zone: ZoneInfo, now: datetime) -> int:
    """Close every slot that is due and not in work; return how many. Raises the errors of `Database`.

    What waits is closed as skipped. What passed while no beat was there is entered as missed: otherwise the next beat
    would catch it up.
    """
    last = ledger.last_due(until=now)
    plans = [plan_job(spec, zone, last.get(spec.name), now) for spec in specs]
    passed = [(plan.job, due) for plan in plans for due in (*plan.missed, *plan.send) if due <= now]
    return ledger.plan(passed, now, missed=set(passed)) + ledger.clear(now)
