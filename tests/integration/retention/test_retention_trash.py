"""Files that are moved aside while their rows are archived: purged in time, brought back on demand, never lost."""

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, select

from app.core.own_tables import archived_row, file_outbox
from app.core.safe_files import open_root
from app.core.safe_files.paths import TRASH
from app.retention import trash
from app.retention.due_files import FileWork
from app.retention.lock import Flight
from app.retention.outbox import retry_stuck, trashed_files
from app.retention.outbox_entry import OutboxFile, unpacked
from app.retention.outbox_rows import told_reasons
from app.retention.problems import Problems
from app.retention.roots import open_roots
from app.retention.stored_paths import FileColumns
from app.retention.tally import Tally

DAY = timedelta(days=1)


class Stopped(BaseException):
    """Stands for a kill."""


def stop_at(step: int) -> Callable[[str], None]:
    seen: list[str] = []

    def checkpoint(point: str) -> None:
        seen.append(point)
        if len(seen) == step:
            raise Stopped

    return checkpoint


def in_trash(lab: Any) -> list[Path]:
    return [path for folder in lab.folders.values() for path in sorted(folder.glob(f"{TRASH}/*"))]


def in_place(lab: Any) -> set[tuple[str, str]]:
    return {(root, path) for root, path in lab.on_disk() if not path.startswith(TRASH)}


def trashed(lab: Any) -> int:
    with lab.database.read() as connection:
        return trashed_files(connection)


def restore(lab: Any, run_id: str = "r1", checkpoint: Callable[[str], None] = lambda _point: None) -> trash.Restored:
    with open_roots(open_root, lab.database, lab.folders, lab.folders) as roots:
        return trash.restore(lab.place(checkpoint=checkpoint), roots, run_id)


@pytest.fixture
def keeping(lab: Any) -> Any:
    """The lab with three expired tasks, whose rows are archived and whose files are moved aside for a day."""
    lab.with_settings(keep_deleted=DAY)
    lab.clock.advance(lab.now - lab.clock.now())
    for name in ("图/1.jpg", "图/2.jpg", "-rf"):
        lab.task(image_path=lab.file("uploads", name))
    return lab


def test_the_files_of_archived_rows_are_moved_aside_and_not_called_gone(keeping: Any) -> None:
    told = keeping.document()
    assert (told["tasks_cleaned"], told["files_cleaned"], told["bytes_freed"]) == (3, 0, 0)
    assert in_place(keeping) == set()
    assert (len(in_trash(keeping)), trashed(keeping)) == (3, 3)
    folder = keeping.folders["uploads"] / TRASH
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(path.name.startswith("r1-") for path in in_trash(keeping))


def test_they_are_purged_when_their_time_is_over_and_not_before(keeping: Any) -> None:
    keeping.document()
    sizes = sum(path.stat().st_blocks * 512 for path in in_trash(keeping))
    keeping.clock.advance(DAY - timedelta(seconds=2))
    assert keeping.document("r2")["files_cleaned"] == 0
    keeping.clock.advance(timedelta(seconds=4))
    told = keeping.document("r3")
    assert (told["files_cleaned"], told["bytes_freed"]) == (3, sizes)
    assert (in_trash(keeping), trashed(keeping), keeping.outbox()) == ([], 0, [])
    assert keeping.document("r4")["files_cleaned"] == 0


def test_without_archived_rows_files_are_removed_at_once(keeping: Any) -> None:
    keeping.with_settings(keep_deleted=timedelta(0))
    assert keeping.document()["files_cleaned"] == 3
    assert in_trash(keeping) == []


def test_restored_files_stand_where_they_stood_with_what_they_held(keeping: Any) -> None:
    keeping.file("uploads", "图/1.jpg", "原来的内容".encode())
    keeping.document()
    back = restore(keeping)
    assert (back.files, back.taken, back.missing, back.failed, back.told) == (3, 0, 0, 0, [])
    assert (keeping.folders["uploads"] / "图/1.jpg").read_text(encoding="utf-8") == "原来的内容"
    assert (len(in_place(keeping)), in_trash(keeping), keeping.outbox()) == (3, [], [])
    assert restore(keeping).files == 0


def test_only_files_of_the_named_run_come_back(keeping: Any) -> None:
    keeping.document()
    keeping.task(image_path=keeping.file("uploads", "another.jpg"))
    keeping.document("r2")
    assert restore(keeping, "r2").files == 1
    assert in_place(keeping) == {("uploads", "another.jpg")}


def test_what_stands_in_a_files_place_is_never_overwritten(keeping: Any) -> None:
    keeping.document()
    keeping.file("uploads", "-rf", "新的".encode())
    back = restore(keeping)
    assert (back.files, back.taken) == (2, 1)
    assert back.told == ["uploads: taken: -rf"]
    assert (keeping.folders["uploads"] / "-rf").read_text(encoding="utf-8") == "新的"
    assert (len(in_trash(keeping)), trashed(keeping)) == (1, 1)


def test_a_folder_that_went_meanwhile_is_made_anew(keeping: Any) -> None:
    keeping.document()
    (keeping.folders["uploads"] / "图").rmdir()
    assert restore(keeping).files == 3
    assert ("uploads", "图/2.jpg") in in_place(keeping)


def test_a_file_that_vanished_from_the_trash_is_told_as_missing(keeping: Any) -> None:
    keeping.document()
    in_trash(keeping)[0].unlink()
    back = restore(keeping)
    assert (back.files, back.missing, keeping.outbox()) == (2, 1, [])


def test_a_held_root_keeps_its_files_in_the_trash(keeping: Any) -> None:
    keeping.document()
    with open_roots(open_root, keeping.database, keeping.folders, ["temp"]) as roots:
        back = trash.restore(keeping.place(), roots, "r1")
    assert (back.files, back.failed, trashed(keeping)) == (0, 3, 3)


def test_a_file_whose_row_came_back_is_not_purged_but_put_back(keeping: Any) -> None:
    keeping.document()
    keeping.task("processing", days=None, image_path="图/1.jpg")
    keeping.clock.advance(2 * DAY)
    told = keeping.document("r2")
    assert told["files_cleaned"] == 2
    assert in_place(keeping) == {("uploads", "图/1.jpg")}
    assert (in_trash(keeping), keeping.outbox()) == ([], [])


def test_a_new_file_in_its_place_is_left_alone_by_the_purge(keeping: Any) -> None:
    keeping.document()
    keeping.task("processing", days=None, image_path=keeping.file("uploads", "-rf", b"new"))
    keeping.clock.advance(2 * DAY)
    assert keeping.document("r2")["files_cleaned"] == 3
    assert (keeping.folders["uploads"] / "-rf").read_bytes() == b"new"


def test_a_row_cannot_name_what_lies_in_the_trash(keeping: Any) -> None:
    keeping.document()
    name = in_trash(keeping)[0].name
    keeping.task(image_path=f"{TRASH}/{name}", document_path=f"{TRASH.upper()}/{name}")
    assert keeping.document("r2")["refused_paths"] == {"trash": 2}
    assert len(in_trash(keeping)) == 3


def test_a_trash_folder_that_others_may_enter_is_not_used(keeping: Any) -> None:
    folder = keeping.folders["uploads"] / TRASH
    folder.mkdir()
    folder.chmod(0o755)
    told = keeping.document()
    assert told["state"] == "partial"
    assert len(in_place(keeping)) == 3
    (row,) = keeping.outbox()
    assert (row.state, row.reason) == ("pending", "trash_unsafe 3")
    folder.chmod(0o700)
    keeping.clock.advance(timedelta(minutes=1))
    keeping.document("r2")
    assert len(in_trash(keeping)) == 3


def test_a_trash_folder_that_is_a_link_is_not_followed(keeping: Any, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (keeping.folders["uploads"] / TRASH).symlink_to(tmp_path / "elsewhere")
    keeping.document()
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert len(in_place(keeping)) == 3


def test_killed_at_any_step_of_the_move_no_file_is_lost_and_none_counted_twice(keeping: Any) -> None:
    for step in range(1, 100):
        reset(keeping)
        try:
            keeping.run("r1", checkpoint=stop_at(step))
        except Stopped:
            keeping.document("r2")
        else:
            break
        assert (len(in_trash(keeping)), trashed(keeping), in_place(keeping)) == (3, 3, set()), step
        # Stopped before its first commit, the run left the rows to the next.
        assert restore(keeping).files + restore(keeping, "r2").files == 3, step
        assert len(in_place(keeping)) == 3
    assert step > 10


def test_killed_at_any_step_of_the_purge_every_file_is_counted_once(keeping: Any) -> None:
    for step in range(1, 100):
        reset(keeping)
        keeping.document()
        keeping.clock.advance(2 * DAY)
        try:
            told = keeping.document("r2", checkpoint=stop_at(step))
        except Stopped:
            told = keeping.document("r3")
        else:
            break
        assert (told["files_cleaned"], in_trash(keeping), keeping.outbox()) == (3, [], []), step
        keeping.clock.advance(-2 * DAY)
    assert step > 5


def test_killed_while_bringing_back_it_goes_on_and_nothing_is_purged_that_came_back(keeping: Any) -> None:
    keeping.document()
    with pytest.raises(Stopped):
        restore(keeping, checkpoint=stop_at(1))
    assert len(in_place(keeping)) == 3
    again = restore(keeping)
    assert (again.files, again.missing, keeping.outbox()) == (3, 0, [])


def test_a_purge_after_an_interrupted_return_counts_nothing_as_gone(keeping: Any) -> None:
    keeping.document()
    with pytest.raises(Stopped):
        restore(keeping, checkpoint=stop_at(1))
    keeping.clock.advance(2 * DAY)
    assert keeping.document("r2")["files_cleaned"] == 0
    assert (len(in_place(keeping)), keeping.outbox()) == (3, [])


def reset(lab: Any) -> None:
    """Three expired tasks with their files, nothing else."""
    from app.demo import schema

    with lab.database.write() as connection:
        for table in (schema.delivery_receipts, schema.tasks, file_outbox, archived_row):
            connection.execute(delete(table))
    for path in in_trash(lab):
        path.unlink()
    for root, path in lab.on_disk():
        (lab.folders[root] / path).unlink()
    for name in ("图/1.jpg", "图/2.jpg", "-rf"):
        lab.task(image_path=lab.file("uploads", name))


# --- files that no row names


def set_aside(lab: Any, checkpoint: Callable[[str], None] = lambda _point: None) -> dict[str, int]:
    place = lab.place(checkpoint=checkpoint)
    with open_roots(open_root, lab.database, lab.folders, lab.folders) as roots:
        found = roots.ready["uploads"].walk()
        files = [OutboxFile.of("uploads", entry.relative.decode(), entry) for entry in found]
        work = FileWork(
            place=place,
            columns=FileColumns(),
            roots=roots,
            tally=Tally(place, "o1"),
            flight=Flight(),
            problems=Problems(),
        )
        purge_at = lab.clock.now() + timedelta(days=7)
        done = trash.set_aside(work, run_id="o1", rule="orphans", files=files, purge_at=purge_at)
    return dict(done)


def test_files_set_aside_by_hand_are_purged_after_their_time_and_come_back_before(lab: Any) -> None:
    for name in ("孤儿.jpg", "b/c.jpg"):
        lab.file("uploads", name)
    assert set_aside(lab)["trashed"] == 2
    assert in_place(lab) == set()
    assert restore(lab, "o1").files == 2
    set_aside(lab)
    lab.clock.advance(timedelta(days=7, seconds=1))
    assert lab.document("r2")["files_cleaned"] == 2
    assert (lab.on_disk(), lab.outbox()) == (set(), [])


def test_a_quarantine_killed_in_the_middle_is_ended_by_the_next_clean_up(lab: Any) -> None:
    for name in ("a.jpg", "b.jpg"):
        lab.file("uploads", name)
    with pytest.raises(Stopped):
        set_aside(lab, stop_at(2))
    assert len(in_place(lab)) == 1
    lab.document()
    assert (in_place(lab), trashed(lab)) == (set(), 2)
    assert restore(lab, "o1").files == 2


# --- the retry list


def test_stuck_files_are_tried_again_when_an_operator_says_so(lab: Any) -> None:
    file = OutboxFile(root="uploads", path=lab.file("uploads", "固.jpg"), reason="eperm")
    with lab.database.write() as connection:
        connection.execute(
            insert(file_outbox).values(
                run_id="r0",
                created_at=lab.clock.now(),
                files=f'[{{"root":"uploads","path":"{file.path}","reason":"eperm"}}]',
                file_count=1,
                attempts=5,
                next_at=lab.clock.now() + DAY,
                state="stuck",
                reason="eperm",
            )
        )
    assert lab.document()["stuck_files"] == 1
    assert retry_stuck(lab.database, lab.clock) == 1
    told = lab.document("r2")
    assert (told["files_cleaned"], told["stuck_files"]) == (1, 0)
    assert retry_stuck(lab.database, lab.clock) == 0


def test_why_files_stayed_is_told_with_the_most_frequent_reason_first(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        lab.task(image_path=lab.file("uploads", name))
    real = os.unlink

    def unlink(path: Any, *, dir_fd: int | None = None) -> None:
        if path in {b"a.jpg", b"c.jpg"}:
            raise OSError(1, "Operation not permitted")
        if path == b"b.jpg":
            raise OSError(5, "Input/output error")
        real(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", unlink)
    lab.document()
    with lab.database.read() as connection:
        row = connection.execute(select(file_outbox)).one()
    assert (row.reason, row.rule) == ("eperm 2, eio", "completed")
    assert {(file.path, file.reason) for file in unpacked(row.files)} == {
        ("a.jpg", "eperm"),
        ("b.jpg", "eio"),
        ("c.jpg", "eperm"),
    }
    assert told_reasons([]) is None


def test_files_wait_for_the_grace_that_the_settings_name(lab: Any) -> None:
    lab.with_settings(file_grace=timedelta(hours=2))
    lab.task(image_path=lab.file("uploads", "a.jpg"))
    assert lab.document()["pending_files"] == 1
    lab.clock.advance(timedelta(hours=2) - timedelta(seconds=1))
    assert lab.document("r2")["files_cleaned"] == 0
    lab.clock.advance(timedelta(seconds=1))
    assert lab.document("r3")["files_cleaned"] == 1
