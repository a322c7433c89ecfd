"""What counts as an orphan on both databases, what never does, and the way to the quarantine and back."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import insert, text

from app.cli import gengfu
from app.cli._orphans import orphans as command
from app.core.clock import ManualClock
from app.core.errors import BadArgument, ExitCode, Locked
from app.core.own_tables import file_outbox
from app.core.safe_files import MARKER
from app.retention import orphans
from app.retention.lock import single_flight
from app.retention.orphans import find_orphans, quarantine_orphans, restore_orphans
from app.retention.outbox_entry import OutboxFile, packed
from app.retention.settings import RootSettings


@pytest.fixture
def clock() -> ManualClock:
    """Two days ahead of the files that a test writes: they are no longer young."""
    return ManualClock(datetime.now(UTC).replace(microsecond=0) + timedelta(days=2))


def found(lab: Any, root: str = "uploads", **how: Any) -> Any:
    search = find_orphans(lab.place(), run_id="look", **how)
    return next(one for one in search.roots if one.root == root)


def moved(lab: Any, run_id: str = "q1", *, share: float = 1.0, **how: Any) -> Any:
    return quarantine_orphans(lab.place(), run_id=run_id, share=share, **how)


def test_a_file_that_no_row_names_is_an_orphan_and_looking_changes_nothing(lab: Any) -> None:
    lab.task(image_path=lab.file("uploads", "图/有主.jpg"))
    lab.file("uploads", "图/孤儿.jpg")
    size = (lab.folders["uploads"] / "图" / "孤儿.jpg").stat().st_blocks * 512
    before = lab.on_disk()
    told = found(lab)
    assert (told.files, told.orphans, told.bytes, told.examples) == (2, 1, size, ["图/孤儿.jpg"])
    assert told.kept == {"named": 1}
    assert (lab.on_disk(), lab.outbox()) == (before, [])


@pytest.mark.parametrize(("age", "is_orphan"), [(timedelta(hours=24, seconds=2), True), (timedelta(hours=23), False)])
def test_a_file_is_left_alone_for_a_day(lab: Any, *, age: timedelta, is_orphan: bool) -> None:
    lab.file("uploads", "new.jpg")
    lab.clock.advance(datetime.now(UTC) + age - lab.clock.now())
    told = found(lab)
    assert (told.orphans, told.kept) == ((1, {}) if is_orphan else (0, {"young": 1}))


@pytest.mark.parametrize("spelling", ["/app/uploads/a/b.jpg", "./a//b.jpg", "a/c/../b.jpg", "FULL/a/b.jpg", "a/b.jpg/"])
def test_any_spelling_of_a_row_keeps_a_file(lab: Any, spelling: str) -> None:
    roots = {**lab.settings.roots, "uploads": RootSettings(path=lab.folders["uploads"], aliases=["/app/uploads"])}
    lab.with_settings(roots=roots)
    lab.file("uploads", "a/b.jpg")
    lab.task("processing", days=None, image_path=spelling.replace("FULL", str(lab.folders["uploads"])))
    assert found(lab).orphans == 0


def test_a_path_stored_as_a_blob_keeps_a_file_on_sqlite(lab: Any) -> None:
    if lab.database.dialect != "sqlite":
        pytest.skip("PostgreSQL stores no blob in a text column")
    lab.task("processing", days=None, image_path=lab.file("uploads", "图/a.jpg"))
    with lab.database.write() as connection:
        connection.execute(text("UPDATE tasks SET image_path = CAST(image_path AS BLOB)"))
    assert found(lab).kept == {"named": 1}


def test_every_column_and_table_of_a_root_keeps_its_files(lab: Any) -> None:
    lab.task(document_path=lab.file("documents", "a.pdf"))
    lab.receipt(None, delivery_receipt_doc_path=lab.file("documents", "b.pdf"))
    lab.file("documents", "c.pdf")
    lab.task(image_path="c.pdf")  # the same path below another root
    told = found(lab, "documents")
    assert (told.orphans, told.examples, told.kept) == (1, ["c.pdf"], {"named": 2})


def test_files_of_the_outbox_are_no_orphans_whatever_their_state(lab: Any) -> None:
    for state in ("pending", "stuck"):
        path = lab.file("uploads", f"{state}.jpg")
        with lab.database.write() as connection:
            files = packed([OutboxFile(root="uploads", path=path)])
            row = {"run_id": "r", "files": files, "file_count": 1, "attempts": 0, "state": state}
            connection.execute(insert(file_outbox).values(**row, created_at=lab.now, next_at=lab.now))
    assert found(lab).kept == {"named": 2}


def test_names_that_no_row_can_have_and_files_in_use_are_no_orphans(lab: Any) -> None:
    uploads = lab.folders["uploads"]
    (uploads / os.fsdecode(b"\xff.jpg")).touch()
    lab.file("uploads", "/".join("d" * 64) + "/deep")
    lab.file("uploads", "two").encode()
    (uploads / "names").hardlink_to(uploads / "two")
    lab.file("uploads", "打开")
    with (uploads / "打开").open("rb"):
        told = found(lab)
    assert (told.orphans, told.files) == (0, 5)
    assert told.kept == {"not_utf8": 1, "too_deep": 1, "hard_link": 2, "in_use": 1}


def test_many_files_are_asked_in_few_statements(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphans, "_ASKED_TOGETHER", 20)
    for number in range(50):
        lab.file("uploads", f"{number}.jpg")
        if number % 2:
            lab.task(image_path=f"{number}.jpg")
    asked = []
    real = orphans.claimed

    def counting(*told: Any) -> set[str]:
        asked.append(len(told[3]))
        return real(*told)

    monkeypatch.setattr(orphans, "claimed", counting)
    assert found(lab).orphans == 25
    assert asked == [20, 20, 10]


def test_the_quarantine_takes_orphans_only_and_restores_them_to_the_byte(lab: Any) -> None:
    lab.task(image_path=lab.file("uploads", "有主.jpg"))
    lab.file("uploads", "深/孤儿.jpg", "孤".encode() * 1000)
    before = {path: path.read_bytes() for path in lab.folders["uploads"].rglob("*.jpg")}
    search = moved(lab)
    assert [(one.root, one.moved) for one in search.roots if one.moved] == [("uploads", 1)]
    assert visible(lab) == {"有主.jpg"}
    (row,) = lab.outbox()
    assert (row.run_id, row.rule, row.state) == ("q1", "orphans", "trashed")
    assert row.next_at == lab.clock.now() + timedelta(days=7)
    back = restore_orphans(lab.place(), "q1")
    assert (back.files, back.taken, back.missing, back.failed) == (1, 0, 0, 0)
    assert {path: path.read_bytes() for path in lab.folders["uploads"].rglob("*.jpg")} == before
    assert lab.outbox() == []


def visible(lab: Any) -> set[str]:
    """What the application sees below `uploads`."""
    return {path for root, path in lab.on_disk() if root == "uploads" and not path.startswith(".gengfu-trash")}


def test_what_is_in_quarantine_is_no_orphan_and_is_not_moved_again(lab: Any) -> None:
    lab.file("uploads", "a.jpg")
    moved(lab)
    assert found(lab).files == 0
    assert sum(one.moved for one in moved(lab, "q2").roots) == 0


def test_the_clean_up_after_seven_days_removes_what_is_in_quarantine_not_before(lab: Any) -> None:
    lab.file("uploads", "a.jpg")
    moved(lab)
    lab.clock.advance(timedelta(days=7, seconds=-1))
    lab.run("early")
    assert len(lab.outbox()) == 1
    lab.clock.advance(timedelta(seconds=1))
    lab.run("due")
    assert (lab.outbox(), {path for root, path in lab.on_disk() if root == "uploads"}) == ([], set())


def test_a_file_that_a_row_names_again_comes_back_instead_of_going(lab: Any) -> None:
    lab.file("uploads", "a.jpg")
    moved(lab)
    lab.task("processing", days=None, image_path="a.jpg")
    lab.clock.advance(timedelta(days=8))
    lab.run("due")
    assert visible(lab) == {"a.jpg"}


@pytest.mark.parametrize(("share", "is_held"), [(0.25, False), (0.24, True)])
def test_a_root_with_too_large_a_part_of_orphans_is_held(lab: Any, *, share: float, is_held: bool) -> None:
    for number in range(3):
        lab.task(image_path=lab.file("uploads", f"{number}.jpg"))
    lab.file("uploads", "orphan.jpg")
    lab.file("receipts", "r.png")  # a whole root of orphans
    search = {one.root: one for one in moved(lab, share=share).roots}
    assert (search["uploads"].why_held is not None, search["uploads"].moved) == (is_held, int(not is_held))
    assert "--share" in (search["receipts"].why_held or "")
    assert (lab.folders["receipts"] / "r.png").exists()


@pytest.mark.parametrize("value", ["/srv/old/a.jpg", "https://cdn.example/a.jpg"])
def test_rows_with_paths_that_no_alias_explains_hold_the_root(lab: Any, value: str) -> None:
    lab.file("uploads", "a.jpg")
    lab.task("processing", days=None, image_path=value)
    told = next(one for one in moved(lab).roots if one.root == "uploads")
    assert (told.moved, told.unexplained) == (0, 1)
    assert "[retention.roots.uploads]" in told.why_held
    assert sum(one.moved for one in moved(lab, "q2", despite_unexplained=True).roots) == 1


def test_a_column_that_is_not_there_holds_its_root(lab: Any) -> None:
    lab.file("uploads", "a.jpg")
    with lab.database.write() as connection:
        connection.execute(text("ALTER TABLE tasks RENAME COLUMN image_path TO picture"))
    told = next(one for one in moved(lab).roots if one.root == "uploads")
    assert (told.moved, told.orphans) == (0, 0)
    assert "image_path" in told.why_held


def test_a_root_without_its_mark_is_held_and_others_are_looked_at(lab: Any) -> None:
    lab.file("uploads", "a.jpg")
    lab.file("documents", "b.pdf")
    (lab.folders["uploads"] / MARKER).unlink()
    search = {one.root: one for one in moved(lab).roots}
    assert MARKER in (search["uploads"].why_held or "")
    assert (search["uploads"].moved, search["documents"].moved) == (0, 1)


def test_a_root_that_no_row_needs_and_a_share_that_is_none_are_refused(lab: Any) -> None:
    with pytest.raises(BadArgument, match="'temp'"):
        find_orphans(lab.place(), run_id="r", names=["temp"])
    with pytest.raises(BadArgument, match="share is 0"):
        moved(lab, share=0)


def test_while_a_clean_up_runs_nothing_is_moved(lab: Any) -> None:
    lab.file("uploads", "a.jpg")
    with single_flight(lab.place(), "night"), pytest.raises(Locked):
        moved(lab)
    assert found(lab).orphans == 1


def test_figures_of_a_killed_clean_up_survive_a_quarantine(lab: Any) -> None:
    lab.task(image_path=lab.file("uploads", "a.jpg"))
    lab.file("uploads", "orphan.jpg")

    class Killed(BaseException): ...

    def kill(point: str) -> None:
        if point == "files counted":
            raise Killed

    with pytest.raises(Killed):
        lab.run("killed", checkpoint=kill)
    assert sum(one.moved for one in moved(lab).roots) == 1
    assert lab.document("next")["tasks_cleaned"] == 1


def test_a_file_replaced_after_it_was_found_stays(lab: Any) -> None:
    path = Path(lab.folders["uploads"] / lab.file("uploads", "a.jpg"))

    def replace(point: str) -> None:
        if point == "files condemned":
            path.unlink()
            path.write_bytes("新的".encode())

    place = lab.place(checkpoint=replace)
    search = quarantine_orphans(place, run_id="q1", share=1)
    assert sum(one.moved for one in search.roots) == 0
    assert path.read_bytes() == "新的".encode()


def test_killed_at_any_step_of_a_quarantine_no_file_is_lost(lab: Any) -> None:
    class Killed(BaseException): ...

    for stop_at in range(1, 9):
        content = f"孤儿 {stop_at}".encode()
        lab.file("uploads", "a.jpg", content)
        seen = 0

        def kill(_point: str, stop_at: int = stop_at) -> None:
            nonlocal seen
            seen += 1
            if seen == stop_at:
                raise Killed

        place = lab.place(checkpoint=kill)
        try:
            quarantine_orphans(place, run_id=f"q{stop_at}", share=1)
        except Killed:
            lab.run(f"night{stop_at}")  # ends what the killed one began, and is no week later
        if lab.outbox():
            restore_orphans(lab.place(), f"q{stop_at}")
        assert (lab.folders["uploads"] / "a.jpg").read_bytes() == content, stop_at
        assert lab.outbox() == []
        if seen < stop_at:
            break
    assert seen < stop_at, "there are more steps than were tried"


def test_only_a_run_with_something_in_quarantine_can_be_restored(lab: Any) -> None:
    with pytest.raises(BadArgument, match="'nope'"):
        restore_orphans(lab.place(), "nope")
    lab.with_settings(keep_deleted=timedelta(days=1))
    lab.task(image_path=lab.file("uploads", "a.jpg"))
    lab.run("night")
    with pytest.raises(BadArgument, match="'night'"):  # its rows would not come back with it
        restore_orphans(lab.place(), "night")


def test_the_command_looks_moves_and_brings_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphans, "_YOUNGEST", timedelta(days=-1))  # the command has the host's clock
    runner = CliRunner()
    assert runner.invoke(gengfu, ["demo", "create", "--tasks", "20"]).exit_code == 0
    assert runner.invoke(gengfu, ["roots", "init"]).exit_code == 0
    path = tmp_path / "home" / "var" / "sample" / "uploads" / "孤儿.jpg"
    path.write_bytes(b"x" * 5000)
    looked = runner.invoke(command, ["--root", "uploads"])
    assert looked.exit_code == ExitCode.OK
    assert "  孤儿.jpg\n" in looked.output
    held = runner.invoke(command, ["--root", "uploads", "--quarantine", "--share", "0.001"])
    assert (held.exit_code, path.exists()) == (ExitCode.HELD, True)
    told = json.loads(runner.invoke(command, ["--quarantine", "--share", "1", "--json"]).output)
    assert {one["root"]: one["moved"] for one in told["roots"]}["uploads"] == 1
    assert not path.exists()
    back = runner.invoke(command, ["--restore", told["run_id"]])
    assert (back.exit_code, path.read_bytes()) == (ExitCode.OK, b"x" * 5000)
    again = runner.invoke(command, ["--restore", told["run_id"]])
    assert isinstance(again.exception, BadArgument)
    assert runner.invoke(command, ["--restore", "x", "--quarantine"]).exit_code == ExitCode.USAGE
