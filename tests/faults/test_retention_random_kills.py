"""Clean-ups of a whole sample application, each killed somewhere, until one comes to its end.

`TEST_FULL=1` takes 200,000 tasks with more than 100,000 files and 50 kills instead.
"""

import json
import os
import random
from collections.abc import Mapping
from pathlib import Path

import pytest
from processes import environment, run, started, wait_until
from sample_state import State, database_of, end_leases, reported, state_of

_IS_FULL = bool(os.environ.get("TEST_FULL"))
_TASKS, _KILLS = (200_000, 50) if _IS_FULL else (3_000, 8)
_CLEAN_UP = ("-m", "app", "retention", "run")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600 if _IS_FULL else 300)]


def test_killed_anywhere_again_and_again_nothing_is_lost_left_over_or_counted_twice(tmp_path: Path) -> None:
    home = tmp_path / "home"
    env = environment(
        home,
        GENGFU_RETENTION__BATCH_SIZE=str(max(100, _TASKS // 200)),
        GENGFU_RETENTION__GUARDS__ENABLED="false",
    )
    made = run("-m", "app", "demo", "create", "--tasks", str(_TASKS), env=env, timeout=1200)
    assert made.returncode == 0, made.stderr
    before = state_of(home)
    expired = _expired(env)
    chance = random.Random(20260310)
    killed = 0
    for number in range(_KILLS):
        # Every other one archives what it deletes, and moves the files aside.
        kept = env | {"GENGFU_RETENTION__KEEP_DELETED": f"{12 * (number % 2)}h"}
        at = _progress(home) + chance.randint(1, 2 * expired // _KILLS)
        killed += _kill_in_the_middle(home, kept, tmp_path / "out", at)
        now = state_of(home)
        assert now.missing <= before.missing
        end_leases(home)
    assert killed > _KILLS // 2, "most came too late to be in the middle"
    for _ in range(2):
        done = run(*_CLEAN_UP, env=env, timeout=1800)
        assert done.returncode == 0, done.stdout + done.stderr
    _check(before, state_of(home), reported(home), trashed=_trashed(home))


def _check(before: State, after: State, report: Mapping[str, int], *, trashed: int) -> None:
    assert after.missing <= before.missing
    assert after.orphans <= before.orphans
    assert before.tasks - after.tasks == report["tasks_cleaned"] > 0
    assert before.receipts - after.receipts == report["receipts_cleaned"] > 0
    # Temporary files stand in a root of their own and have no row.
    gone = report["files_cleaned"] - report["temp_files_cleaned"]
    assert len(before.there) - len(after.there) == gone + trashed > 0
    assert report["pending_files"] == report["stuck_files"] == 0


def _kill_in_the_middle(home: Path, env: Mapping[str, str], log: Path, at: int) -> bool:
    """Send SIGKILL soon after so much is done; False where the run was done before."""
    with started(*_CLEAN_UP, env=env, log=log) as process:
        wait_until(lambda: process.poll() is not None or _progress(home) >= at, f"{at} rows and files went")
        came_in_time = process.poll() is None
        process.kill()
    return came_in_time


def _progress(home: Path) -> int:
    """Rows and files that the clean-ups since the last report have counted."""
    with database_of(home) as database:
        found = database.execute("SELECT value FROM gengfu_service_state WHERE key = 'retention:tally'").fetchone()
    counts = json.loads(found[0])["counts"] if found else {}
    return sum(counts.get(what, 0) for what in ("tasks", "receipts", "files", "trashed"))


def _expired(env: Mapping[str, str]) -> int:
    status = json.loads(run("-m", "app", "retention", "status", "--json", env=env).stdout)
    return sum(status["expired"].values())


def _trashed(home: Path) -> int:
    with database_of(home) as database:
        counted = "SELECT coalesce(sum(file_count), 0) FROM gengfu_file_outbox WHERE state = 'trashed'"
        count: int = database.execute(counted).fetchone()[0]
        return count
