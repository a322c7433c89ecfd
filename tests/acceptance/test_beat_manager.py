"""The beat manager with real beats, workers and a broker: what it shows is what is there."""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from processes import environment, free_port, run, started, valkey, wait_until

BEAT = ("-m", "celery", "-A", "tasks", "beat")
WORKER = ("-m", "celery", "-A", "tasks", "worker", "-c", "1")
PARTS = {
    "settings",
    "database",
    "broker",
    "workers",
    "beat",
    "alerts",
    "folders",
    "roots",
    "landlock",
    "indexes",
    "clock",
}


@dataclass(frozen=True, kw_only=True)
class Home:
    """A home whose folder has a Chinese name, and its manager."""

    folder: Path
    env: dict[str, str]

    def manager(self, *arguments: str) -> "CompletedProcess[str]":
        return run("celery_beat_manager.py", *arguments, env=self.env)

    def json(self, *arguments: str) -> Any:
        return json.loads(self.manager(*arguments, "--json").stdout)

    def ticks(self) -> bool:
        return self.manager("status").returncode == 0


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    port, folder = free_port(), tmp_path / "更夫"
    database = f"sqlite:///{tmp_path / '数据.db'}"
    env = environment(folder, CELERY_BROKER_URL=f"redis://127.0.0.1:{port}/0", DATABASE_URL=database)
    with valkey(tmp_path / "valkey", port):
        assert run("-m", "app", "db", "upgrade", env=env).returncode == 0
        yield Home(folder=folder, env=env)


def job_of(facts: Any, name: str) -> Any:
    return next(job for job in facts["jobs"] if job["name"] == name)


def test_status_shows_leader_and_stand_by_and_stop_ends_both(home: Home, tmp_path: Path) -> None:
    assert home.manager("start", "--detach").returncode == 0
    try:
        wait_until(home.ticks, "beat ticks")
        leader = home.json("status")["leader"]
        assert (leader["alive"], leader["here"]) == (True, True)
        second = home.manager("start", "--detach")
        assert second.returncode == 4
        assert str(leader["pid"]) in second.stderr
        with started(*BEAT, env=home.env, log=tmp_path / "second.out") as standing_by:
            wait_until(lambda: home.json("status")["beat"]["stand_bys"] == [standing_by.pid], "the second stands by")
            assert home.json("status")["leader"]["pid"] == leader["pid"]
            shown = home.manager("status").stdout
            assert f"leader: process {leader['pid']} on" in shown
            assert f"stands by: process {standing_by.pid}" in shown
            table = shown[shown.index("job ") :].splitlines()
            assert max(len(line.rstrip()) for line in table) <= 80
            ended = home.manager("stop")
            assert ended.returncode == 0
            assert {str(leader["pid"]), str(standing_by.pid)} <= set(ended.stdout.replace(")", " ").split())
    finally:
        home.manager("stop")
    after = home.manager("status")
    assert after.returncode == 1
    assert "beat does not run here" in after.stdout
    assert "no beat leads" in after.stdout


def test_where_no_beat_runs_the_living_leader_of_another_home_counts(home: Home, tmp_path: Path) -> None:
    other = Home(folder=tmp_path / "other", env={**home.env, "GENGFU_HOME": str(tmp_path / "other")})
    assert home.manager("status").returncode == 1
    assert home.json("status")["leader"] is None
    with started(*BEAT, env=other.env, log=tmp_path / "beat.out") as leading:
        wait_until(lambda: (home.json("status")["leader"] or {}).get("alive"), "the other home leads")
        seen = home.manager("status", "--json")
        assert seen.returncode == 0
        facts = json.loads(seen.stdout)
        assert facts["beat"]["state"] == "stopped"
        assert (facts["leader"]["pid"], facts["leader"]["here"]) == (leading.pid, False)
    assert home.manager("status").returncode == 1


def test_a_paused_job_is_shown_so_and_a_jobs_own_zone_is_told(home: Home, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.mkdir()
    (config / "settings.toml").write_text(
        '[general]\ntimezone = "Asia/Shanghai"\n[schedule.jobs.backup-database]\ntimezone = "Asia/Kathmandu"\n'
    )
    zoned = Home(folder=home.folder, env={**home.env, "GENGFU_CONFIG": str(config)})
    assert zoned.manager("pause", "cleanup-logs").returncode == 0
    facts = zoned.json("status")
    paused, other = job_of(facts, "cleanup-logs"), job_of(facts, "backup-database")
    assert (paused["state"], paused["next_run"]) == ("paused", None)
    assert paused["paused_since"]
    assert (other["state"], other["timezone"]) == ("scheduled", "Asia/Kathmandu")
    listed = zoned.manager("list").stdout.splitlines()
    assert max(len(line.rstrip()) for line in listed) <= 80
    lines = {line.split()[0]: line for line in listed if line.strip()}
    assert "paused" in lines["cleanup-logs"]
    assert "01:00" in lines["backup-database"]
    assert "+0545" in "".join(listed)
    assert zoned.manager("resume", "cleanup-logs").returncode == 0
    assert job_of(zoned.json("status"), "cleanup-logs")["state"] == "scheduled"


def test_a_running_beat_follows_its_settings_file_and_tells_of_one_it_does_not_follow(
    home: Home, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.mkdir()
    file, log = config / "settings.toml", home.folder / "logs" / "celerybeat.log"
    table = '[schedule.jobs.disk-space-check]\nqueue = "receipt"\ncron = '
    file.write_text(f'{table}"0 0 1 1 *"\n')
    watched = Home(folder=home.folder, env={**home.env, "GENGFU_CONFIG": str(config)})
    with (
        started(*BEAT, env=watched.env, log=tmp_path / "beat.out") as beat,
        started(*WORKER, env=watched.env, log=tmp_path / "worker.out"),
    ):
        wait_until(lambda: watched.ticks() and watched.json("status")["workers"], "beat ticks, a worker is ready")
        file.write_text(f'{table}"每秒"\n')
        wait_until(lambda: watched.json("status")["beat"]["settings_refused"], "the wrong time is told")
        refused = watched.manager("status")
        assert "'每秒' is no cron expression" in " ".join(refused.stdout.split())
        assert refused.returncode == 0
        file.write_text(f'{table}"@every 1s"\n')
        wait_until(lambda: job_of(watched.json("status"), "disk-space-check")["last"], "the new time is kept")
        facts = watched.json("status")
        assert facts["beat"]["settings_refused"] is None
        assert facts["beat"]["pid"] == beat.pid
        last = job_of(facts, "disk-space-check")["last"]
        assert (last["trigger"], last["queue"]) == ("schedule", "receipt")
        events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
        assert events.count("settings_refused") == 1


def test_doctor_names_what_mends_each_broken_part_and_is_content_when_all_is_mended(home: Home, tmp_path: Path) -> None:
    sick = home.manager("doctor", "--json")
    assert sick.returncode == 1
    findings = json.loads(sick.stdout)
    broken = {each["part"] for each in findings if each["state"] == "broken"}
    assert {each["part"] for each in findings} == PARTS
    assert {"database", "workers", "beat", "alerts", "roots"} <= broken
    assert "broker" not in broken
    assert all(each["mend"] for each in findings if each["state"] == "broken")
    assert run("-m", "app", "demo", "create", "--tasks", "20", env=home.env).returncode == 0
    assert run("-m", "app", "roots", "init", env=home.env).returncode == 0
    with (
        started(*BEAT, env=home.env, log=tmp_path / "beat.out"),
        started(*WORKER, env=home.env, log=tmp_path / "worker.out"),
    ):
        wait_until(lambda: home.manager("doctor").returncode == 0, "every part is well")
        assert {each["state"] for each in home.json("doctor")} == {"ok"}
        file = home.env["DATABASE_URL"].removeprefix("sqlite:///")
        connection = sqlite3.connect(file)
        connection.execute("DROP INDEX ix_tasks_created_at")
        connection.close()
        slow = home.manager("doctor")
        assert slow.returncode == 1
        assert "CREATE INDEX ix_tasks_created_at ON tasks (created_at)" in slow.stdout
        waited = home.manager("run", "disk-space-check", "--wait")
        assert waited.returncode == 0
        assert "disk-space-check: " in waited.stderr


def test_doctor_tells_a_wrong_setting_and_a_silent_broker_without_a_traceback(tmp_path: Path) -> None:
    env = environment(tmp_path / "home", CELERY_BROKER_URL=f"redis://:geheim@127.0.0.1:{free_port()}/0")
    away = run("celery_beat_manager.py", "doctor", env=env)
    assert away.returncode == 1
    assert "broker    broken" in away.stdout
    wrong = run("celery_beat_manager.py", "doctor", env={**env, "GENGFU_BROKER__SOCKET_TIMEOUT_S": "soon"})
    assert wrong.returncode == 1
    assert "gengfu config check" in wrong.stdout
    assert "geheim" not in away.stdout + away.stderr + wrong.stdout + wrong.stderr
    assert "Traceback" not in away.stderr + wrong.stderr
