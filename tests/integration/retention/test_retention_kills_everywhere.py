"""The same with everything switched on: several rules, archive and trash, folders, temporary files and logs."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from msgspec import structs
from retention_kills import IS_FULL, Steps, Stopped, chosen_steps, next_run, run_and_kill, stop
from retention_shop import Shop
from sqlalchemy import delete, func, insert, select

from app.core.own_tables import archived_row, file_outbox, rule_run, service_state
from app.core.safe_files import MARKER
from app.core.safe_files.paths import TRASH
from app.core.settings_reader import read
from app.demo import schema
from app.retention.rule_settings import FolderRuleSettings, RowRuleSettings
from app.retention.undo import undo

_OWN = {"table": "jobs", "key": "no", "finished": "done_at", "status": "state", "keep": "30d"}
_PARTS = {"table": "parts", "foreign_key": "job_no", "files": {"file": "documents"}}
_NOTES = {"table": "notes", "foreign_key": "job_no"}
_RULES = {
    "kept": _OWN | {"statuses": ["done"], "children": [_PARTS, _NOTES], "files": {"file": "uploads"}},
    "lost": _OWN | {"statuses": ["失败"], "children": [_PARTS, _NOTES], "files": {"file": "uploads"}, "keep": "7d"},
}
EXACT = (
    *("tasks_cleaned", "receipts_cleaned", "files_cleaned", "bytes_freed", "files_missing", "files_already_gone"),
    *("refused_paths", "rows_kept", "pending_files", "stuck_files", "files_set_aside", "temp_files_cleaned"),
    *("logs_cleaned", "folder_files_cleaned"),
)

pytestmark = pytest.mark.timeout(7200 if IS_FULL else 240)


@pytest.fixture
def shop(lab: Any, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setattr("app.retention.rows._SQLITE_PAUSE_S", 0.0)
    shop = Shop(lab=lab)
    rules = {name: read(RowRuleSettings, rule) for name, rule in _RULES.items()}
    rules["kept"] = structs.replace(rules["kept"], keep_deleted=timedelta(days=1))
    folder = read(FolderRuleSettings, {"root": "screenshots", "keep": "7d", "age": "modified"})
    folders = {"screens": structs.replace(folder, remove_empty=True)}
    # The folder rule has the screenshots for itself.
    task_files = {**lab.settings.task_files, "screenshot_path": ""}
    receipt_files = {**lab.settings.receipt_files, "tracking_screenshot_path": ""}
    lab.with_settings(rules=rules, folders=folders, task_files=task_files, receipt_files=receipt_files, batch_size=8)
    return shop


def furnish(shop: Shop) -> None:
    """Forty expired rows of four rules, some that live, and old files without a row."""
    lab, jobs, parts, tasks = shop.lab, [], [], []
    old, young = lab.now - timedelta(days=50), lab.now - timedelta(days=1)
    for number in range(26):
        word = "done" if number % 2 else "失败"
        path = ("共用.jpg", "缺.jpg", "../x", None)[number // 2 % 4] if number % 5 == 0 else f"图/{number}.jpg"
        jobs.append({"no": number, "state": word, "done_at": old + timedelta(hours=number % 7), "file": path})
        if path == f"图/{number}.jpg":
            lab.file("uploads", path, b"j" * 3000 * (number % 4))
        if number % 3 == 0:
            parts.append({"id": number, "job_no": number, "file": lab.file("documents", f"件/{number}.pdf")})
    jobs.append({"no": 90, "state": "done", "done_at": young, "file": lab.file("uploads", "共用.jpg")})
    jobs.append({"no": 91, "state": "进行中", "done_at": old, "file": lab.file("uploads", "活.jpg")})
    parts.append({"id": 90, "job_no": 90, "file": lab.file("documents", "活.pdf")})
    for number in range(14):
        made = {"created_at": old - timedelta(days=1), "completed_at": old, "updated_at": old, "retry_count": 0}
        files = {"document_path": lab.file("documents", f"任务/{number}.pdf") if number % 2 else None}
        status = "failed" if number % 3 else "completed"
        tasks.append({"id": number, "task_id": f"{number}", "task_type": "识别", "status": status, **made, **files})
    with lab.database.write() as connection:
        tables = shop.metadata.tables
        for table, rows in ((tables["jobs"], jobs), (tables["parts"], parts), (schema.tasks, tasks)):
            connection.execute(insert(table), rows)
        connection.execute(insert(tables["notes"]), [{"id": 1, "job_no": 1}, {"id": 2, "job_no": 90}])
    for number in range(3):
        lab.aged("temp", f"{number}.tmp", days=3)
        lab.aged("screenshots", f"夜/{number}/a.png", days=9)
    lab.aged("logs", "worker.log.1", days=90)
    lab.aged("screenshots", "夜/新.png", days=1)


def empty(shop: Shop) -> None:
    lab = shop.lab
    shop.clear()
    with lab.database.write() as connection:
        for table in (schema.tasks, file_outbox, rule_run, archived_row):
            connection.execute(delete(table))
        connection.execute(delete(service_state).where(service_state.c.key.startswith("retention:")))
    for folder in lab.folders.values():
        for path in folder.rglob("*"):
            if path.is_file() and path.name != MARKER:
                path.unlink()


def house(shop: Shop) -> dict[str, Any]:
    """All that is there now."""
    with shop.lab.database.read() as connection:
        archived = connection.execute(
            select(archived_row.c.table_name, func.sum(archived_row.c.row_count)).group_by(archived_row.c.table_name)
        ).all()
    on_disk = shop.lab.on_disk()
    return {
        "jobs": shop.jobs(),
        "parts": shop.ids("parts"),
        "notes": shop.ids("notes"),
        "tasks": shop.lab.tasks(),
        "files": {(root, path) for root, path in on_disk if not path.startswith(TRASH)},
        "in trash": sum(path.startswith(TRASH) for _, path in on_disk),
        "archived": {table: int(rows) for table, rows in archived},
        "outbox": {row.state: 0 for row in shop.lab.outbox()},
        "night": (shop.lab.folders["screenshots"] / "夜" / "0").exists(),
    }


Truth = tuple[list[str], dict[str, Any], dict[str, Any]]


@pytest.fixture
def truth(shop: Shop) -> Truth:
    """The checkpoints of an undisturbed run, its figures, and what it leaves."""
    furnish(shop)
    points: list[str] = []
    told = shop.lab.document(checkpoint=points.append)
    return points, {key: told[key] for key in EXACT}, house(shop)


def test_the_undisturbed_run_does_something_of_every_kind(truth: Truth) -> None:
    points, figures, left = truth
    assert len(points) > 90
    assert {key for key, value in figures.items() if not value} == {
        *("receipts_cleaned", "files_already_gone", "rows_kept", "pending_files", "stuck_files"),
    }
    assert figures["refused_paths"] == {"parent_reference": 2}
    assert (left["jobs"], left["parts"], left["notes"], left["tasks"]) == ({90, 91}, {90}, {2}, set())
    assert left["files"] == {
        *(("uploads", "共用.jpg"), ("uploads", "活.jpg"), ("documents", "活.pdf"), ("screenshots", "夜/新.png")),
    }
    assert left["archived"] == {"jobs": 13, "parts": 4, "notes": 1}
    assert (left["in trash"], left["outbox"], left["night"]) == (figures["files_set_aside"], {"trashed": 0}, False)


def test_stopped_at_any_step_all_ends_the_same_and_can_be_undone(shop: Shop, truth: Truth) -> None:
    points, figures, left = truth
    for number, step in enumerate(chosen_steps(points, 0.5)):
        begin_anew(shop)
        before = house(shop)
        with pytest.raises(Stopped):
            shop.lab.run("stopped", checkpoint=Steps(step, stop))
        assert_nothing_alive_was_lost(shop)
        told = shop.lab.document("next")
        assert {key: told[key] for key in EXACT} == figures, step
        assert house(shop) == left, step
        if number % 3 == 0:
            assert_undone(shop, before, "stopped", "next")


@pytest.mark.slow
def test_killed_at_any_step_all_ends_the_same(shop: Shop, truth: Truth) -> None:
    points, figures, left = truth
    for step in chosen_steps(points, 0.8):
        begin_anew(shop)
        run_and_kill(shop.lab, step)
        assert_nothing_alive_was_lost(shop)
        told = next_run(shop.lab)
        assert {key: told[key] for key in EXACT} == figures, step
        assert house(shop) == left, step


def test_stopped_while_it_recovers_again_and_again_all_ends_the_same(shop: Shop, truth: Truth) -> None:
    points, figures, left = truth
    for first in chosen_steps(points, 0.2)[::3]:
        begin_anew(shop)
        before = house(shop)
        stopped = 0
        for step in (first, 1 + first % 7, 2, 13, 5, 29):
            try:
                told = shop.lab.document(f"run{stopped}", checkpoint=Steps(step, stop))
            except Stopped:
                stopped += 1
                assert_nothing_alive_was_lost(shop)
            else:
                break
        else:
            told = shop.lab.document(f"run{stopped}")
        assert stopped
        assert {key: told[key] for key in EXACT} == figures, first
        assert house(shop) == left, first
        assert_undone(shop, before, *(f"run{number}" for number in range(stopped + 1)))


def begin_anew(shop: Shop) -> None:
    empty(shop)
    furnish(shop)


def assert_nothing_alive_was_lost(shop: Shop) -> None:
    """Rows that are there have their files, and no file of theirs is in the trash."""
    with shop.lab.database.read() as connection:
        tables = shop.metadata.tables
        named = {("uploads", path) for path in connection.execute(select(tables["jobs"].c.file)).scalars() if path}
        named |= {("documents", path) for path in connection.execute(select(tables["parts"].c.file)).scalars()}
        tasks = connection.execute(select(schema.tasks.c.document_path)).scalars()
        named |= {("documents", path) for path in tasks if path}
    assert named - shop.lab.on_disk() <= {("uploads", "缺.jpg"), ("uploads", "../x")}


def assert_undone(shop: Shop, before: dict[str, Any], *run_ids: str) -> None:
    """What the rule that keeps deleted rows took is there again, whichever of the runs took it."""
    kept: Callable[[int], bool] = lambda number: number % 2 == 1 or number == 90  # noqa: E731 - the rule's rows
    for run_id in run_ids:
        if _has_archive(shop, run_id):
            done = undo(shop.lab.place(), run_id, undo_id=f"u-{run_id}")
            # Of the other rules nothing was kept.
            assert (done.conflicts, done.refused, done.files.keys() - {"restored"}) == ({}, {}, set())
    now = house(shop)
    assert now["jobs"] == {no for no in before["jobs"] if kept(no)} | {91}
    assert now["parts"] == {no for no in before["parts"] if kept(no)}
    assert now["notes"] == before["notes"]
    assert (now["in trash"], now["archived"], now["outbox"]) == (0, {}, {})
    own = {(root, path) for root, path in before["files"] if root == "uploads" or path.startswith("件/")}
    came = {(root, path) for root, path in now["files"] if root == "uploads" or path.startswith("件/")}
    numbers = {file: file[1].rpartition("/")[2].partition(".")[0] for file in own}
    assert came == {file for file, number in numbers.items() if not number.isdigit() or kept(int(number))}


def _has_archive(shop: Shop, run_id: str) -> bool:
    archived = select(func.count()).select_from(archived_row).where(archived_row.c.run_id == run_id)
    trashed = select(func.count()).select_from(file_outbox).where(file_outbox.c.run_id == run_id)
    with shop.lab.database.read() as connection:
        return bool(connection.execute(archived).scalar_one() or connection.execute(trashed).scalar_one())
