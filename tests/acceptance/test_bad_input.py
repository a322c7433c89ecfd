"""Wrong input of every kind through the real command line and the real worker: one clear line, nothing else lost."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from processes import PROJECT, environment, free_port, run

_GENGFU = ("-m", "app")
_MANAGER = ("celery_beat_manager.py",)
_OLD = "2026-01-05 03:00:00.000000"


def _refused(home: Path, *command: str, exit_code: int, says: str, **settings: str) -> None:
    done = run(*command, env=environment(home, **settings))
    assert done.returncode == exit_code, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "geheim" not in done.stdout + done.stderr
    lines = [line for line in (done.stdout + done.stderr).splitlines() if says in line]
    assert len(lines) == 1, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("GENGFU_GENERAL__TIMEZONE", "Mars/Phobos", "GENGFU_GENERAL__TIMEZONE"),
        ("GENGFU_GENERAL__TIMZONE", "UTC", 'did you mean "timezone"'),
        ("GENGFU_RETENTION__COMPLETED_TASKS_DAYS", "-1", "retention.completed_tasks_days"),
        ("GENGFU_SERVICE__WORKERS", '[{"name": "x", "queues": ["fil"]}]', 'did you mean "file"'),
        ("GENGFU_SERVICE__WORKERS", "[[", "GENGFU_SERVICE__WORKERS"),
        ("GENGFU_SCHEDULE__JOBS", '{"cleanup-logz": {"enabled": false}}', 'did you mean "cleanup-logs"'),
        ("GENGFU_SCHEDULE__JOBS", '{"cleanup-logs": {"queue": "fil"}}', 'did you mean "file"'),
        ("GENGFU_SCHEDULE__JOBS", '{"cleanup-logs": {"cron": "61 * * * *"}}', "environment GENGFU_SCHEDULE__JOBS"),
        ("CELERY_BROKER_URL", "redis://u:geheim@host:port/0", "CELERY_BROKER_URL"),
        ("DATABASE_URL", "postgresql://u:geheim@host:port/db", "database.url"),
        ("ALERT_CHANNELS", "pigeon", "'pigeon' is no channel"),
    ],
)
def test_a_wrong_setting_is_named_with_where_it_stands(tmp_path: Path, name: str, value: str, says: str) -> None:
    _refused(tmp_path / "home", *_GENGFU, "config", "check", exit_code=2, says=says, **{name: value})


@pytest.mark.parametrize(
    "command",
    [
        ("-m", "celery", "-A", "tasks", "worker"),
        ("-m", "celery", "-A", "tasks", "beat"),
        (*_MANAGER, "start", "--detach"),
        (*_GENGFU, "up"),
    ],
    ids=["worker", "beat", "manager", "up"],
)
def test_nothing_starts_with_a_job_that_does_not_exist(tmp_path: Path, command: tuple[str, ...]) -> None:
    wrong = {"GENGFU_SCHEDULE__JOBS": '{"cleanup-logz": {"enabled": false}}'}
    _refused(tmp_path / "home", *command, exit_code=2, says="there is no job 'cleanup-logz'", **wrong)


@pytest.mark.parametrize(
    ("command", "exit_code", "says"),
    [
        ((*_GENGFU, "run", "disk-spce-check"), 2, 'did you mean "disk-space-check"'),
        ((*_MANAGER, "run", "disk-spce-check"), 2, 'did you mean "disk-space-check"'),
        ((*_GENGFU, "run", "send-alert-notification"), 2, "can't run with these arguments"),
        ((*_GENGFU, "run", "generate-daily-statistics", "--day", "2026-02-30"), 2, "is no day"),
        ((*_GENGFU, "run", "generate-daily-statistics", "--day", "0001-01-01"), 2, "before 1970"),
        ((*_GENGFU, "run", "generate-daily-statistics", "--day", "9999-12-31"), 2, "future"),
        ((*_GENGFU, "run", "cleanup-expired-tasks"), 1, "table 'tasks' is not in the database"),
        ((*_GENGFU, "roots", "init", "upload"), 2, 'did you mean "uploads"'),
        ((*_MANAGER, "clear"), 0, "closed 0 slots"),
    ],
)
def test_a_wrong_word_on_the_command_line_of_an_empty_home_gets_one_line(
    tmp_path: Path, command: tuple[str, ...], exit_code: int, says: str
) -> None:
    _refused(tmp_path / "home", *command, exit_code=exit_code, says=says)


@pytest.mark.parametrize("command", [("db", "check"), ("run", "cleanup-expired-tasks"), ("up",)])
def test_a_database_that_does_not_answer_is_told_in_one_line(tmp_path: Path, command: tuple[str, ...]) -> None:
    nobody = f"postgresql://u:geheim@127.0.0.1:{free_port()}/db"
    _refused(tmp_path / "home", *_GENGFU, *command, exit_code=1, says="does not answer", DATABASE_URL=nobody)


@pytest.mark.parametrize("command", [("db", "check"), ("up",)])
def test_a_home_that_can_not_be_made_is_told_in_one_line(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "file").touch()
    _refused(tmp_path / "file" / "home", *_GENGFU, *command, exit_code=1, says="Not a directory")


def test_an_unwritable_report_folder_loses_neither_figures_nor_alerts(tmp_path: Path) -> None:
    home = tmp_path / "home"
    env = environment(home)
    assert run(*_GENGFU, "demo", "create", "--tasks", "500", env=env).returncode == 0
    (home / "reports").mkdir(exist_ok=True)
    (home / "reports" / "daily").touch()

    cleaned = run(*_GENGFU, "run", "cleanup-expired-tasks", "--json", env=env)
    checked = run(*_GENGFU, "run", "disk-space-check", "--json", env=env)

    assert cleaned.returncode == checked.returncode == 1
    result = json.loads(cleaned.stdout)
    assert "cleanup_report_" in result["error"]
    assert result["report_path"] is None
    with closing(sqlite3.connect(home / "var" / "gengfu.db")) as database:
        left = database.execute("SELECT count(*) FROM tasks").fetchone()[0]
        kept = json.loads(database.execute("SELECT result FROM gengfu_run WHERE job LIKE 'cleanup-exp%'").fetchone()[0])
    assert left < 500
    assert kept["tasks_cleaned"] == result["tasks_cleaned"]
    assert "cleanup_report_" in (home / "logs" / "error_alerts.log").read_text()
    assert json.loads(checked.stdout)["mounts"]


def test_a_log_folder_that_is_a_file_stops_no_job(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "logs").touch()
    done = run(*_GENGFU, "run", "disk-space-check", env=environment(home))
    assert done.returncode == 0
    assert "can't be written" in done.stderr
    assert list((home / "reports" / "daily").glob("disk_report_*.json"))
    _refused(home, *_MANAGER, "start", "--detach", exit_code=1, says="can't write")


_HOSTILE_PATHS: tuple[object, ...] = (
    *("../../canary", "/etc/passwd", "file:///etc/passwd", "s3://b/k", "a\0b", "a\nb", "x" * 300, "d/" * 100 + "f"),
    *("", ".", "./a", "a//b", "a/", ".gengfu-root", "2026/../.gengfu-root", "\x1b[31m", "-rf", b"\xff\xfe.png", 5),
)
_ABSURD_TIMES: tuple[object, ...] = (
    *("garbage that", "0000-00-00 00:00:00", "99999-01-01 00:00:00", "1970-01-01 00:00:00", "2026-01-05T03:00:00Z"),
    *("", 0, 1e300, -5, b"\xff\xfe", "infinity", "2026-01-05"),
)
_UNKNOWN_STATUSES: tuple[object, ...] = ("Completed", "完成", "", "completed ", "completed\0", b"\xff", 0)


def test_hostile_rows_are_counted_and_keep_no_other_from_its_turn(tmp_path: Path) -> None:
    home = tmp_path / "home"
    env = environment(home)
    assert run(*_GENGFU, "demo", "create", "--tasks", "1000", env=env).returncode == 0
    (home / "canary").write_text("alive")
    chinese = home / "var" / "sample" / "uploads" / "中文" / "送达 回证.png"
    chinese.parent.mkdir()
    chinese.write_text("回证")
    kept = _hostile_rows(home / "var" / "gengfu.db")

    night = run(*_GENGFU, "run", "--night", env=env)

    assert night.returncode == 0, night.stdout + night.stderr
    with closing(sqlite3.connect(home / "var" / "gengfu.db")) as database:
        left = {row[0] for row in database.execute("SELECT id FROM tasks WHERE id > 900000")}
    assert left == kept
    assert (home / "canary").read_text() == "alive"
    assert not chinese.exists()
    assert all((path / ".gengfu-root").exists() for path in (home / "var" / "sample").iterdir() if path.is_dir())
    report = json.loads(next((home / "reports" / "daily").glob("cleanup_report_*.json")).read_text())
    assert report["rows_kept"]["unknown_status"] >= len(_UNKNOWN_STATUSES)
    assert report["rows_kept"]["absurd_time"] >= len(_ABSURD_TIMES)
    assert {"absolute", "empty", "marker", "not_canonical", "not_utf8", "nul", "parent_reference", "too_deep"} <= set(
        report["refused_paths"]
    )
    assert all(json.loads(line) for line in (home / "logs" / "app.log").read_text().splitlines())


def _hostile_rows(file: Path) -> set[int]:
    """Insert rows that no sane application writes; return the ids of those that must stay."""
    with closing(sqlite3.connect(file)) as database, database:
        for path in (*_HOSTILE_PATHS, "中文/送达 回证.png"):
            _insert(database, status="completed", completed_at=_OLD, image_path=path)
        kept = {_insert(database, status="completed", completed_at=time) for time in _ABSURD_TIMES}
        kept |= {_insert(database, status=word, completed_at=_OLD) for word in _UNKNOWN_STATUSES}
        kept.add(_insert(database, status="completed", completed_at=None))
        kept |= {_insert(database, status="failed", completed_at=_OLD, created_at=time) for time in (b"\xff", "that")}
        yesterday = "strftime('%Y-%m-%d 03:00:00', 'now', '-1 day')"
        # A message of two megabytes in one word, as Base64 is.
        kept.add(_insert(database, status="failed", completed_at=None, error_message="x" * 2_000_000))
        database.execute(f"UPDATE tasks SET created_at = {yesterday} WHERE length(error_message) > 1000000")
        return kept


def _insert(database: sqlite3.Connection, **values: object) -> int:
    number = database.execute("SELECT max(max(id) + 1, 900001) FROM tasks").fetchone()[0]
    row = {
        "id": number,
        "task_id": f"hostile-{number}",
        "task_type": "x",
        "created_at": "2026-01-05 02:00:00.000000",
        "updated_at": _OLD,
        "retry_count": 0,
        **values,
    }
    marks = ",".join("?" * len(row))
    database.execute(f"INSERT INTO tasks ({','.join(row)}) VALUES ({marks})", list(row.values()))
    return int(number)


def test_what_the_settings_promise_is_what_celery_got(tmp_path: Path) -> None:
    script = (
        "import json; from tasks import app; c = app.conf; app.finalize();"
        "print(json.dumps({k: getattr(c, k) for k in ("
        "'task_acks_late', 'task_reject_on_worker_lost', 'worker_prefetch_multiplier', 'accept_content',"
        "'task_serializer', 'task_create_missing_queues', 'worker_enable_remote_control', 'task_default_queue')}"
        "| {'limits': [t.soft_time_limit and t.time_limit for n, t in app.tasks.items() if n.startswith('tasks.')]}))"
    )
    done = run("-c", script, env=environment(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert all(found.pop("limits"))
    assert found == {
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        "accept_content": ["json"],
        "task_serializer": "json",
        "task_create_missing_queues": False,
        "worker_enable_remote_control": False,
        "task_default_queue": "low_priority",
    }


def test_celery_is_found_in_a_checkout_that_is_not_installed(tmp_path: Path) -> None:
    env = environment(tmp_path / "home", GENGFU_GENERAL__TIMEZONE="Mars/Phobos")
    del env["PYTHONPATH"]
    # `celery`, unlike `python -m celery`, does not put the current folder on the path by itself.
    script = (
        "import sys; sys.path[0:1] = []; sys.argv = ['celery', '-A', 'tasks', 'beat'];"
        "from celery.__main__ import main; main()"
    )
    done = run("-c", script, env=env)
    assert "Mars/Phobos" in done.stderr, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert str(PROJECT) not in done.stderr
