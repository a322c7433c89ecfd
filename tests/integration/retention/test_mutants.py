"""Faults put into the program on purpose, each of which a scenario must notice (promise P24).

A fault is a small change of a method's own source; where that source no longer says what is to be changed, the test
fails, so that no fault becomes one that can't be noticed because it isn't there.
"""

import inspect
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from retention_kills import Stopped, stop
from retention_shop import Shop

from app.core.safe_files import MARKER, Root
from app.core.safe_files.neighbours import Neighbours
from app.core.safe_files.read_only_root import ReadOnlyRoot
from app.retention.batch import RowsStayed
from app.retention.batches_postgresql import PostgresBatches
from app.retention.batches_sqlite import SqliteBatches
from app.retention.deletion import Deletion
from app.retention.expiry import passes
from app.retention.left_behind import LeftBehind
from app.retention.outbox import FileEngine
from app.retention.row_rules import RowRules
from app.retention.rule_settings import GuardSettings
from app.retention.rules import row_rules
from app.retention.verdict_on_files import Verdict


@dataclass(frozen=True, kw_only=True)
class Change:
    """One line of a method that says something else."""

    owner: type
    method: str
    old: str
    new: str

    def apply(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put the changed method in place of the real one."""
        real = getattr(self.owner, self.method)
        source = textwrap.dedent(inspect.getsource(real))
        assert source.count(self.old) == 1, f"{self.owner.__name__}.{self.method} no longer says {self.old!r}"
        names = vars(sys.modules[self.owner.__module__])
        made: dict[str, Any] = {}
        exec(compile(source.replace(self.old, self.new), "<mutant>", "exec"), names, made)  # noqa: S102 - our own code
        monkeypatch.setattr(self.owner, self.method, made[self.method])


def stopped_before_the_commit_a_row_keeps_its_file(lab: Any, _patch: pytest.MonkeyPatch) -> None:
    lab.task(image_path=lab.file("uploads", "图.jpg"))
    with pytest.raises(Stopped):
        lab.run(checkpoint=lambda point: stop() if point == "files written down" else None)
    assert lab.named_by_rows() == lab.on_disk() == {("uploads", "图.jpg")}


def stopped_after_the_commit_the_next_run_removes_the_file(lab: Any, _patch: pytest.MonkeyPatch) -> None:
    lab.task(image_path=lab.file("uploads", "图.jpg"))
    with pytest.raises(Stopped):
        lab.run(checkpoint=lambda point: stop() if point == "batch committed" else None)
    assert lab.tasks() == set()
    lab.run("next")
    assert lab.on_disk() == set()


def a_file_that_a_living_row_names_stays(lab: Any, _patch: pytest.MonkeyPatch) -> None:
    lab.task(image_path=lab.file("uploads", "共享.jpg"))
    lab.task(days=1, image_path="共享.jpg")
    lab.run()
    assert lab.on_disk() == {("uploads", "共享.jpg")}


def what_is_told_is_what_is_gone(lab: Any, _patch: pytest.MonkeyPatch) -> None:
    lab.task(image_path=lab.file("uploads", "a.jpg"), document_path=lab.file("documents", "b.pdf"))
    assert lab.document()["files_cleaned"] == 2
    assert lab.document("r2")["files_cleaned"] == 0


def however_often_it_is_stopped_a_moved_file_is_told_once(lab: Any, _patch: pytest.MonkeyPatch) -> None:
    lab.with_settings(keep_deleted=timedelta(days=1))
    lab.task(image_path=lab.file("uploads", "a.jpg"))
    for number, last in enumerate(("file removed", "files removed", "files removed")):
        with pytest.raises(Stopped):
            lab.run(f"stopped{number}", checkpoint=lambda point, last=last: stop() if point == last else None)
    assert lab.document("next")["files_set_aside"] == 1


def a_row_that_changed_before_the_delete_stays(lab: Any, _patch: pytest.MonkeyPatch) -> None:
    shop = Shop(lab=lab)
    shop.rules(old={})
    shop.job(1)
    place, database = lab.place(), lab.database
    (rule,) = row_rules(place.source, place.settings, place.folders)
    kind = SqliteBatches if database.dialect == "sqlite" else PostgresBatches
    batches = kind(passes(rule, shop.now - rule.keep)[0], None)
    with database.maintain() as connection:
        doomed = batches.lock(connection, None, 10)
    assert doomed is not None
    shop.change(1, state="进行中")
    try:
        with database.maintain() as connection:
            batches.delete(connection, doomed, lambda _: None)
    except RowsStayed:
        pass
    assert shop.jobs() == {1}


def a_folder_swapped_for_a_link_leads_nowhere(lab: Any, patch: pytest.MonkeyPatch) -> None:
    outside = lab.home / "outside"
    outside.mkdir()
    canary = outside / "a.jpg"
    canary.write_text("无价")
    lab.task(image_path=lab.file("uploads", "图/a.jpg"))
    lab.run(checkpoint=_swapping(lab.folders["uploads"] / "图", outside, patch))
    assert (lab.folders["uploads"] / "图").is_symlink()
    assert canary.exists()


def another_volume_in_place_of_the_root_holds_its_rows(lab: Any, _patch: pytest.MonkeyPatch) -> None:
    task = lab.task(image_path=lab.file("uploads", "a.jpg"))
    marker = lab.folders["uploads"] / MARKER
    marker.unlink()
    marker.write_text("0" * 32 + "\n")
    lab.run()
    assert (lab.tasks(), lab.on_disk()) == ({task}, {("uploads", "a.jpg")})


def more_than_the_share_of_a_table_stays(lab: Any, _patch: pytest.MonkeyPatch) -> None:
    lab.with_settings(guards=structs.replace(GuardSettings(), rows=2, whole_table=2, clock_s=10**9))
    tasks = {*(lab.task() for _ in range(4)), lab.task(days=1)}
    assert lab.run().state == "held"
    assert lab.tasks() == tasks


def _swapping(folder: Path, outside: Path, patch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """The folder changes places with a link when it has been opened for the removal and its file is about to go."""
    real = Neighbours.parent

    def parent(self: Neighbours, relative: bytes) -> tuple[int, bytes]:
        found = real(self, relative)
        if not folder.is_symlink():
            folder.rename(folder.with_name("moved"))
            folder.symlink_to(outside)
        return found

    def checkpoint(step: str) -> None:
        if step == "files condemned":
            patch.setattr(Neighbours, "parent", parent)

    return checkpoint


Scenario = Callable[[Any, pytest.MonkeyPatch], None]
_IN_DELETE = {
    SqliteBatches: ("__init__", ", condition=expired_in(expiry, _DIALECT)"),
    PostgresBatches: ("_deletion", ", *_still_expired(self._expiry)"),
}
MUTANTS: dict[str, tuple[Scenario, list[Change]]] = {
    "early unlink": (
        stopped_before_the_commit_a_row_keeps_its_file,
        [
            Change(
                owner=LeftBehind,
                method="_noted",
                old="            return None\n",
                new="            self.roots.ready[root].remove(path.encode(), None)\n            return None\n",
            )
        ],
    ),
    "no outbox row": (
        stopped_after_the_commit_the_next_run_removes_the_file,
        [Change(owner=Deletion, method="_write_down", old="if not files:", new="if True:")],
    ),
    "no reference check": (
        a_file_that_a_living_row_names_stays,
        [Change(owner=Verdict, method="_one", old="file.key in self.kept", new="False")],
    ),
    "count twice": (
        what_is_told_is_what_is_gone,
        [
            Change(
                owner=FileEngine,
                method="_work_off",
                old="verdict.judge(row.files, added)",
                new="verdict.judge(row.files, added); added['files'] += len(verdict.condemned)",
            )
        ],
    ),
    "count moves early": (
        however_often_it_is_stopped_a_moved_file_is_told_once,
        [Change(owner=Verdict, method="_stands_in_trash", old="self.moved_before.update", new="counts.update")],
    ),
    "no condition in the DELETE": (
        a_row_that_changed_before_the_delete_stays,
        [Change(owner=owner, method=method, old=old, new="") for owner, (method, old) in _IN_DELETE.items()],
    ),
    "unlink by path": (
        a_folder_swapped_for_a_link_leads_nowhere,
        [
            Change(
                owner=Root,
                method="remove_each",
                old="os.unlink(leaf, dir_fd=folder)",
                new="os.unlink(os.fsencode(self.path) + b'/' + relative)",
            )
        ],
    ),
    "no marker check": (
        another_volume_in_place_of_the_root_holds_its_rows,
        [Change(owner=ReadOnlyRoot, method="_checked_marker", old="found[0] != expected_id", new="False")],
    ),
    "no guard": (
        more_than_the_share_of_a_table_stays,
        [Change(owner=RowRules, method="_take", old="in verdict.reasons", new="in ()")],
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_fault_does_not_go_unnoticed(lab: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    scenario, changes = MUTANTS[name]
    with monkeypatch.context() as patch, pytest.raises(AssertionError):
        for change in changes:
            change.apply(patch)
        scenario(lab, patch)


@pytest.mark.parametrize("scenario", [scenario for scenario, _ in MUTANTS.values()])
def test_without_a_fault_the_scenario_passes(lab: Any, monkeypatch: pytest.MonkeyPatch, scenario: Scenario) -> None:
    with monkeypatch.context() as patch:
        scenario(lab, patch)
