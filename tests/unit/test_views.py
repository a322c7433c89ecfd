"""What `status` and `list` are made of: beat's sign of life, workers, jobs."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from app.schedule.beat_lock import TICK_LIMIT_S, beat_lock_paths
from app.schedule.job_spec import JobSpec
from app.schedule.leases import LeaseHolder
from app.schedule.runs import RunRecord
from app.service.process_lock import ProcessLock
from app.service.worker_lock import worker_lock_path
from app.views import BeatStatus, beat_status, job_lines, leader_status, schedule_is_kept, worker_statuses

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
    lock = ProcessLock(beat_lock_paths(tmp_path)[0])
    lock.acquire(last_tick=None if age is None else (NOW - timedelta(seconds=age)).isoformat())
    assert beat_status(tmp_path, NOW).state == state
    lock.release()
    assert beat_status(tmp_path, NOW).state == "stopped"


def test_a_stale_lock_file_of_a_dead_process_is_not_believed(tmp_path: Path) -> None:
    path = beat_lock_paths(tmp_path)[0]
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
    assert line.state == "scheduled"


def test_a_job_switched_off_or_without_a_time_has_no_next_run() -> None:
    off, by_hand = job_lines([_spec(enabled=False), _spec(cron=None)], SHANGHAI, NOW, {})
    assert (off.state, off.next_run) == ("off", None)
    assert (by_hand.state, by_hand.next_run, by_hand.last) == ("manual only", None, None)


def test_the_next_run_is_counted_in_the_jobs_own_zone() -> None:
    (line,) = job_lines([_spec(timezone="Europe/Berlin")], SHANGHAI, NOW, {})
    assert line.next_run == datetime(2026, 3, 11, 1, 0, tzinfo=UTC)
    assert line.timezone == "Europe/Berlin"


def _lease(**changes: object) -> LeaseHolder:
    values: dict[str, object] = {"owner": "o", "host": "夜", "pid": 7, "term": 1, "since": NOW, "until": NOW}
    return LeaseHolder(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(("left", "alive"), [(timedelta(0), False), (timedelta(milliseconds=1), True)])
def test_a_leader_of_another_home_counts_only_while_its_lease_runs(left: timedelta, *, alive: bool) -> None:
    stopped = BeatStatus(state="stopped")
    leader = leader_status(_lease(until=NOW + left), stopped, NOW)
    assert leader is not None
    assert (leader.alive, leader.here) == (alive, False)
    assert schedule_is_kept(stopped, leader) is alive


@pytest.mark.parametrize(("state", "kept"), [("running", True), ("stale", False)])
def test_a_beat_of_this_home_that_does_not_tick_is_a_fault_whoever_leads(state: str, *, kept: bool) -> None:
    beat = BeatStatus(state=state)  # type: ignore[arg-type]
    assert schedule_is_kept(beat, leader_status(_lease(until=NOW + timedelta(seconds=9)), beat, NOW)) is kept
    assert schedule_is_kept(beat, None) is kept


def test_where_no_beat_ever_led_nothing_is_kept() -> None:
    assert leader_status(None, BeatStatus(state="stopped"), NOW) is None
    assert schedule_is_kept(BeatStatus(state="stopped"), None) is False


def test_all_beats_of_a_home_are_told_the_leader_first(tmp_path: Path) -> None:
    first, second, *_ = (ProcessLock(path) for path in beat_lock_paths(tmp_path))
    first.acquire(last_tick=NOW.isoformat(), leads=False)
    second.acquire(last_tick=NOW.isoformat(), leads=True)
    told = beat_status(tmp_path, NOW)
    assert [holder.facts["leads"] for holder in told.holders] == [True, False]
    assert len(told.stand_bys) == 1
    first.release()
    second.release()


def test_a_paused_job_has_no_next_run_and_one_that_is_off_stays_off() -> None:
    since = {"generate-daily-statistics": NOW}
    paused, off = job_lines([_spec(), _spec(enabled=False)], SHANGHAI, NOW, {}, since)
    assert (paused.state, paused.next_run, paused.paused_since) == ("paused", None, NOW)
    assert off.state == "off"
