"""Which files go, which stay, and what is said about them."""

import os
import shutil
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from app.core.errors import BadArgument, RootRefused
from app.core.safe_files import MARKER
from app.core.settings_reader import read
from app.retention.roots import init_roots, list_roots
from app.retention.settings import RetentionSettings, RootSettings


def test_a_file_that_a_living_row_names_stays_and_is_counted(lab: Any) -> None:
    shared = lab.file("uploads", "共享.jpg")
    lab.task(image_path=shared)
    alive = lab.task(days=1, image_path=shared)
    told = lab.document()
    assert lab.tasks() == {alive}
    assert (told["files_cleaned"], told["files_kept_referenced"], told["bytes_freed"]) == (0, 1, 0)
    assert lab.on_disk() == {("uploads", "共享.jpg")}
    lab.set_task(alive, completed_at=lab.now - timedelta(days=50), created_at=lab.now - timedelta(days=51))
    assert lab.document("r2")["files_cleaned"] == 1
    assert lab.on_disk() == set()


def test_a_column_of_another_table_with_the_same_root_keeps_a_file_too(lab: Any) -> None:
    lab.task(document_path=lab.file("documents", "a.pdf"))
    lab.receipt(None, delivery_receipt_doc_path="a.pdf")
    assert lab.document()["files_kept_referenced"] == 1
    assert lab.on_disk() == {("documents", "a.pdf")}


def test_the_same_path_below_another_root_is_another_file(lab: Any) -> None:
    lab.task(document_path=lab.file("documents", "a.pdf"))
    lab.task(days=1, image_path=lab.file("uploads", "a.pdf"))
    assert lab.document()["files_cleaned"] == 1
    assert lab.on_disk() == {("uploads", "a.pdf")}


@pytest.mark.parametrize("spelling", ["/app/uploads/a/b.jpg", "./a/b.jpg", "a//b.jpg", "a/./b.jpg", "a/c/../b.jpg"])
def test_another_spelling_in_a_living_row_keeps_the_file(lab: Any, spelling: str) -> None:
    _with_alias(lab)
    lab.task(image_path=lab.file("uploads", "a/b.jpg"))
    lab.task(days=1, image_path=spelling)
    assert lab.document()["files_kept_referenced"] == 1
    assert lab.on_disk() == {("uploads", "a/b.jpg")}


@pytest.mark.parametrize("spelling", ["图/b.jpg", "/app/uploads/图/b.jpg", "./图//b.jpg"])
def test_a_path_that_a_living_row_stores_as_a_blob_keeps_the_file_on_sqlite(lab: Any, spelling: str) -> None:
    if lab.database.dialect != "sqlite":
        pytest.skip("PostgreSQL stores no blob in a text column")
    _with_alias(lab)
    lab.task(image_path=lab.file("uploads", "图/b.jpg"))
    lab.task(image_path=lab.file("uploads", "alone.jpg"))
    alive = lab.task(days=1, image_path=spelling)
    with lab.database.write() as connection:
        connection.execute(text("UPDATE tasks SET image_path = CAST(image_path AS BLOB)"))
    for dry_run in (True, False):
        told = lab.document(dry_run=dry_run)
        assert (told["files_cleaned"], told["files_kept_referenced"]) == (1, 1)
    assert lab.tasks() == {alive}
    assert lab.on_disk() == {("uploads", "图/b.jpg")}


def test_a_straightened_spelling_with_the_full_path_keeps_the_file(lab: Any) -> None:
    lab.task(image_path=lab.file("uploads", "a/b.jpg"))
    lab.task(days=1, image_path=f"/{lab.folders['uploads']}//a/b.jpg")
    assert lab.document()["files_kept_referenced"] == 1


def test_stored_prefixes_and_full_paths_lead_to_the_file(lab: Any) -> None:
    _with_alias(lab)
    lab.file("uploads", "2026/a.jpg")
    lab.file("uploads", "2026/b.jpg")
    lab.task(image_path="/app/uploads/2026/a.jpg")
    lab.task(image_path=str(lab.folders["uploads"] / "2026" / "b.jpg"))
    told = lab.document()
    assert (told["files_cleaned"], told["refused_paths"]) == (2, {})
    assert lab.on_disk() == set()


def _with_alias(lab: Any) -> None:
    roots = dict(lab.settings.roots)
    roots["uploads"] = RootSettings(path=lab.folders["uploads"], aliases=["/app/uploads"])
    lab.with_settings(roots=roots)


def test_a_file_named_twice_by_expired_rows_is_counted_once(lab: Any) -> None:
    lab.with_settings(batch_size=1)
    shared = lab.file("uploads", "a.jpg", b"z" * 5000)
    size = (lab.folders["uploads"] / "a.jpg").stat().st_blocks * 512
    for _ in range(3):
        lab.task(image_path=shared)
    told = lab.document()
    assert (told["files_cleaned"], told["files_already_gone"], told["files_missing"]) == (1, 2, 0)
    assert told["bytes_freed"] == size


def test_missing_files_are_counted_and_stop_nothing(lab: Any) -> None:
    lab.task(image_path="没有/a.jpg", document_path="b.pdf")
    told = lab.document()
    assert (told["tasks_cleaned"], told["files_cleaned"], told["files_missing"]) == (1, 0, 2)
    assert told["state"] == "done"
    assert lab.outbox() == []


def test_hostile_paths_are_refused_by_reason_and_nothing_outside_is_touched(lab: Any) -> None:
    canary = lab.home / "canary.txt"
    canary.write_text("无价", encoding="utf-8")
    uploads = lab.folders["uploads"]
    (uploads / "out").symlink_to(lab.home, target_is_directory=True)
    (uploads / "link.jpg").symlink_to(canary)
    os.link(canary, uploads / "hard.jpg")
    os.mkfifo(uploads / "fifo")
    (uploads / "folder").mkdir()
    hostile = {
        "../canary.txt": "parent_reference",
        "a/../../canary.txt": "parent_reference",
        str(canary): "absolute",
        "/etc/passwd": "absolute",
        "s3://bucket/a.jpg": "unsupported",
        "out/canary.txt": "link",
        "link.jpg": "link",
        "hard.jpg": "hard_link",
        "fifo": "not_regular",
        "folder": "directory",
        "folder/": "not_canonical",
        "": "empty",
        MARKER: "marker",
        "x" * 300: "name_too_long",
        "/".join("d" * 70): "too_deep",
    }
    for path in hostile:
        lab.task(image_path=path)
    told = lab.document()
    expected: dict[str, int] = {}
    for reason in hostile.values():
        expected[reason] = expected.get(reason, 0) + 1
    assert told["refused_paths"] == dict(sorted(expected.items()))
    assert told["tasks_cleaned"] == len(hostile)
    assert (told["files_cleaned"], told["files_missing"], told["errors"]) == (0, 0, [])
    assert canary.read_text(encoding="utf-8") == "无价"
    assert (uploads / MARKER).exists()
    assert (uploads / "hard.jpg").exists()


def test_a_stored_name_that_is_no_utf8_is_refused_on_sqlite(lab: Any) -> None:
    if lab.database.dialect != "sqlite":
        pytest.skip("PostgreSQL stores no such text")
    lab.task()
    with lab.database.write() as connection:
        connection.execute(text("UPDATE tasks SET image_path = CAST(x'ff612e6a7067' AS TEXT)"))
    (lab.folders["uploads"] / os.fsdecode(b"\xffa.jpg")).write_bytes(b"1")
    assert lab.document(dry_run=True)["refused_paths"] == {"not_utf8": 1}
    told = lab.document()
    assert (told["tasks_cleaned"], told["refused_paths"]) == (1, {"not_utf8": 1})
    assert len(lab.on_disk()) == 1


def test_a_file_put_in_place_after_the_decision_is_kept(lab: Any) -> None:
    lab.task(image_path=lab.file("uploads", "a.jpg"))

    def replace(point: str) -> None:
        if point == "batch committed":
            (lab.folders["uploads"] / "a.jpg").unlink()
            lab.file("uploads", "a.jpg", "新的文件".encode())

    told = lab.document(checkpoint=replace)
    assert told["refused_paths"] == {"changed": 1}
    assert (lab.folders["uploads"] / "a.jpg").read_text(encoding="utf-8") == "新的文件"


@pytest.fixture
def stubborn(monkeypatch: pytest.MonkeyPatch) -> set[bytes]:
    """Names that the operating system refuses to unlink (root may do everything, so it must be told not to)."""
    names: set[bytes] = set()
    real = os.unlink

    def unlink(path: Any, *, dir_fd: int | None = None) -> None:
        if path in names:
            raise PermissionError(1, "Operation not permitted")
        real(path, dir_fd=dir_fd)

    monkeypatch.setattr("app.core.safe_files.root.os.unlink", unlink)
    return names


def test_a_file_that_cant_be_removed_is_tried_five_times_then_shown_as_stuck(lab: Any, stubborn: set[bytes]) -> None:
    stubborn.add("固.jpg".encode())
    lab.task(image_path=lab.file("uploads", "固.jpg"), document_path=lab.file("documents", "a.pdf"))
    for attempt in range(1, 6):
        told = lab.document(f"r{attempt}")
        assert told["files_cleaned"] == (1 if attempt == 1 else 0)
        assert told["errors"] == ["uploads: eperm: 固.jpg"]
        assert told["state"] == "partial"
        (row,) = lab.outbox()
        assert (row.attempts, row.file_count) == (attempt, 1)
        assert row.state == ("stuck" if attempt == 5 else "pending")
        assert lab.document(f"again{attempt}")["errors"] == []  # not before its time
        lab.clock.advance(timedelta(minutes=2 ** (attempt - 1)))
    told = lab.document("last")
    assert (told["stuck_files"], told["pending_files"], told["state"]) == (1, 0, "done")
    assert lab.on_disk() == {("uploads", "固.jpg")}


def test_a_file_that_can_be_removed_again_is_removed_and_counted(lab: Any, stubborn: set[bytes]) -> None:
    stubborn.add(b"a.jpg")
    lab.task(image_path=lab.file("uploads", "a.jpg"))
    assert lab.document()["pending_files"] == 1
    stubborn.clear()
    lab.clock.advance(timedelta(minutes=1))
    told = lab.document("r2")
    assert (told["files_cleaned"], told["pending_files"], told["state"]) == (1, 0, "done")
    assert lab.on_disk() == set()


def test_a_file_waiting_for_its_retry_stays_if_a_new_row_names_it(lab: Any, stubborn: set[bytes]) -> None:
    stubborn.add(b"a.jpg")
    lab.task(image_path=lab.file("uploads", "a.jpg"))
    lab.document()
    stubborn.clear()
    lab.task("processing", days=None, image_path="a.jpg")
    lab.clock.advance(timedelta(minutes=1))
    assert lab.document("r2")["files_kept_referenced"] == 1
    assert lab.on_disk() == {("uploads", "a.jpg")}


def test_without_its_mark_a_root_holds_every_row_back(lab: Any) -> None:
    task = lab.task(image_path=lab.file("uploads", "a.jpg"))
    lab.aged("temp", "旧.tmp", days=3)
    (lab.folders["receipts"] / MARKER).unlink()
    result = lab.run()
    told = result.document
    assert (result.state, result.success) == ("held", False)
    assert told["held_roots"][0]["root"] == "receipts"
    assert "gengfu roots init receipts" in told["held_roots"][0]["why"]
    assert told["errors"] == [told["held_roots"][0]["why"]]
    assert (told["tasks_cleaned"], told["temp_files_cleaned"]) == (0, 1)
    assert told["rows_kept"] == {"root_held": 1}
    assert lab.tasks() == {task}
    assert lab.on_disk() == {("uploads", "a.jpg")}


@pytest.mark.parametrize("trouble", ["gone", "other_volume", "unknown", "link", "inside_another"])
def test_a_root_that_is_not_the_known_one_holds_every_row_back(lab: Any, trouble: str) -> None:
    task = lab.task(image_path=lab.file("uploads", "a.jpg"))
    uploads = lab.folders["uploads"]
    if trouble == "gone":
        uploads.rename(lab.home / "unmounted")
    elif trouble == "other_volume":
        (uploads / MARKER).unlink()
        (uploads / MARKER).write_text("0" * 32 + "\n")
    elif trouble == "unknown":
        with lab.database.write() as connection:
            connection.execute(text("DELETE FROM gengfu_service_state WHERE key = 'root:uploads'"))
    elif trouble == "link":
        uploads.rename(lab.home / "elsewhere")
        uploads.symlink_to(lab.home / "elsewhere", target_is_directory=True)
    else:
        lab.folders["temp"] = uploads / "temp"
    told = lab.document()
    assert told["state"] == "held"
    assert "uploads" in {held["root"] for held in told["held_roots"]}
    assert lab.tasks() == {task}
    assert len(list(lab.home.rglob("a.jpg"))) == 1


def test_a_root_lost_between_rows_and_files_keeps_the_files_for_the_next_run(lab: Any) -> None:
    lab.task(image_path=lab.file("uploads", "a.jpg"), document_path=lab.file("documents", "b.pdf"))
    away = lab.home / "away"

    def unmount(point: str) -> None:
        if point == "batch committed":
            shutil.copytree(lab.folders["uploads"], away)
            for path in lab.folders["uploads"].iterdir():
                path.unlink()

    told = lab.document(checkpoint=unmount)
    assert (told["files_cleaned"], told["pending_files"], told["files_already_gone"]) == (1, 1, 0)
    assert told["state"] == "partial"
    assert [held["root"] for held in told["held_roots"]] == ["uploads"]


def test_old_temporary_files_go_and_young_open_and_marked_ones_stay(lab: Any) -> None:
    lab.aged("temp", "旧.tmp", days=1.1)
    lab.aged("temp", b"deep/\xff\xfe.tmp", days=9)
    lab.aged("temp", "young.tmp", days=0.9)
    held = lab.aged("temp", "held.tmp", days=9)
    exact = lab.aged("temp", "exact.tmp", days=1)
    with held.open("rb"):
        told = lab.document()
    assert told["temp_files_cleaned"] == 2
    assert told["files_cleaned"] == 2
    assert lab.on_disk() == {("temp", "young.tmp"), ("temp", "held.tmp"), ("temp", exact.name)}
    assert (lab.folders["temp"] / MARKER).exists()


def test_with_the_newest_stamp_a_file_that_just_came_is_young(lab: Any) -> None:
    lab.with_settings(temp_age="newest")
    lab.clock.advance(lab.now - lab.clock.now())
    lab.aged("temp", "unpacked.tmp", days=400)  # its status changed just now
    assert lab.document()["temp_files_cleaned"] == 0
    lab.clock.advance(timedelta(days=2))
    assert lab.document("r2")["temp_files_cleaned"] == 1


def test_old_logs_go_and_active_open_and_other_files_stay(lab: Any) -> None:
    for name in ("app.log.1", "app.log-20250101.gz", "旧服务.log", "sub/old.log.2.gz"):
        lab.aged("logs", name, days=31)
    kept = {"app.log", "readme.txt", "young.log.1", "open.log", "audit.log"}
    lab.aged("logs", "app.log", days=90)
    lab.aged("logs", "readme.txt", days=90)
    lab.aged("logs", "young.log.1", days=29)
    lab.aged("logs", "audit.log", days=90)
    lab.with_settings(keep_logs=["audit*"])
    with lab.aged("logs", "open.log", days=90).open("a"):
        told = lab.document()
    assert (told["logs_cleaned"], told["files_cleaned"]) == (4, 0)
    assert told["bytes_freed"] > 0
    assert lab.on_disk() == {("logs", name) for name in kept}


def test_an_unmarked_log_folder_holds_back_only_logs(lab: Any) -> None:
    lab.task()
    lab.aged("logs", "app.log.1", days=99)
    (lab.folders["logs"] / MARKER).unlink()
    told = lab.document()
    assert (told["state"], told["success"]) == ("partial", True)
    assert (told["tasks_cleaned"], told["logs_cleaned"]) == (1, 0)
    assert [held["root"] for held in told["held_roots"]] == ["logs"]


@pytest.mark.parametrize(("only", "left"), [("temp", "app.log.1"), ("logs", "旧.tmp")])
def test_told_to_look_at_one_kind_of_files_only_the_rest_stays(lab: Any, only: str, left: str) -> None:
    from app.retention.cleanup import cleanup_expired

    task = lab.task()
    lab.aged("temp", "旧.tmp", days=3)
    lab.aged("logs", "app.log.1", days=33)
    (lab.folders["uploads"] / MARKER).unlink()  # no matter of theirs
    told = cleanup_expired(lab.place(), run_id="r1", only=only).document
    assert (told["state"], told["held_roots"]) == ("done", [])
    assert lab.tasks() == {task}
    assert {path for _, path in lab.on_disk()} == {left}


def test_links_in_a_temp_folder_are_neither_followed_nor_removed(lab: Any) -> None:
    outside = lab.home / "outside"
    outside.mkdir()
    (outside / "old.tmp").write_text("x")
    os.utime(outside / "old.tmp", (0, 0))
    (lab.folders["temp"] / "way").symlink_to(outside, target_is_directory=True)
    os.link(outside / "old.tmp", lab.folders["temp"] / "hard.tmp")
    told = lab.document()
    assert told["temp_files_cleaned"] == 0
    assert told["refused_paths"] == {"hard_link": 1}
    assert (outside / "old.tmp").exists()


def test_a_dry_run_tells_the_same_figures_and_changes_nothing(lab: Any) -> None:
    _with_alias(lab)
    lab.with_settings(batch_size=2)
    _mixed_house(lab)
    before = _digest(lab)
    dry = lab.document("dry", dry_run=True)
    assert _digest(lab) == before
    real = lab.document("real")
    same = ("tasks_cleaned", "receipts_cleaned", "files_cleaned", "temp_files_cleaned", "logs_cleaned", "bytes_freed")
    assert {key: dry[key] for key in same} == {key: real[key] for key in same}
    for key in ("files_kept_referenced", "files_missing", "refused_paths", "disk_space_freed_mb", "rows_kept"):
        assert dry[key] == real[key], key
    assert dry["dry_run"] is True
    assert dry["files_cleaned"] > 0
    assert dry.keys() == real.keys()


def _mixed_house(lab: Any) -> None:
    for number in range(9):
        task = lab.task(
            "failed" if number % 2 else "completed",
            image_path=lab.file("uploads", f"图/{number}.jpg", b"q" * 5000 * number),
            document_path=lab.file("documents", f"{number}.pdf") if number % 3 else "缺.pdf",
        )
        lab.receipt(task, qr_code_path=lab.file("receipts", f"{number}.png"))
    lab.task(image_path="/app/uploads/图/1.jpg", screenshot_path="../../etc/passwd")
    lab.task(days=2, image_path="图/2.jpg", document_path="./4.pdf")
    lab.task(days=None, image_path="图/3.jpg")
    lab.receipt(None, qr_code_path="5.png")
    lab.aged("temp", "旧.tmp", days=3)
    lab.aged("logs", "app.log.1", days=33)


def _digest(lab: Any) -> list[Any]:
    with lab.database.read() as connection:
        tables = [
            sorted(map(str, connection.execute(text(f"SELECT * FROM {name}")).all()))
            for name in ("tasks", "delivery_receipts", "gengfu_file_outbox", "gengfu_service_state", "gengfu_run")
        ]
    folders = lab.folders.values()
    tree = [(str(p), p.lstat().st_mtime_ns, p.lstat().st_ino) for folder in folders for p in sorted(folder.rglob("*"))]
    return [tables, tree, sorted(path.name for path in lab.home.iterdir())]


def test_a_dry_run_with_a_held_root_tells_that_no_row_would_go(lab: Any) -> None:
    lab.task()
    (lab.folders["uploads"] / MARKER).unlink()
    told = lab.document(dry_run=True)
    assert (told["state"], told["tasks_cleaned"]) == ("held", 0)


def test_marking_roots_again_changes_nothing_and_listing_tells_their_state(lab: Any) -> None:
    before = list_roots(lab.database, lab.folders)
    assert all(root.why_held is None for root in before)
    again = init_roots(lab.database, lab.folders, lab.clock, ["uploads"])
    assert again[0].marker_id == next(root.marker_id for root in before if root.name == "uploads")
    (lab.folders["uploads"] / MARKER).unlink()
    listed = {root.name: root for root in list_roots(lab.database, lab.folders)}
    assert "no .gengfu-root" in (listed["uploads"].why_held or "")
    assert listed["temp"].why_held is None


def test_marking_refuses_unknown_names_and_overlapping_folders(lab: Any) -> None:
    with pytest.raises(BadArgument, match=r'no root \'upload\' \(did you mean "uploads"\?\)'):
        init_roots(lab.database, lab.folders, lab.clock, ["upload"])
    lab.folders["temp"] = lab.folders["uploads"] / "temp"
    with pytest.raises(RootRefused, match="overlap"):
        init_roots(lab.database, lab.folders, lab.clock, ["temp"])
    assert not lab.folders["temp"].exists()


def test_columns_without_a_root_leave_their_files_alone(lab: Any) -> None:
    lab.with_settings(task_files=read(RetentionSettings, {"task_files": {"image_path": ""}}).task_files)
    lab.task(image_path=lab.file("uploads", "a.jpg"))
    told = lab.document()
    assert (told["tasks_cleaned"], told["files_cleaned"]) == (1, 0)
    assert lab.on_disk() == {("uploads", "a.jpg")}
