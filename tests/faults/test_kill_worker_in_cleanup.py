"""SIGKILL of a real worker in the middle of a clean-up, and the run after it."""

import json
import os
import signal
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from processes import environment, run, started, wait_until

_TASKS = 20_000
_ROOT_OF = {
    "tasks": {"image_path": "uploads", "document_path": "documents", "screenshot_path": "screenshots"},
    "delivery_receipts": {
        "qr_code_path": "receipts",
        "barcode_path": "receipts",
        "delivery_receipt_doc_path": "documents",
        "tracking_screenshot_path": "screenshots",
    },
}


@dataclass(frozen=True, kw_only=True)
class _State:
    """What the rows name, what is there, and how many rows there are."""

    named: frozenset[Path]
    there: frozenset[Path]
    tasks: int
    receipts: int

    @property
    def missing(self) -> frozenset[Path]:
        return self.named - self.there

    @property
    def orphans(self) -> frozenset[Path]:
        return self.there - self.named


def test_after_a_kill_and_a_second_run_no_row_lacks_its_file_and_no_file_its_row(tmp_path: Path) -> None:
    home = tmp_path / "home"
    env = environment(home, GENGFU_RETENTION__BATCH_SIZE="200")
    assert run("-m", "app", "demo", "create", "--tasks", str(_TASKS), env=env).returncode == 0
    before = _state(home)
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
        _end_lease(home)
        _clean_up(env)
        after = _state(home)
        report = _report(home)

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


def _report(home: Path) -> dict[str, int]:
    """The sums of all days' reports: midnight may pass between two runs."""
    found = [json.loads(path.read_text()) for path in (home / "reports" / "daily").glob("cleanup_report_*.json")]
    keys = ("tasks_cleaned", "receipts_cleaned", "files_cleaned", "temp_files_cleaned", "pending_files", "stuck_files")
    return {key: sum(report[key] for report in found) for key in keys}


def _end_lease(home: Path) -> None:
    """Let the two minutes pass for which the killed run still holds its job."""
    with closing(sqlite3.connect(home / "var" / "gengfu.db")) as database, database:
        database.execute("UPDATE gengfu_lease SET until = '2000-01-01 00:00:00' WHERE name LIKE 'job:%'")


def _tasks(home: Path) -> int:
    with closing(sqlite3.connect(home / "var" / "gengfu.db")) as database:
        count: int = database.execute("SELECT count(*) FROM tasks").fetchone()[0]
        return count


def _state(home: Path) -> _State:
    sample = home / "var" / "sample"
    with closing(sqlite3.connect(home / "var" / "gengfu.db")) as database:
        named = frozenset(_named(database, sample))
        tasks, receipts = (
            database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("tasks", "delivery_receipts")
        )
    roots = {root for columns in _ROOT_OF.values() for root in columns.values()}
    there = frozenset(
        path for root in roots for path in (sample / root).rglob("*") if path.is_file() and path.name != ".gengfu-root"
    )
    return _State(named=named, there=there, tasks=tasks, receipts=receipts)


def _named(database: sqlite3.Connection, sample: Path) -> Iterator[Path]:
    for table, columns in _ROOT_OF.items():
        for column, root in columns.items():
            for (path,) in database.execute(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL"):
                yield sample / root / path


pytestmark = pytest.mark.slow
