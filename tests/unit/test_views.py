"""What `status` and `list` are made of: beat's sign of life, workers, jobs."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from app.schedule.beat_lock import TICK_LIMIT_S, beat_lock_path
from app.schedule.job_spec import JobSpec
from app.schedule.runs import RunRecord
from app.service.process_lock import ProcessLock
from app.service.worker_lock import worker_lock_path
from app.views import beat_status, job_lines, worker_statuses

NOW = datetime(2026, 3, 10, 4, 0, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")


def _spec(**changes: object) -> JobSpec:
    values: dict[str, object] = {
        "name": "generate-daily-statistics",
        "task_name": "t",
        "cron": "0 2 * * *",
        "queue": "receipt",
        "priority": 3,
        "soft_time_limit": 60,
        "time_limit": 120,
    }
    return JobSpec(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("age", "state"),
    [(0.0, "running"), (TICK_LIMIT_S, "running"), (TICK_LIMIT_S + 0.001, "stale"), (None, "stale")],
)
def test_a_beat_is_believed_only_while_its_scheduling_thread_ticks(
    tmp_path: Path, age: float | None, state: str
) -> None:
    lock = ProcessLock(beat_lock_path(tmp_path))
    lock.acquire(last_tick=None if age is None else (NOW - timedelta(seconds=age)).isoformat())
    assert beat_status(tmp_path, NOW).state == state
    lock.release()
    assert beat_status(tmp_path, NOW).state == "stopped"


def test_a_stale_lock_file_of_a_dead_process_is_not_believed(tmp_path: Path) -> None:
    path = beat_lock_path(tmp_path)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"pid": 1, "last_tick": NOW.isoformat()}))
    assert beat_status(tmp_path, NOW).state == "stopped"


def test_only_living_workers_are_listed(tmp_path: Path) -> None:
    lock = ProcessLock(worker_lock_path(tmp_path, "夜班"))
    lock.acquire(name="夜班@host", queues=["file"])
    worker_lock_path(tmp_path, "gone").write_text("{}")
    assert [(worker.name, worker.queues) for worker in worker_statuses(tmp_path)] == [("夜班@host", ("file",))]
    lock.release()


def test_a_job_shows_its_next_run_in_utc_and_how_late_its_last_one_was() -> None:
    slot = NOW - timedelta(hours=10)
    last = RunRecord(
        id="1",
        job="generate-daily-statistics",
        trigger="schedule",
        state="succeeded",
        slot=slot,
        queue="receipt",
        worker="w",
        attempt=1,
        started_at=slot + timedelta(seconds=3),
        finished_at=None,
        seconds=None,
        result=None,
        error=None,
        report_path=None,
    )
    (line,) = job_lines([_spec()], SHANGHAI, NOW, {last.job: last})
    assert line.next_run == datetime(2026, 3, 10, 18, 0, tzinfo=UTC)
    assert line.lateness_s == 3.0
    assert line.state == "on"


def test_a_job_switched_off_or_without_a_time_has_no_next_run() -> None:
    off, by_hand = job_lines([_spec(enabled=False), _spec(cron=None)], SHANGHAI, NOW, {})
    assert (off.state, off.next_run) == ("off", None)
    assert (by_hand.state, by_hand.next_run, by_hand.last) == ("by hand", None, None)
