"""Roots on file systems where two spellings mean one file."""

from pathlib import Path
from typing import Any

import pytest

from app.core.safe_files import folds_names, spelling
from app.retention.roots import init_roots, list_roots


def why_held(lab: Any, name: str = "uploads") -> str | None:
    return next(root.why_held for root in list_roots(lab.database, lab.folders) if root.name == name)


@pytest.fixture
def ignoring_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that ignores case, which this machine need not have."""
    monkeypatch.setattr(spelling, "ignores_case", lambda _folder: True)


def test_on_an_exact_file_system_nothing_is_held_and_no_probe_stays(lab: Any) -> None:
    if folds_names(lab.folders["uploads"]):
        pytest.skip("this file system folds names")
    before = sorted(path.name for path in lab.folders["uploads"].iterdir())
    assert why_held(lab) is None
    assert not folds_names(lab.folders["uploads"])
    assert sorted(path.name for path in lab.folders["uploads"].iterdir()) == before == [".gengfu-root"]


@pytest.mark.usefixtures("ignoring_case")
def test_a_root_that_ignores_case_is_held_until_the_operator_vouches(lab: Any) -> None:
    lab.task(image_path=lab.file("uploads", "图A.jpg"))
    assert "--one-spelling" in (why_held(lab) or "")
    assert why_held(lab, "logs") is None
    told = lab.document()
    assert (told["state"], told["tasks_cleaned"]) == ("held", 0)
    assert init_roots(lab.database, lab.folders, lab.clock, ["uploads"])[0].why_held is not None
    init_roots(lab.database, lab.folders, lab.clock, one_spelling=True)
    assert why_held(lab) is None
    assert lab.document("r2")["files_cleaned"] == 1


@pytest.mark.usefixtures("ignoring_case")
def test_the_operators_word_outlives_marking_again_but_not_another_volume(lab: Any) -> None:
    init_roots(lab.database, lab.folders, lab.clock, one_spelling=True)
    assert init_roots(lab.database, lab.folders, lab.clock, ["uploads"])[0].why_held is None
    (lab.folders["uploads"] / ".gengfu-root").unlink()
    assert init_roots(lab.database, lab.folders, lab.clock, ["uploads"])[0].why_held is not None


def test_a_file_system_that_recomposes_letters_is_noticed_when_the_root_is_marked(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spelling, "_composes", lambda _folder: True)
    assert init_roots(lab.database, lab.folders, lab.clock, ["uploads"])[0].why_held is not None
    monkeypatch.undo()
    assert why_held(lab) is not None


def test_a_marker_in_capital_letters_of_another_file_is_no_sign(lab: Any) -> None:
    uploads: Path = lab.folders["uploads"]
    if folds_names(uploads):
        pytest.skip("this file system folds names")
    (uploads / ".GENGFU-ROOT").write_text("x")
    assert why_held(lab) is None
