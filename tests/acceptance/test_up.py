"""`gengfu up` with a real worker and a real beat, a schedule shortened by settings, and the beat manager beside it."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from processes import environment, run, started, wait_until

_SETTINGS = """
[general]
timezone = "UTC"
[schedule.jobs.generate-daily-statistics]
cron = "@every 4s"
[schedule.jobs.cleanup-expired-tasks]
cron = "@every 4s"
[schedule.jobs.disk-space-check]
cron = "@every 4s"
"""


class Watch:
    """A running `gengfu up` and the commands of a user beside it."""

    def __init__(self, home: Path, env: dict[str, str], process: "subprocess.Popen[bytes]") -> None:
        self.home, self.env, self.process = home, env, process

    def manager(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return run("celery_beat_manager.py", *arguments, env=self.env)

    def status(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(self.manager("status", "--json").stdout)
        return facts

    def pid_of(self, name: str) -> int:
        """The pid the supervisor knows for a child."""
        held = json.loads((self.home / "var" / "run" / "up.lock").read_text())
        return int(next(child["pid"] for child in held["children"] if child["name"] == name) or 0)

    def report(self, kind: str) -> dict[str, Any] | None:
        found = sorted((self.home / "reports" / "daily").glob(f"{kind}_report_*.json"))
        document: dict[str, Any] | None = json.loads(found[-1].read_text(encoding="utf-8")) if found else None
        return document


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    folder = tmp_path_factory.mktemp("更夫")
    (folder / "config").mkdir()
    (folder / "config" / "settings.toml").write_text(_SETTINGS, encoding="utf-8")
    env = environment(folder / "home", GENGFU_CONFIG=str(folder / "config"))
    made = run("-m", "app", "demo", "create", "--tasks", "1500", env=env)
    assert made.returncode == 0, made.stderr
    with started("-m", "app", "up", env=env, log=folder / "up.log") as process:
        one = Watch(folder / "home", env, process)
        wait_until(lambda: one.manager("status").returncode == 0, "status tells that beat ticks")
        yield one


def test_the_schedule_brings_every_report_without_any_hand(watch: Watch) -> None:
    for kind in ("daily", "cleanup", "disk"):
        wait_until(lambda kind=kind: watch.report(kind) is not None, f"a {kind} report")
    cleanup = watch.report("cleanup")
    assert cleanup is not None
    assert cleanup["tasks_cleaned"] > 0
    assert cleanup["files_cleaned"] > 0


def test_status_tells_process_tick_workers_and_results(watch: Watch) -> None:
    name = "disk-space-check"
    wait_until(lambda: any(line["name"] == name and line["last"] for line in watch.status()["jobs"]), "a scheduled run")
    facts = watch.status()
    assert facts["beat"]["state"] == "running"
    assert psutil.pid_exists(facts["beat"]["pid"])
    assert {queue for worker in facts["workers"] for queue in worker["queues"]} == {
        "receipt",
        "file",
        "high_priority",
        "low_priority",
    }
    (line,) = [line for line in facts["jobs"] if line["name"] == name]
    assert line["last"]["trigger"] == "schedule"
    assert line["last"]["queue"] == "file"
    assert 0 <= line["lateness_s"] < 60


@pytest.mark.parametrize("command", ["status", "list"])
def test_tables_fit_80_columns(watch: Watch, command: str) -> None:
    shown = watch.manager(command)
    assert shown.returncode == 0
    assert max(len(line) for line in shown.stdout.splitlines() if not line.startswith(("beat ", "worker "))) <= 80
    assert "generate-daily-statistics" in shown.stdout


def test_a_job_by_hand_runs_on_its_own_queue_and_its_result_is_waited_for(watch: Watch) -> None:
    done = watch.manager("run", "check-pending-tasks", "--wait", "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["queue"], record["trigger"], record["state"]) == ("high_priority", "manual", "succeeded")
    assert record["result"]["success"] is True


def test_an_unknown_job_is_answered_with_the_nearest_name(watch: Watch) -> None:
    refused = watch.manager("run", "cleanup-expired-task")
    assert refused.returncode == 2
    assert '"cleanup-expired-tasks"' in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


def test_a_second_up_and_a_second_beat_are_told_who_runs(watch: Watch) -> None:
    second = run("-m", "app", "up", env=watch.env)
    assert second.returncode == 4
    assert str(watch.process.pid) in second.stderr
    assert watch.manager("start").returncode == 4
    assert watch.manager("stop").returncode == 4


def test_a_killed_worker_is_started_again_and_does_its_work(watch: Watch) -> None:
    before = watch.pid_of("night")
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: watch.pid_of("night") not in {before, 0}, "a new worker")
    done = watch.manager("run", "disk-space-check", "--wait")
    assert done.returncode == 0, done.stdout + done.stderr


def test_restart_brings_another_beat_that_ticks(watch: Watch) -> None:
    before = watch.status()["beat"]["pid"]
    assert watch.manager("restart").returncode == 0
    wait_until(lambda: watch.manager("status").returncode == 0, "beat ticks again")
    assert watch.status()["beat"]["pid"] != before


def test_the_log_of_beat_is_readable(watch: Watch) -> None:
    shown = watch.manager("logs", "--lines", "20")
    assert shown.returncode == 0
    assert shown.stdout.strip()
    assert '{"timestamp"' not in shown.stdout


def test_log_files_hold_json_lines_with_run_ids(watch: Watch) -> None:
    lines = [json.loads(line) for line in (watch.home / "logs" / "app.log").read_text(encoding="utf-8").splitlines()]
    finished = [line for line in lines if line["event"] == "job_finished"]
    assert finished
    assert all(line["run_id"] and line["job"] for line in finished)


def test_the_end_of_up_leaves_no_process(tmp_path: Path) -> None:
    env = environment(tmp_path / "home")
    with started("-m", "app", "up", env=env, log=tmp_path / "up.log") as process:
        wait_until(lambda: b"ready:" in (tmp_path / "up.log").read_bytes(), "everything is ready")
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 4
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert [each for each in family if each.is_running() and each.status() != psutil.STATUS_ZOMBIE] == []


def test_a_killed_up_leaves_no_orphan(tmp_path: Path) -> None:
    env = environment(tmp_path / "home")
    with started("-m", "app", "up", env=env, log=tmp_path / "up.log") as process:
        wait_until(lambda: b"ready:" in (tmp_path / "up.log").read_bytes(), "everything is ready")
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        wait_until(
            lambda: not [e for e in family if e.is_running() and e.status() != psutil.STATUS_ZOMBIE], "all have ended"
        )
