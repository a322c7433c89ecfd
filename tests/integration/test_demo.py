import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner
from sqlalchemy import Connection, func, insert, inspect, select, text

from app.core.database import Database
from app.core.errors import BadArgument, OutputUnwritable, RootRefused, SchemaMismatch
from app.core.safe_files import MARKER, create_marker
from app.core.source_tables import SourceSettings, map_source_tables, missing_parts
from app.demo.create import MAX_TASKS, ROOT_NAMES, DemoSummary, create_demo, generate
from app.demo.files import ROOT_OF_COLUMN
from app.demo.schema import delivery_receipts, tasks

SHANGHAI = ZoneInfo("Asia/Shanghai")
NOW = datetime(2026, 3, 10, 4, 0, tzinfo=UTC)
TABLES = (tasks, delivery_receipts)


def _roots(folder: Path) -> dict[str, Path]:
    return {name: folder / "sample" / name for name in ROOT_NAMES}


def _create(database: Database, folder: Path, number: int = 2_000, **more: object) -> DemoSummary:
    given = {"seed": 1, "now": NOW, "zone": SHANGHAI, **more}
    return create_demo(database, _roots(folder), folder / "logs", tasks=number, **given)  # type: ignore[arg-type]


def _digest(connection: Connection) -> str:
    digest = hashlib.sha256()
    for table in TABLES:
        for row in connection.execute(select(table).order_by(table.c.id)):
            digest.update(repr(tuple(row)).encode())
    return digest.hexdigest()


def _count(database: Database) -> int:
    with database.read() as connection:
        return connection.execute(select(func.count()).select_from(tasks)).scalar_one()


def _files(folder: Path) -> dict[str, list[Path]]:
    found = {name: [p for p in root.rglob("*") if p.is_file()] for name, root in _roots(folder).items()}
    return {name: [p for p in files if p.name != MARKER] for name, files in found.items()}


def test_creates_the_tables_of_the_default_mapping(database: Database, tmp_path: Path) -> None:
    _create(database, tmp_path, 10)
    with database.read() as connection:
        assert missing_parts(connection, map_source_tables(SourceSettings())) == []


def test_the_summary_is_what_stands_in_the_database_and_on_the_disk(database: Database, tmp_path: Path) -> None:
    summary = _create(database, tmp_path)
    with database.read() as connection:
        counted = [connection.execute(select(func.count()).select_from(table)).scalar_one() for table in TABLES]
        expired = connection.execute(
            select(func.count()).where(
                ((tasks.c.status == "completed") & (tasks.c.completed_at < NOW - timedelta(days=30)))
                | ((tasks.c.status == "failed") & (tasks.c.completed_at < NOW - timedelta(days=7)))
            )
        ).scalar_one()
    files = _files(tmp_path)
    of_rows = [path for name, paths in files.items() if name != "temp" for path in paths]
    assert [summary.tasks, summary.receipts] == counted
    assert summary.expired_tasks == expired
    assert summary.files == len(of_rows)
    assert summary.bytes == sum(path.stat().st_size for path in of_rows)
    assert summary.temp_files == len(files["temp"])
    assert 0 < summary.old_logs < len(list((tmp_path / "logs").iterdir()))


def test_every_stored_value_is_the_generated_one(database: Database, tmp_path: Path) -> None:
    _create(database, tmp_path, 500)
    stories = list(generate(500, seed=1, now=NOW, zone=SHANGHAI))
    with database.read() as connection:
        stored = [tuple(row) for row in connection.execute(select(tasks).order_by(tasks.c.id))]
        receipts = [tuple(row) for row in connection.execute(select(delivery_receipts).order_by(text("id")))]
    assert stored == [tuple(story.task) for story in stories]
    assert receipts == [tuple(story.receipt) for story in stories if story.receipt]


def test_every_file_belongs_to_a_row_and_its_time_is_near_the_rows(database: Database, tmp_path: Path) -> None:
    _create(database, tmp_path)
    created: dict[tuple[str, str], datetime] = {}
    with database.read() as connection:
        for table in TABLES:
            for row in connection.execute(select(table).order_by(table.c.id)).mappings():
                for column, root in ROOT_OF_COLUMN.items():
                    if row.get(column):
                        created.setdefault((root, row[column]), row["created_at"])
    for name, paths in _files(tmp_path).items():
        for path in paths if name != "temp" else ():
            born = created[name, path.relative_to(_roots(tmp_path)[name]).as_posix()]
            assert abs(path.stat().st_mtime - born.timestamp()) < 3600


def test_few_of_the_named_files_are_missing(database: Database, tmp_path: Path) -> None:
    _create(database, tmp_path)
    roots, missing, named = _roots(tmp_path), 0, 0
    with database.read() as connection:
        for path in connection.execute(select(tasks.c.image_path).where(tasks.c.image_path.is_not(None))).scalars():
            named += 1
            missing += not (roots["uploads"] / path).exists()
    assert 0 < missing < named / 20


def test_no_file_lies_outside_the_roots_and_the_logs(database: Database, tmp_path: Path) -> None:
    _create(database, tmp_path)
    (home,) = (path for path in [tmp_path / "sample"] if path.is_dir())
    assert {path.name for path in home.iterdir()} == set(ROOT_NAMES)
    beside = {path.name.split(".")[0] for path in tmp_path.iterdir()}
    assert beside <= {"sample", "logs", "test"}


def test_every_root_is_marked(database: Database, tmp_path: Path) -> None:
    _create(database, tmp_path, 1)
    assert all((root / MARKER).is_file() for root in _roots(tmp_path).values())


def test_the_same_call_gives_the_same_rows_and_without_files_too(database: Database, tmp_path: Path) -> None:
    digests = []
    for folder, files in (("a", True), ("b", True), ("c", False)):
        _create(database, tmp_path / folder, 600, files=files)
        with database.write() as connection:
            digests.append(_digest(connection))
            connection.execute(delivery_receipts.delete())
            connection.execute(tasks.delete())
    assert len(set(digests)) == 1
    assert not list((tmp_path / "c" / "sample" / "uploads").rglob("*.jpg"))
    assert not (tmp_path / "c" / "logs").exists()


def test_without_files_no_root_is_needed(database: Database, tmp_path: Path) -> None:
    summary = create_demo(database, {}, tmp_path, tasks=50, now=NOW, zone=SHANGHAI, files=False)
    assert (summary.tasks, summary.files, summary.temp_files, summary.old_logs) == (50, 0, 0, 0)


def test_the_application_can_go_on_inserting(database: Database, tmp_path: Path) -> None:
    _create(database, tmp_path, 300)
    with database.write() as connection:
        for table, values in (
            (tasks, {"task_id": "新任务", "task_type": "t", "status": "pending", "created_at": NOW, "updated_at": NOW}),
            (delivery_receipts, {"status": "pending", "created_at": NOW, "updated_at": NOW}),
        ):
            last = connection.execute(select(func.max(table.c.id))).scalar_one()
            assert connection.execute(insert(table).values(**values)).inserted_primary_key == (last + 1,)


def test_with_no_receipt_made_the_application_starts_at_its_first(database: Database, tmp_path: Path) -> None:
    seed = next(n for n in range(50) if not next(generate(1, seed=n, now=NOW, zone=SHANGHAI)).receipt)
    assert _create(database, tmp_path, 1, seed=seed, files=False).receipts == 0
    with database.write() as connection:
        added = insert(delivery_receipts).values(status="pending", created_at=NOW, updated_at=NOW)
        assert connection.execute(added).inserted_primary_key == (1,)


def test_progress_counts_up_to_the_number_of_tasks(database: Database, tmp_path: Path) -> None:
    seen: list[int] = []
    _create(database, tmp_path, 12_000, files=False, on_progress=seen.append)
    assert seen == sorted(set(seen))
    assert len(seen) >= 2
    assert seen[-1] == 12_000


def _nothing_was_made(folder: Path) -> bool:
    return not (folder / "sample").exists() and not (folder / "logs").exists()


@pytest.mark.parametrize("number", [0, -1, MAX_TASKS + 1])
def test_an_impossible_number_is_refused_by_its_value(database: Database, tmp_path: Path, number: int) -> None:
    with pytest.raises(BadArgument, match=str(number)):
        _create(database, tmp_path, number)
    assert _nothing_was_made(tmp_path)
    with database.read() as connection:
        assert not inspect(connection).has_table("tasks")


def test_a_table_with_rows_is_refused_and_kept_as_it_is(application: Database, tmp_path: Path) -> None:
    row = {"task_id": "真实任务", "task_type": "t", "status": "completed", "created_at": NOW, "updated_at": NOW}
    with application.write() as connection:
        connection.execute(insert(tasks), [row | {"task_id": f"真实任务{n}"} for n in range(3)])
    with pytest.raises(BadArgument, match="the table tasks already holds 3 rows; sample data is only written"):
        _create(application, tmp_path)
    assert _count(application) == 3
    assert _nothing_was_made(tmp_path)


def test_receipts_alone_are_refused_too(application: Database, tmp_path: Path) -> None:
    with application.write() as connection:
        connection.execute(insert(delivery_receipts).values(status="pending", created_at=NOW, updated_at=NOW))
    with pytest.raises(BadArgument, match="delivery_receipts already holds 1 rows"):
        _create(application, tmp_path)
    assert _nothing_was_made(tmp_path)


def test_a_second_call_is_refused(database: Database, tmp_path: Path) -> None:
    _create(database, tmp_path, 100)
    with pytest.raises(BadArgument, match="100 rows"):
        _create(database, tmp_path, 100)
    assert _count(database) == 100


def test_a_table_of_another_shape_is_told_and_kept(database: Database, tmp_path: Path) -> None:
    with database.write() as connection:
        connection.execute(text("CREATE TABLE tasks (id integer primary key, title text)"))
    with pytest.raises(SchemaMismatch):
        _create(database, tmp_path)
    assert _nothing_was_made(tmp_path)


def test_a_missing_root_is_refused_by_name(database: Database, tmp_path: Path) -> None:
    roots = _roots(tmp_path)
    del roots["receipts"]
    with pytest.raises(BadArgument, match="receipts"):
        create_demo(database, roots, tmp_path / "logs", tasks=10, now=NOW, zone=SHANGHAI)
    assert _nothing_was_made(tmp_path)


def test_a_folder_with_somebodys_files_is_not_marked(database: Database, tmp_path: Path) -> None:
    uploads = _roots(tmp_path)["uploads"]
    uploads.mkdir(parents=True)
    (uploads / "合同.docx").write_text("真的")
    with pytest.raises(BadArgument, match="'uploads' holds files"):
        _create(database, tmp_path, 10)
    assert [path.name for path in uploads.iterdir()] == ["合同.docx"]


def test_a_marked_folder_with_files_is_used_and_its_files_are_kept(database: Database, tmp_path: Path) -> None:
    uploads = _roots(tmp_path)["uploads"]
    marker = create_marker(uploads)
    (uploads / "合同.docx").write_text("真的")
    _create(database, tmp_path, 500)
    assert (uploads / "合同.docx").read_text() == "真的"
    assert create_marker(uploads) == marker


def test_a_refused_root_leaves_no_rows(database: Database, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for place in (tmp_path / "link", Path("sample/temp")):
        with pytest.raises(RootRefused, match=str(place)):
            create_demo(
                database, {**_roots(tmp_path), "temp": place}, tmp_path / "logs", tasks=10, now=NOW, zone=SHANGHAI
            )
    assert not list((tmp_path / "elsewhere").iterdir())
    with database.read() as connection:
        assert not inspect(connection).has_table("tasks")


def test_an_unwritable_log_folder_leaves_no_rows(database: Database, tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    with pytest.raises(OutputUnwritable, match="logs"):
        _create(database, tmp_path, 10)
    with database.read() as connection:
        assert not inspect(connection).has_table("tasks")


def test_an_interruption_leaves_no_rows_and_the_next_call_works(database: Database, tmp_path: Path) -> None:
    def interrupt(_done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _create(database, tmp_path, 300, on_progress=interrupt)
    summary = _create(database, tmp_path, 300)
    assert _count(database) == 300
    # Files of the first call stand there already; they are the same ones.
    assert summary.files == 0
    assert _files(tmp_path)["uploads"]


@pytest.fixture
def gengfu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    from app.cli import gengfu as program

    monkeypatch.setenv("GENGFU_HOME", str(tmp_path / "home"))

    def run(*words: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(program, words)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.exit_code, result.stdout, result.stderr

    return run


def test_the_command_fills_the_home_folder_and_tells_what_it_made(
    gengfu: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    code, out, _ = gengfu("demo", "create", "--tasks", "300")
    assert code == 0
    assert "tasks               300" in out
    assert "receipts" in out
    assert (tmp_path / "home/var/sample/uploads" / MARKER).is_file()
    assert any((tmp_path / "home/logs").iterdir())


def test_the_command_prints_json_for_machines(gengfu: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = gengfu("demo", "create", "--tasks", "200", "--seed", "7", "--json")
    assert code == 0
    assert json.loads(out)["tasks"] == 200


def test_the_command_refuses_a_second_time_with_one_line_and_code_2(
    gengfu: Callable[..., tuple[int, str, str]],
) -> None:
    gengfu("demo", "create", "--tasks", "20")
    code, out, error = gengfu("demo", "create", "--tasks", "20")
    assert (code, out) == (2, "")
    assert "already holds 20 rows" in error
    assert "Traceback" not in error


def test_the_command_refuses_an_impossible_number_with_code_2(gengfu: Callable[..., tuple[int, str, str]]) -> None:
    code, _, error = gengfu("demo", "create", "--tasks", "0")
    assert code == 2
    assert "0 tasks can't be made" in error
