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
    assert "failed: 0 expired, 1 more within 24 hours" in gengfu_says("retention", "status").output


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
