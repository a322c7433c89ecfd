"""The ordinary Celery commands, by hand, against a Redis address; nothing of `gengfu up`."""

import json
from pathlib import Path

import pytest
from processes import environment, free_port, run, started, valkey, wait_until

_QUEUES = "receipt,file,high_priority,low_priority"


def test_worker_and_beat_by_hand_do_the_work_of_the_schedule(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "settings.toml").write_text('[schedule.jobs.disk-space-check]\ncron = "@every 2s"\n')
    env = environment(
        tmp_path / "home",
        GENGFU_CONFIG=str(tmp_path / "config"),
        CELERY_BROKER_URL=f"redis://127.0.0.1:{port}/0",
    )
    worker = ("-m", "celery", "-A", "tasks", "worker", "-Q", _QUEUES, "-c", "1")
    beat = ("-m", "celery", "-A", "tasks", "beat")
    with (
        valkey(tmp_path / "valkey", port),
        started(*worker, env=env, log=tmp_path / "worker.out"),
        started(*beat, env=env, log=tmp_path / "beat.out"),
    ):
        reports = tmp_path / "home" / "reports" / "daily"
        wait_until(lambda: list(reports.glob("disk_report_*.json")), "the disk report of a scheduled run")
        status = run("celery_beat_manager.py", "status", "--json", env=env)
        assert status.returncode == 0, status.stderr
        assert json.loads(status.stdout)["beat"]["state"] == "running"
    assert (tmp_path / "home" / "logs" / "celerybeat.log").exists()
    assert (tmp_path / "home" / "logs" / "celery_worker.log").exists()


def test_without_a_broker_a_run_by_hand_says_what_to_start(tmp_path: Path) -> None:
    env = environment(tmp_path / "home", CELERY_BROKER_URL=f"redis://:geheim@127.0.0.1:{free_port()}/0")
    refused = run("celery_beat_manager.py", "run", "disk-space-check", env=env)
    assert refused.returncode == 1
    assert "no broker answers at redis://:***@127.0.0.1" in refused.stderr
    assert "geheim" not in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("command", ["status", "list"])
def test_status_and_list_work_without_broker_and_database_and_import_no_celery(tmp_path: Path, command: str) -> None:
    env = environment(tmp_path / "home", DATABASE_URL=f"postgresql://u:geheim@127.0.0.1:{free_port()}/none")
    script = (
        "import sys, celery_beat_manager as m\n"
        f"try: m.manager(['{command}'], prog_name='m')\n"
        "except SystemExit as end: code = end.code\n"
        "assert not {n for n in sys.modules if n.split('.')[0] in ('celery', 'kombu')}\n"
        "sys.exit(code)"
    )
    shown = run("-c", script, env=env)
    assert "disk-space-check" in shown.stdout, shown.stderr
    assert "geheim" not in shown.stdout + shown.stderr
    if command == "status":
        assert shown.returncode == 1
        assert "beat does not run" in shown.stdout
        assert "not seen" in shown.stderr
    else:
        assert shown.returncode == 0


def test_beat_starts_detached_stops_and_is_told_stopped(tmp_path: Path) -> None:
    port = free_port()
    env = environment(tmp_path / "home", CELERY_BROKER_URL=f"redis://127.0.0.1:{port}/0")

    def manager(*arguments: str) -> int:
        return run("celery_beat_manager.py", *arguments, env=env).returncode

    with valkey(tmp_path / "valkey", port):
        assert manager("start", "--detach") == 0
        try:
            wait_until(lambda: manager("status") == 0, "beat ticks")
            assert manager("clear") == 0
        finally:
            assert manager("stop") == 0
    assert manager("status") == 1
    assert manager("stop") == 0
    assert manager("clear") == 0
