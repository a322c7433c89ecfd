"""What people ask most often answers at once: it loads nothing that it does not need."""

import re
import sys
from pathlib import Path

import pytest
from processes import environment, run

_MODULE = re.compile(r"^import time: .*\| +([\w.]+)$", re.MULTILINE)
_HEAVY = {
    *("celery", "kombu", "redis", "alembic", "psycopg2", "psutil", "httpx", "rich", "structlog", "orjson"),
    *(
        "app.jobs",
        "app.execution.runner",
        "app.doctor",
        "app.core.safe_files",
        "app.retention.rows",
        "app.health.checks",
    ),
    "sqlalchemy.dialects.postgresql",
    # Only mistakes need these.
    *("difflib", "app.core.settings_words", "app.core.toml_lines"),
}
_LIGHT = {"app", "tasks", "click", "sqlalchemy", "msgspec", "cronsim", "tzlocal"}
"""Beside the standard library, all that the two commands load."""
_NEEDED_BY_COMMANDS = {"sqlalchemy", "msgspec", "app.settings", "app.context"}


def loaded(home: Path, *command: str) -> set[str]:
    done = run("-X", "importtime", *command, env=environment(home))
    assert done.stdout
    return set(_MODULE.findall(done.stderr))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose tables are there: only the very first command of all makes them, with Alembic."""
    folder = tmp_path_factory.mktemp("home")
    assert "alembic" in loaded(folder, "celery_beat_manager.py", "list")
    return folder


@pytest.mark.parametrize("command", [["status"], ["status", "--json"], ["list"], ["list", "--json"]], ids=" ".join)
def test_status_and_list_load_no_engine(home: Path, command: list[str]) -> None:
    modules = loaded(home, "celery_beat_manager.py", *command)
    assert modules >= _NEEDED_BY_COMMANDS
    assert modules & _HEAVY == set()


@pytest.mark.parametrize("command", ["status", "list"])
def test_status_and_list_load_hardly_more_than_sqlalchemy_does(home: Path, command: str) -> None:
    more = loaded(home, "celery_beat_manager.py", command) - loaded(home, "-c", "import click, sqlalchemy; print(1)")
    assert {name.partition(".")[0] for name in more} - sys.stdlib_module_names <= _LIGHT


@pytest.mark.parametrize("command", [["-m", "app"], ["celery_beat_manager.py"]], ids=" ".join)
def test_help_loads_neither_database_nor_settings(tmp_path: Path, command: list[str]) -> None:
    modules = loaded(tmp_path, *command, "--help")
    assert "app.cli" in modules
    assert modules & (_HEAVY | _NEEDED_BY_COMMANDS) == set()
