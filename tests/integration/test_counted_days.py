"""A finished day is counted before its rows go: the clean-up counts what nobody counted, and waits for the rest."""

from collections.abc import Iterator
from datetime import date, timedelta

import pytest
from sqlalchemy import func, insert, select, update

from app import cleaning, counted_days, jobs
from app.context import Context, make_context
from app.core.clock import ManualClock
from app.core.errors import DatabaseUnavailable, ExitCode
from app.core.migrate import upgrade
from app.core.own_tables import daily_rollup, rule_run
from app.demo import schema
from app.retention.roots import init_roots
from app.settings import load


@pytest.fixture
def context(database_url: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("GENGFU_GENERAL__TIMEZONE", "Asia/Shanghai")
    for module in ("cleanup", "guards"):
        monkeypatch.setattr(f"app.retention.{module}.frozen_now", lambda _: clock.now())
    made = make_context(load(), clock)
    upgrade(made.database)
    with made.database.write() as connection:
        schema.metadata.create_all(connection)
    init_roots(made.database, made.folders, clock)
    for number in range(4):
        _task(made, number, "failed" if number == 3 else "completed", days=49)
    _task(made, 9, "completed", days=1)
    yield made
    made.database.dispose()


def _task(context: Context, number: int, status: str, *, days: int) -> None:
    at = context.clock.now() - timedelta(days=days)
    row = {"id": number, "task_id": f"任务-{number}", "task_type": "识别", "status": status, "retry_count": 0}
    times = {"created_at": at - timedelta(minutes=5), "completed_at": at, "updated_at": at}
    with context.database.write() as connection:
        connection.execute(insert(schema.tasks).values(row | times))


def _stored(context: Context) -> dict[date, int]:
    with context.database.read() as connection:
        rows = connection.execute(select(daily_rollup.c.day, daily_rollup.c.figures))
        return {row.day: row.figures["total_tasks"] for row in rows}


def _tasks(context: Context) -> int:
    with context.database.read() as connection:
        return int(connection.execute(select(func.count()).select_from(schema.tasks)).scalar_one())


def _old_day(context: Context) -> date:
    return (context.clock.now() - timedelta(days=49)).astimezone(context.zone).date()


def test_the_days_of_expired_rows_are_counted_before_the_rows_go(context: Context) -> None:
    done = jobs.run_here(context, "cleanup-expired-tasks")
    assert done.result["tasks_cleaned"] == 4
    assert _stored(context) == {_old_day(context): 4}


def test_rows_of_a_day_that_could_not_be_counted_stay_and_a_person_may_let_them_go(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_args: object, **_kwargs: object) -> None:
        raise DatabaseUnavailable("统计 is away")

    monkeypatch.setattr(counted_days, "backfill", away)
    done = jobs.run_here(context, "cleanup-expired-tasks")
    assert done.exit_code == ExitCode.HELD
    assert (done.result["tasks_cleaned"], _tasks(context)) == (0, 5)
    reasons = "\n".join(reason for rule in done.result["rules"] for reason in rule["reasons"])
    assert f"gengfu report backfill --from {_old_day(context)}" in reasons
    with context.database.write() as connection:
        connection.execute(update(rule_run).values(approved_at=context.clock.now(), approved_by="值班"))
    again = jobs.run_here(context, "cleanup-expired-tasks")
    assert again.result["tasks_cleaned"] == 4


def test_a_dry_run_counts_no_day_and_is_not_held_for_it(context: Context) -> None:
    done = cleaning.cleanup_expired_tasks(context, dry_run=True)
    assert done.result["tasks_cleaned"] == 4
    assert _stored(context) == {}


def test_after_a_clean_up_earlier_days_are_known_to_be_incomplete(context: Context) -> None:
    assert counted_days.complete_since(context) is None
    jobs.run_here(context, "cleanup-expired-tasks")
    week_ago = (context.clock.now() - timedelta(days=7)).astimezone(context.zone).date()
    assert counted_days.complete_since(context) == week_ago + timedelta(days=1)
    # A row that turns up late on a day that nobody counted holds nothing up: its figures can't be told any more.
    _task(context, 20, "completed", days=45)
    assert jobs.run_here(context, "cleanup-expired-tasks").result["tasks_cleaned"] == 1


def test_rows_of_other_tables_wait_for_no_statistics(context: Context) -> None:
    assert counted_days.why_uncounted(context, "celery_taskmeta", context.clock.now()) is None
    assert counted_days.why_uncounted(context, "tasks", context.clock.now() - timedelta(days=30)) is not None
