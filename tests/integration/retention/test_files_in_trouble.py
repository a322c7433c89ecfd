"""Roots lost at the worst moment, places taken while a run was dead, runs that are stopped, tables nobody may read."""

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from retention_shop import Shop
from sqlalchemy import insert, text

from app.core.errors import RootRefused
from app.core.own_tables import file_outbox
from app.core.safe_files import MARKER
from app.core.safe_files.paths import TRASH
from app.demo import schema
from app.retention.roots import init_roots, list_roots
from app.retention.rule_settings import GuardSettings
from app.retention.settings import RootSettings
from app.retention.undo import undo
from app.retention.verdict_on_files import Verdict

DAY = timedelta(days=1)


class Stopped(BaseException):
    """Stands for a kill."""


def at(point: str, act: Callable[[], None]) -> Callable[[str], None]:
    """Act the first time that the run comes to a point."""
    done: list[str] = []

    def checkpoint(name: str) -> None:
        if name == point and not done:
            done.append(name)
            act()

    return checkpoint


def kill() -> None:
    raise Stopped


def in_trash(lab: Any) -> list[Path]:
    return [path for folder in lab.folders.values() for path in sorted(folder.glob(f"{TRASH}/*"))]


def states(lab: Any) -> list[tuple[str, int]]:
    return [(row.state, row.file_count) for row in lab.outbox()]


# --- roots


def test_a_root_lost_while_its_files_are_looked_at_keeps_them_all_for_the_next_run(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("甲.jpg", "乙.jpg"):
        lab.task(image_path=lab.file("uploads", name))
    marker, away = lab.folders["uploads"] / MARKER, lab.home / "away"
    last = sorted(("甲.jpg", "乙.jpg"))[1]
    real: Callable[..., None] = Verdict._one

    def lose(*arguments: Any) -> None:
        real(*arguments)
        if marker.exists():
            away.mkdir()
            marker.rename(away / MARKER)
            (lab.folders["uploads"] / last).rename(away / last)

    with monkeypatch.context() as patch:
        patch.setattr(Verdict, "_one", lose)
        told = lab.document()
    assert (told["state"], told["files_cleaned"], told["pending_files"]) == ("partial", 0, 2)
    assert [held["root"] for held in told["held_roots"]] == ["uploads"]
    for path in away.iterdir():
        path.rename(lab.folders["uploads"] / path.name)
    assert lab.document("r2")["files_cleaned"] == 2
    assert lab.outbox() == []


def test_nothing_is_removed_below_a_root_that_was_moved_away_meanwhile(lab: Any) -> None:
    lab.task(image_path=lab.file("uploads", "甲.jpg"))
    moved = lab.home / "备份"

    def move() -> None:
        lab.folders["uploads"].rename(moved)
        shutil.copytree(moved, lab.folders["uploads"])

    told = lab.document(checkpoint=at("batch committed", move))
    assert (told["state"], told["files_cleaned"], told["pending_files"]) == ("partial", 0, 1)
    assert "another folder stands" in told["held_roots"][0]["why"]
    assert (moved / "甲.jpg").exists()


def test_rows_stay_where_their_root_was_moved_away_before_their_batch(lab: Any) -> None:
    task = lab.task(image_path=lab.file("uploads", "甲.jpg"))
    told = lab.document(checkpoint=at("rows locked", lambda: lab.folders["uploads"].rename(lab.home / "备份")))
    assert (told["rules"][0]["state"], told["tasks_cleaned"], lab.tasks()) == ("held", 0, {task})


def test_taking_the_mark_away_stops_the_run_before_its_next_file_goes(lab: Any) -> None:
    lab.task(image_path=lab.file("uploads", "甲.jpg"))
    marker = lab.folders["uploads"] / MARKER
    told = lab.document(checkpoint=at("batch committed", marker.unlink))
    assert (told["state"], told["files_cleaned"], told["pending_files"]) == ("partial", 0, 1)
    assert ("uploads", "甲.jpg") in lab.on_disk()


def test_two_roots_that_bear_one_mark_are_held_and_not_marked_again(lab: Any) -> None:
    """One folder mounted at two places, or a copy of it."""
    lab.task(image_path=lab.file("uploads", "甲.jpg"))
    shutil.copy(lab.folders["uploads"] / MARKER, lab.folders["temp"] / MARKER)
    with pytest.raises(RootRefused, match="one folder under two names"):
        init_roots(lab.database, lab.folders, lab.clock, ["temp"])
    shared = lab.folders | {"网盘": lab.folders["temp"]}
    del shared["temp"]
    with pytest.raises(RootRefused, match="root uploads"):
        init_roots(lab.database, shared, lab.clock, ["网盘"])


def test_a_root_known_under_the_mark_of_another_is_held(lab: Any) -> None:
    shutil.copy(lab.folders["uploads"] / MARKER, lab.folders["temp"] / MARKER)
    without = {name: path for name, path in lab.folders.items() if name != "uploads"}
    init_roots(lab.database, without, lab.clock, ["temp"])
    held = {root.name: root.why_held for root in list_roots(lab.database, lab.folders) if root.why_held}
    assert set(held) == {"temp", "uploads"}
    assert "same mark" in str(held["uploads"])
    lab.folders.pop("temp")
    assert all(root.why_held is None for root in list_roots(lab.database, lab.folders))


# --- a run killed between its moves and its counts


@pytest.fixture
def interrupted(lab: Any) -> Any:
    """The lab with a task whose file was moved into the trash by a run that was killed before it could say so."""
    lab.with_settings(keep_deleted=DAY)
    lab.clock.advance(lab.now - lab.clock.now())
    lab.task(image_path=lab.file("uploads", "图/1.jpg", "原来".encode()))
    with pytest.raises(Stopped):
        lab.run(checkpoint=at("files removed", kill))
    assert [path.read_text() for path in in_trash(lab)] == ["原来"]
    assert states(lab) == [("pending", 1)]
    return lab


def take_by_file(lab: Any) -> None:
    (lab.folders["uploads"] / "图/1.jpg").write_text("新的")


def take_by_named_file(lab: Any) -> None:
    take_by_file(lab)
    lab.task("processing", days=None, image_path="图/1.jpg")


def take_by_folder(lab: Any) -> None:
    (lab.folders["uploads"] / "图/1.jpg").mkdir()


def take_by_link(lab: Any) -> None:
    (lab.folders["uploads"] / "图").rename(lab.home / "别处")
    (lab.folders["uploads"] / "图").symlink_to(lab.home / "别处")


def leave_both_names(lab: Any) -> None:
    (lab.folders["uploads"] / "图/1.jpg").hardlink_to(in_trash(lab)[0])


TAKEN = (take_by_file, take_by_named_file, take_by_folder, take_by_link, leave_both_names)


@pytest.mark.parametrize("take", TAKEN)
def test_what_took_the_place_of_a_moved_file_does_not_strand_it_in_the_trash(
    interrupted: Any, take: Callable[[Any], None]
) -> None:
    take(interrupted)
    told = interrupted.document("r2")
    assert (told["files_set_aside"], told["refused_paths"], told["error_count"]) == (1, {}, 0)
    assert states(interrupted) == [("trashed", 1)]
    assert [path.read_text() for path in in_trash(interrupted)] == ["原来"]
    assert (interrupted.folders["uploads"] / "图/1.jpg").exists() is (take not in {leave_both_names, take_by_link})
    interrupted.clock.advance(2 * DAY)
    assert interrupted.document("r3")["files_cleaned"] == 1
    assert (in_trash(interrupted), interrupted.outbox()) == ([], [])
    if take in {take_by_file, take_by_named_file}:
        assert (interrupted.folders["uploads"] / "图/1.jpg").read_text() == "新的"


def test_undo_brings_back_files_that_a_killed_run_had_moved(interrupted: Any) -> None:
    done = undo(interrupted.place(), "r1", undo_id="u1")
    assert dict(done.files) == {"restored": 1}
    assert interrupted.on_disk() == interrupted.named_by_rows() == {("uploads", "图/1.jpg")}
    assert interrupted.outbox() == []


def test_undo_leaves_files_to_the_outbox_that_a_killed_run_had_not_moved(lab: Any) -> None:
    lab.with_settings(keep_deleted=DAY)
    lab.clock.advance(lab.now - lab.clock.now())
    task = lab.task(image_path=lab.file("uploads", "图/1.jpg"))
    with pytest.raises(Stopped):
        lab.run(checkpoint=at("batch committed", kill))
    assert (lab.tasks(), states(lab)) == (set(), [("pending", 1)])
    assert dict(undo(lab.place(), "r1", undo_id="u1").files) == {}
    lab.set_task(task, status="processing")
    assert lab.document("r2")["files_kept_referenced"] == 1
    assert (lab.on_disk(), lab.outbox()) == ({("uploads", "图/1.jpg")}, [])


@pytest.mark.parametrize("kind", ["link", "file"])
def test_files_wait_where_something_else_bears_the_name_of_the_trash(lab: Any, kind: str) -> None:
    lab.with_settings(keep_deleted=DAY)
    lab.clock.advance(lab.now - lab.clock.now())
    lab.task(image_path=lab.file("uploads", "甲.jpg"))
    trash = lab.folders["uploads"] / TRASH
    trash.symlink_to(lab.home) if kind == "link" else trash.touch()
    told = lab.document()
    assert (told["state"], told["refused_paths"], told["pending_files"]) == ("partial", {}, 1)
    assert [row.reason for row in lab.outbox()] == ["trash_unsafe"]
    trash.unlink()
    lab.clock.advance(timedelta(minutes=1))
    assert lab.document("r2")["files_set_aside"] == 1


# --- runs that are stopped


def test_a_halt_ends_the_work_on_files_of_rows_after_one_outbox_row(lab: Any) -> None:
    lab.with_settings(batch_size=1)
    for number in range(3):
        lab.task(days=40 + number, image_path=lab.file("uploads", f"{number}.jpg"))
    counted: list[str] = []

    def note(point: str) -> None:
        counted.append(point)

    result = lab.run(checkpoint=note, halted=lambda: "暂停" if "files counted" in counted else None)
    told = result.document
    assert (result.state, told["files_cleaned"], told["pending_files"]) == ("partial", 1, 2)
    assert told["errors"] == ["暂停"]
    assert lab.document("r2")["files_cleaned"] == 2


def test_a_halt_ends_the_folder_rules_of_all_roots_and_is_told(lab: Any) -> None:
    lab.aged("temp", "旧.tmp", days=3)
    lab.aged("logs", "旧.log", days=40)
    removed: list[str] = []

    def note(point: str) -> None:
        removed.extend([point] if "removed: " in point else [])

    result = lab.run(checkpoint=note, halted=lambda: "暂停" if removed else None)
    assert (result.state, result.document["errors"], len(removed)) == ("partial", ["暂停"], 1)
    assert lab.document("r2")["state"] == "done"
    assert lab.on_disk() == set()


def test_folder_rules_stop_once_the_lock_of_the_clean_up_is_lost(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if lab.database.dialect == "sqlite":
        pytest.skip("the lock is a file's")
    monkeypatch.setattr("app.retention.sweep._TOGETHER", 1)
    for number in range(3):
        lab.aged("temp", f"{number}.tmp", days=3)
    ends = text(
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = "
        "(SELECT oid FROM pg_database WHERE datname = current_database())"
    )

    def cut() -> None:
        with lab.database.write() as connection:
            connection.execute(ends)

    result = lab.run(checkpoint=at("old files removed", cut))
    assert result.state == "failed"
    assert len(lab.on_disk()) == 2
    assert lab.document("r2")["temp_files_cleaned"] == 3


@pytest.mark.parametrize(("seconds", "held"), [(50, False), (70, True)])
def test_a_clock_that_is_ahead_of_the_databases_makes_no_file_old(
    lab: Any,
    seconds: int,
    held: bool,  # noqa: FBT001 - a case
) -> None:
    lab.with_settings(guards=structs.replace(GuardSettings(), clock_s=60))
    lab.clock.advance(lab.now - lab.clock.now() + timedelta(seconds=seconds))
    lab.aged("temp", "旧.tmp", days=3)
    told = lab.document()
    assert (told["state"] == "held", len(lab.on_disk()) == 1) == (held, held)
    assert any("clocks" in error for error in told["errors"]) is held


# --- what keeps a file


def shared_file(shop: Shop) -> None:
    """A job that goes, and a task of the default tables, for which no rule is on, name one file."""
    shop.rules(old={"files": {"file": "uploads"}})
    shop.job(1, file=shop.lab.file("uploads", "甲.jpg"))
    shop.lab.task("processing", days=None, image_path="甲.jpg")


def test_a_default_table_that_lacks_a_column_keeps_files_by_the_others(shop: Shop) -> None:
    shared_file(shop)
    with shop.lab.database.write() as connection:
        connection.execute(text(f"ALTER TABLE {schema.tasks.name} DROP COLUMN screenshot_path"))
    told = shop.lab.document()
    assert (told["rules"][0]["rows"], told["files_kept_referenced"]) == (1, 1)
    assert shop.lab.on_disk() == {("uploads", "甲.jpg")}


def test_files_of_a_default_table_that_is_not_there_go_by_the_rules_that_are(shop: Shop) -> None:
    shared_file(shop)
    with shop.lab.database.write() as connection:
        for table in (schema.delivery_receipts, schema.tasks):
            connection.execute(text(f"DROP TABLE {table.name}"))
    told = shop.lab.document()
    assert (told["files_cleaned"], told["errors"]) == (1, [])


# --- rules that are off


@pytest.fixture
def exports(shop: Shop) -> Shop:
    """Jobs with a root of their own, one of them deleted, its file in the trash for a day."""
    lab = shop.lab
    lab.folders["exports"] = lab.home / "exports"
    init_roots(lab.database, lab.folders, lab.clock, ["exports"])
    lab.clock.advance(lab.now - lab.clock.now())
    lab.with_settings(keep_deleted=DAY, roots=lab.settings.roots | {"exports": RootSettings(path=Path("exports"))})
    shop.rules(old={"files": {"file": "exports"}})
    shop.job(1, file=lab.file("exports", "甲.csv"))
    assert lab.document()["files_set_aside"] == 1
    lab.clock.advance(2 * DAY)
    return shop


def test_files_that_a_rule_left_behind_go_in_time_also_when_it_is_off(exports: Shop) -> None:
    exports.rules(old={"files": {"file": "exports"}, "enabled": False})
    told = exports.lab.document("r2")
    assert (told["files_cleaned"], told["errors"]) == (1, [])
    assert (in_trash(exports.lab), exports.lab.outbox()) == ([], [])


@pytest.mark.parametrize("without_root", [False, True])
def test_files_wait_and_are_told_where_nothing_says_any_more_which_are_in_use(
    exports: Shop,
    without_root: bool,  # noqa: FBT001 - a case
) -> None:
    exports.rules()
    if without_root:
        del exports.lab.folders["exports"]
    result = exports.lab.run("r2")
    assert result.state == "partial"
    assert "write the root and its rule back" in result.document["errors"][0]
    assert len(list((exports.lab.home / "exports" / TRASH).iterdir())) == 1


def test_stuck_files_of_a_rule_that_is_off_trouble_no_run(lab: Any) -> None:
    values = {"run_id": "r0", "rule": "没有了", "created_at": lab.now, "next_at": lab.now, "attempts": 5}
    file = '[{"root": "nowhere", "path": "a"}]'
    with lab.database.write() as connection:
        connection.execute(insert(file_outbox).values(**values, files=file, file_count=1, state="stuck"))
    assert (lab.run().state, lab.document("r2")["stuck_files"]) == ("done", 1)
