"""`gengfu roots` and `gengfu retention` as a user types them."""

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import insert, select

from app.cli import gengfu
from app.core.clock import SystemClock
from app.core.database import Database, DatabaseSettings
from app.core.migrate import upgrade
from app.core.safe_files import MARKER
from app.demo import schema


@pytest.fixture
def home() -> Path:
    """A home with an embedded database that holds one expired and one young failed task."""
    home = Path(os.environ["GENGFU_HOME"])
    database = Database(f"sqlite:///{home / 'var' / 'gengfu.db'}", DatabaseSettings())
    upgrade(database)
    now = SystemClock().now()
    row = {"task_type": "识别", "status": "failed", "updated_at": now, "retry_count": 0}
    with database.write() as connection:
        schema.metadata.create_all(connection)
        for key, days in ((1, 8), (2, 6.5)):
            finished = now - timedelta(days=days)
            times = {"created_at": finished, "completed_at": finished}
            connection.execute(
                insert(schema.tasks).values(id=key, task_id=f"任务{key}", image_path=f"{key}.jpg", **row, **times)
            )
    database.dispose()
    return home


def gengfu_says(*arguments: str) -> Result:
    return CliRunner().invoke(gengfu, arguments, prog_name="gengfu")


def as_json(*arguments: str) -> Any:
    result = gengfu_says(*arguments, "--json")
    return json.loads(result.stdout)


def tasks(home: Path) -> list[int]:
    database = Database(f"sqlite:///{home / 'var' / 'gengfu.db'}", DatabaseSettings())
    with database.read() as connection:
        found = list(connection.execute(select(schema.tasks.c.id)).scalars())
    database.dispose()
    return found


def test_before_the_roots_are_marked_nothing_is_deleted(home: Path) -> None:
    result = gengfu_says("retention", "run")
    assert result.exit_code == 3
    assert "gengfu roots init" in result.output or "does not exist" in result.output
    assert tasks(home) == [1, 2]
    assert gengfu_says("roots", "list").exit_code == 3


def test_marked_roots_are_ready_and_the_run_deletes_what_has_expired(home: Path) -> None:
    assert gengfu_says("roots", "init").exit_code == 0
    listed = as_json("roots", "list")
    assert {root["name"]: root["held"] for root in listed}["uploads"] is None
    assert (home / "logs" / MARKER).exists()
    for key in (1, 2):
        (home / "var" / "sample" / "uploads" / f"{key}.jpg").write_bytes(b"x" * 100)

    assert as_json("retention", "status")["expired"] == {"completed": 0, "failed": 1}
    assert as_json("retention", "run", "--dry-run")["tasks_cleaned"] == 1
    assert tasks(home) == [1, 2]
    told = as_json("retention", "run")
    assert (told["tasks_cleaned"], told["files_cleaned"], told["state"]) == (1, 1, "done")
    assert tasks(home) == [2]
    status = as_json("retention", "status")
    assert (status["expired"]["failed"], status["expires_within_24_h"]["failed"]) == (0, 1)
    assert (status["pending_files"], status["stuck_files"], status["lag_hours"]) == (0, 0, 0)
    shown = gengfu_says("retention", "status").output
    assert next(line.split() for line in shown.splitlines() if "failed" in line)[:3] == ["failed", "0", "1"]


def test_what_holds_a_root_is_told_once(home: Path) -> None:
    gengfu_says("roots", "init")
    (home / "var" / "sample" / "uploads" / MARKER).unlink()
    output = gengfu_says("retention", "run", "--rule", "failed").stdout
    assert output.count("uploads has no .gengfu-root") == 1
    assert "  held: root uploads: " in output


def test_orphans_are_found_without_a_task_table(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(os.environ["GENGFU_HOME"]).mkdir()
    monkeypatch.setenv("GENGFU_RETENTION__DEFAULT_RULES", "false")
    assert gengfu_says("db", "upgrade").exit_code == 0
    result = gengfu_says("retention", "orphans")
    assert (result.exit_code, "task" in result.output) == (0, False)
    unknown = gengfu_says("retention", "orphans", "--restore", "abc")
    assert (unknown.exit_code, "abc" in unknown.output) == (2, True)


def test_an_unknown_root_is_answered_with_the_nearest_name(home: Path) -> None:
    result = gengfu_says("roots", "init", "upload")
    assert result.exit_code == 2
    assert 'did you mean "uploads"?' in result.output
    assert not (home / "var" / "sample").exists()


def test_a_protected_folder_is_no_root(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENGFU_RETENTION__ROOTS__UPLOADS__PATH", "/etc")
    result = gengfu_says("roots", "init", "uploads")
    assert result.exit_code == 3
    assert "system folder" in result.output
    assert tasks(home) == [1, 2]


def many_expired(home: Path) -> None:
    """Twelve expired rows in a table of fourteen; the guards of these tests find that much."""
    database = Database(f"sqlite:///{home / 'var' / 'gengfu.db'}", DatabaseSettings())
    now = SystemClock().now()
    row = {"task_type": "识别", "status": "completed", "updated_at": now, "retry_count": 0}
    with database.write() as connection:
        for key in range(10, 22):
            times = {"created_at": now - timedelta(days=41), "completed_at": now - timedelta(days=40)}
            connection.execute(insert(schema.tasks).values(id=key, task_id=f"多{key}", **row, **times))
    database.dispose()


def test_a_held_rule_exits_3_alerts_and_passes_once_when_approved(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENGFU_RETENTION__GUARDS__ROWS", "5")
    gengfu_says("roots", "init")
    many_expired(home)
    planned = gengfu_says("retention", "plan")
    assert (planned.exit_code, "held" in planned.output) == (3, True)
    result = gengfu_says("retention", "run", "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["tasks_cleaned"], told["state"]) == (3, 1, "held")
    assert "CleanupHeld" in (home / "logs" / "error_alerts.log").read_text(encoding="utf-8")
    assert f"gengfu retention approve {told['run_id']}" in gengfu_says("retention", "status").output

    assert gengfu_says("retention", "run", "--rule", "completed").exit_code == 3
    late = gengfu_says("retention", "approve", told["run_id"])
    assert (late.exit_code, "judged again" in late.output) == (2, True)
    last = as_json("retention", "status")["rules"][0]["last"]
    assert as_json("retention", "approve", last["run_id"])["rules"][0]["rule"] == "completed"
    assert as_json("retention", "run")["tasks_cleaned"] == 12
    assert tasks(home) == [2]


def test_what_was_deleted_can_be_brought_back(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENGFU_RETENTION__KEEP_DELETED", "24h")
    gengfu_says("roots", "init")
    photo = home / "var" / "sample" / "uploads" / "1.jpg"
    photo.write_bytes(b"x" * 100)
    run_id = gengfu_says("retention", "run").output.splitlines()[-1].removeprefix("  run ")
    assert (tasks(home), photo.exists()) == ([2], False)
    assert as_json("retention", "undo", run_id, "--dry-run")["rows"] == {"tasks": 1}
    assert gengfu_says("retention", "undo", run_id).exit_code == 0
    assert (tasks(home), photo.read_bytes()) == ([1, 2], b"x" * 100)
    assert gengfu_says("retention", "undo", run_id).exit_code == 2


def test_check_exits_2_where_a_rule_can_not_run(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    assert gengfu_says("retention", "check").exit_code == 0
    rule = {"table": "taks", "finished": "completed_at", "keep": "30d"}
    monkeypatch.setenv("GENGFU_RETENTION__RULES", json.dumps({"own": rule}))
    result = gengfu_says("retention", "check")
    assert (result.exit_code, "table taks is not in the database" in result.output) == (2, True)


@pytest.mark.parametrize("budget", ["10 parsecs", "0s", ""])
def test_a_budget_that_is_none_is_refused(home: Path, budget: str) -> None:
    result = gengfu_says("retention", "run", "--budget", budget)
    assert (result.exit_code, "--budget" in result.output, tasks(home)) == (2, True, [1, 2])


def test_an_unknown_rule_is_answered_with_the_nearest(home: Path) -> None:
    for verb in ("run", "plan"):
        result = gengfu_says("retention", verb, "--rule", "complete")
        assert (result.exit_code, 'did you mean "completed"?' in result.output) == (2, True)
    assert tasks(home) == [1, 2]


def test_interrupted_a_run_says_how_things_stand_and_the_next_one_goes_on(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gengfu_says("roots", "init")

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("app.retention.rows.RowEngine.run", interrupt)
        stopped = gengfu_says("retention", "run")
    assert stopped.exit_code == 130
    assert "the rest waits for the next run" in stopped.stderr
    assert "Traceback" not in stopped.output
    assert tasks(home) == [1, 2]
    last = {rule["rule"]: rule["last"] for rule in as_json("retention", "status")["rules"]}
    assert last["completed"]["state"] == "interrupted"
    assert gengfu_says("retention", "run").exit_code == 0
    assert tasks(home) == [2]


def test_interrupted_a_dry_run_says_that_nothing_was_changed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gengfu_says("roots", "init")

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("app.retention.preview.Preview.rows", interrupt)
    stopped = gengfu_says("retention", "run", "--dry-run")
    assert (stopped.exit_code, "nothing was changed" in stopped.stderr) == (130, True)
    assert tasks(home) == [1, 2]
