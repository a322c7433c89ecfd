"""What the beat manager prints fits the window, whatever it has to tell."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.cli._schedule_tables import print_jobs, print_status
from app.schedule.cron import in_words
from app.schedule.job_spec import JobSpec
from app.views import BeatStatus, JobLine, LeaderStatus, WorkerStatus, job_lines

NOW = datetime(2026, 3, 10, 4, 0, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")
HOST = "night-watch-of-the-second-data-centre-in-a-town-with-a-long-name.example"


def lines() -> list[JobLine]:
    def spec(name: str, cron: str | None, **changes: Any) -> JobSpec:
        values: dict[str, Any] = {"task_name": "t", "queue": "high_priority", "priority": 9}
        return JobSpec(name=name, cron=cron, soft_time_limit=60, time_limit=120, **values | changes)

    specs = [
        spec("update-all-pending-tracking", "*/30 * * * *"),
        spec("夜间清理", "30 3 1-7 */2 MON-FRI", timezone="Asia/Kathmandu"),
        spec("by-hand", None),
        spec("switched-off", "0 4 * * *", enabled=False),
        spec("at-rest", "0 4 * * *"),
        spec("at-work", "0 4 * * *"),
    ]
    return job_lines(specs, SHANGHAI, NOW, {}, {"at-rest": NOW}, {"at-work"})


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def columns(text: str) -> int:
    """How wide a terminal shows it: a Chinese character takes two columns."""
    return sum(1 if ord(letter) < 0x2E80 else 2 for letter in text)


@pytest.mark.parametrize("width", [80, 109, 110, 120])
def test_the_list_fits_and_tells_state_and_time_of_each_job(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    print_jobs([asdict(line) for line in lines()], SHANGHAI)
    told = shown(capsys)
    assert max(map(columns, told)) <= width
    states = {row.split()[0]: row for row in told if row.strip()}
    for job, state in {
        "update-all-pending-tracking": "scheduled",
        "夜间清理": "scheduled",
        "by-hand": "manual only",
        "switched-off": "off",
        "at-rest": "paused",
        "at-work": "running",
    }.items():
        assert f" {state} " in states[job]
    assert any("+0545" in row for row in told)
    beside = "every 30th minute" in states["update-all-pending-tracking"]
    assert beside is (width >= 110)
    assert "every 30th minute" in " ".join(told)


def test_status_folds_long_hosts_refused_settings_and_refused_messages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    why = f"/srv/{'夜' * 10}/settings.toml:6: schedule.jobs.cleanup-logs.cron: '61 * * * *' is no cron expression"
    beat = BeatStatus(
        state="running", pid=4711, host=HOST, since=NOW, tick_age_s=1, settings_refused=why, stand_bys=tuple(range(9))
    )
    leader = LeaderStatus(host=HOST, pid=4711, since=NOW, until=NOW + timedelta(seconds=9), alive=True, here=True)
    worker = WorkerStatus(
        name=f"night@{HOST}", pid=1, since=NOW, queues=("receipt", "file", "low_priority"), messages_refused=3
    )
    facts = {"beat": asdict(beat), "leader": asdict(leader), "workers": [asdict(worker)], "not_seen": []}
    print_status(facts | {"jobs": [asdict(line) for line in lines()]}, SHANGHAI, NOW)
    told = shown(capsys)
    assert max(len(row) for row in told) <= 80
    text = " ".join(" ".join(told).split())
    assert f"process 4711 on {HOST} since" in text
    assert "'61 * * * *' is no cron expression" in text
    assert "3 messages refused" in text


def test_a_worker_that_refused_nothing_and_settings_that_are_followed_are_not_spoken_of(
    capsys: pytest.CaptureFixture[str],
) -> None:
    beat = BeatStatus(state="running", pid=1, host="h", since=NOW, tick_age_s=1)
    worker = WorkerStatus(name="w", pid=1, since=NOW, queues=("file",))
    facts = {"beat": asdict(beat), "leader": None, "workers": [asdict(worker)], "jobs": [], "not_seen": []}
    print_status(facts, SHANGHAI, NOW)
    told = "".join(shown(capsys))
    assert "worker w" in told
    assert "refused" not in told
    assert "settings" not in told


@pytest.mark.parametrize(
    ("cron", "words"),
    [("*/10 * * * *", "Every 10th minute"), ("*/5 3 * * *", "Every fifth minute"), ("@every 30s", "every 30 s")],
)
def test_what_goes_without_saying_is_not_said(cron: str, words: str) -> None:
    assert in_words(cron).startswith(words)
    assert "every hour" not in in_words(cron)
