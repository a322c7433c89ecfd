"""A living row whose absolute path begins with no known spelling of the root may mean any file of it (rule R7)."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from app.retention.settings import RootSettings

ELSEWHERE = "/mnt/旧机器/uploads/图/甲.jpg"


def with_alias(lab: Any, alias: str) -> None:
    uploads = RootSettings(path=lab.folders["uploads"], aliases=[alias])
    lab.with_settings(roots={**lab.settings.roots, "uploads": uploads})


def furnish(lab: Any, path: str = ELSEWHERE) -> tuple[int, int]:
    """Make an expired row with a file, and a living one that names the same file by another host's path."""
    gone = lab.task(image_path=lab.file("uploads", "图/甲.jpg"), document_path=lab.file("documents", "合同.pdf"))
    return gone, lab.task(days=1, image_path=path)


@pytest.mark.parametrize("path", [ELSEWHERE, "/mnt//旧机器/./uploads/图/甲.jpg", "//图/甲.jpg"])
def test_rows_go_and_the_files_of_the_root_wait(lab: Any, path: str) -> None:
    _, alive = furnish(lab, path)
    told = lab.document()
    assert (told["state"], told["tasks_cleaned"], lab.tasks()) == ("partial", 1, {alive})
    assert lab.on_disk() == {("uploads", "图/甲.jpg")}, "the file of the other root goes"
    assert told["pending_files"] == 1
    (held,) = told["held_roots"]
    assert held["root"] == "uploads"
    assert path in held["why"]
    assert "[retention.roots.uploads] aliases" in held["why"]
    assert told["errors"] == [held["why"]], "told once"


def test_a_row_stored_as_a_blob_holds_as_well_on_sqlite(lab: Any) -> None:
    if lab.database.dialect != "sqlite":
        pytest.skip("PostgreSQL stores no blob in a text column")
    furnish(lab)
    with lab.database.write() as connection:
        connection.execute(text("UPDATE tasks SET image_path = CAST(image_path AS BLOB)"))
    lab.document()
    assert ("uploads", "图/甲.jpg") in lab.on_disk()


def test_an_alias_for_the_prefix_explains_the_path(lab: Any) -> None:
    furnish(lab)
    lab.file("uploads", "图/乙.jpg")
    lab.task(image_path="图/乙.jpg")
    assert lab.document()["pending_files"] == 2
    with_alias(lab, "/mnt/旧机器/uploads")
    told = lab.document("r2")
    assert (told["state"], told["held_roots"], told["pending_files"]) == ("done", [], 0)
    assert (told["files_cleaned"], told["files_kept_referenced"]) == (1, 1)
    assert lab.on_disk() == {("uploads", "图/甲.jpg")}


@pytest.mark.parametrize("path", ["/app//uploads/图/甲.jpg", "/app/x/../uploads/丙.jpg", "图/丙.jpg", "s3://桶/丙.jpg"])
def test_paths_that_are_explained_or_not_absolute_hold_nothing(lab: Any, path: str) -> None:
    with_alias(lab, "/app/uploads")
    lab.task(image_path=lab.file("uploads", "图/乙.jpg"))
    lab.task(days=1, image_path=path)
    assert (lab.document()["state"], lab.on_disk()) == ("done", set())


def test_an_expired_row_with_such_a_path_is_refused_and_holds_nothing(lab: Any) -> None:
    lab.task(image_path=lab.file("uploads", "图/甲.jpg"))
    lab.task(image_path=ELSEWHERE)
    dry = lab.document(dry_run=True)
    told = lab.document()
    assert (told["state"], told["files_cleaned"], told["refused_paths"]) == ("done", 1, {"absolute": 1})
    assert (dry["files_cleaned"], dry["refused_paths"], dry["held_roots"]) == (1, {"absolute": 1}, [])
    assert lab.on_disk() == set()


def test_it_holds_nothing_while_no_file_is_to_go(lab: Any) -> None:
    lab.task(days=1, image_path=ELSEWHERE)
    lab.task()
    for dry_run in (True, False):
        told = lab.document(dry_run=dry_run)
        assert (told["state"], told["held_roots"], told["tasks_cleaned"]) == ("done", [], 1)


def test_a_dry_run_tells_the_same_as_the_run(lab: Any) -> None:
    furnish(lab)
    dry, real = lab.document(dry_run=True), lab.document()
    for key in ("state", "held_roots", "pending_files", "files_cleaned", "tasks_cleaned", "errors"):
        assert dry[key] == real[key], key


def test_files_that_were_moved_aside_are_not_purged_either(lab: Any) -> None:
    lab.with_settings(keep_deleted=timedelta(hours=12))
    lab.task(image_path=lab.file("uploads", "图/甲.jpg"))
    assert lab.document()["files_set_aside"] == 1
    lab.task(days=1, image_path=ELSEWHERE)
    lab.clock.advance(timedelta(hours=13))
    assert lab.document("r2")["files_cleaned"] == 0
    with_alias(lab, "/mnt/旧机器/uploads")
    lab.document("r3")
    assert lab.on_disk() == {("uploads", "图/甲.jpg")}, "moved back, for a row names it"
