"""SIGKILL of a real worker in the middle of a clean-up, and the run after it."""

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest
from processes import environment, run, started, wait_until
from sample_state import database_of, end_leases, reported, state_of

_TASKS = 5_000


def test_after_a_kill_and_a_second_run_no_row_lacks_its_file_and_no_file_its_row(tmp_path: Path) -> None:
    home = tmp_path / "home"
    env = environment(home, GENGFU_RETENTION__BATCH_SIZE="100")
    assert run("-m", "app", "demo", "create", "--tasks", str(_TASKS), env=env).returncode == 0
    before = state_of(home)
    # Else "no more than before" below would prove little.
    assert len(before.orphans) < _TASKS / 1000
    assert len(before.missing) < _TASKS / 100

    with started("-m", "app", "up", env=env, log=tmp_path / "up.out"):
        wait_until(lambda: "ready:" in (tmp_path / "up.out").read_text(), "everything is ready")
        victim = _worker(env, "night")
        assert run("celery_beat_manager.py", "run", "cleanup-expired-tasks", env=env).returncode == 0
        wait_until(lambda: _tasks(home) < before.tasks, "the clean-up deletes rows")
        _kill_family(victim)
        stopped_at = _tasks(home)
        wait_until(lambda: _worker(env, "night", other_than=victim), "the supervisor started the worker again")
        end_leases(home)
        _clean_up(env)
        after = state_of(home)
        report = reported(home)

    assert after.tasks < stopped_at, "the kill came too late to be in the middle"
    assert after.missing <= before.missing
    assert after.orphans <= before.orphans
    assert before.tasks - after.tasks == report["tasks_cleaned"]
    assert before.receipts - after.receipts == report["receipts_cleaned"]
    # Temporary files stand in a root of their own and have no row.
    assert len(before.there) - len(after.there) == report["files_cleaned"] - report["temp_files_cleaned"]
    assert report["pending_files"] == report["stuck_files"] == 0


def _clean_up(env: Mapping[str, str]) -> None:
    done = run("celery_beat_manager.py", "run", "cleanup-expired-tasks", "--wait", "--timeout", "60", env=env)
    assert done.returncode == 0, done.stdout + done.stderr


def _worker(env: Mapping[str, str], name: str, *, other_than: int | None = None) -> int:
    status = json.loads(run("celery_beat_manager.py", "status", "--json", env=env).stdout)
    pids = [worker["pid"] for worker in status["workers"] if worker["name"].startswith(f"{name}@")]
    return next((pid for pid in pids if pid != other_than), 0)


def _kill_family(pid: int) -> None:
    """As the kernel does when memory runs out: nobody in the worker gets to say a word."""
    worker = psutil.Process(pid)
    family = [worker, *worker.children(recursive=True)]
    for process in family:
        os.kill(process.pid, signal.SIGKILL)
    psutil.wait_procs(family, timeout=10)


def _tasks(home: Path) -> int:
    with database_of(home) as database:
        count: int = database.execute("SELECT count(*) FROM tasks").fetchone()[0]
        return count


pytestmark = pytest.mark.slow
