"""What one batch finds out about the files it leaves behind."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import column

from app.core.errors import RootRefused
from app.core.safe_files import MARKER, Root, create_marker, open_root
from app.retention.left_behind import LeftBehind
from app.retention.roots import OpenRoots
from app.retention.stored_paths import FileColumn

PICTURES = FileColumn(column=column("image_path"), root="uploads", prefixes=("/app/uploads/",))


class Watched:
    """The root, and what it was asked."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self.asked: list[bytes] = []

    def inspect(self, relative: bytes) -> Any:
        self.asked.append(relative)
        return self._root.inspect(relative)

    def check_in_place(self) -> None:
        self._root.check_in_place()

    def inspect_each(self, relatives: Iterable[bytes]) -> Iterator[Any]:
        return self._root.inspect_each(self._noted(relatives))

    def _noted(self, relatives: Iterable[bytes]) -> Iterator[bytes]:
        for relative in relatives:
            self.asked.append(relative)
            yield relative


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "uploads"
    create_marker(path)
    return path


@pytest.fixture
def root(folder: Path) -> Iterator[Watched]:
    with open_root("uploads", folder) as opened:
        yield Watched(opened)


def left_by(root: Any, *paths: str | None) -> LeftBehind:
    left = LeftBehind(roots=OpenRoots(ready={"uploads": root}), counts=Counter())
    left.add(PICTURES, paths)
    return left


def put(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"1")


def test_each_existing_file_is_noted_once_with_its_identity(folder: Path, root: Watched) -> None:
    put(folder, "图/1.jpg", "top.jpg")
    left = left_by(root, "图/1.jpg", None, "/app/uploads/图/1.jpg", "top.jpg")
    assert [file.path for file in left.files] == ["图/1.jpg", "top.jpg"]
    assert left.files[0].inode == (folder / "图/1.jpg").stat().st_ino
    assert left.counts == Counter()


def test_below_a_folder_that_is_gone_the_system_is_asked_once(root: Watched) -> None:
    left = left_by(root, *(f"2026/01/{number}.jpg" for number in range(50)))
    assert left.counts == {"missing": 50}
    assert root.asked == [b"2026/01"]


def test_in_a_folder_that_is_there_every_file_is_looked_at(folder: Path, root: Watched) -> None:
    put(folder, "2026/01/b.jpg", "2026/01/d.jpg")
    left = left_by(root, "2026/01/a.jpg", "2026/01/b.jpg", "2026/01/c.jpg", "2026/01/d.jpg")
    assert [file.path for file in left.files] == ["2026/01/b.jpg", "2026/01/d.jpg"]
    assert left.counts == {"missing": 2}


def test_files_at_the_top_and_a_folder_of_a_like_name_are_looked_at_themselves(folder: Path, root: Watched) -> None:
    put(folder, "b.jpg", "2026x/b.jpg")
    left = left_by(root, "a.jpg", "b.jpg", "2026/b.jpg", "2026x/b.jpg")
    assert [file.path for file in left.files] == ["b.jpg", "2026x/b.jpg"]
    assert left.counts == {"missing": 2}


def test_a_hostile_path_below_a_folder_that_is_gone_is_refused_all_the_same(root: Watched) -> None:
    left = left_by(root, "gone/a.jpg", "gone/", f"gone/{MARKER}", "gone/" + "x" * 300, "gone/..", "gone/a\0.jpg")
    assert left.counts == {
        "missing": 1,
        "refused.not_canonical": 1,
        "refused.marker": 1,
        "refused.name_too_long": 1,
        "refused.parent_reference": 1,
        "refused.nul": 1,
    }


def test_below_a_link_or_a_file_each_path_is_refused_for_what_it_is(folder: Path, root: Watched) -> None:
    (folder / "way").symlink_to(folder / "nowhere", target_is_directory=True)
    put(folder, "plain")
    left = left_by(root, "way/a.jpg", "way/b.jpg", "plain/a.jpg", "plain/b.jpg")
    assert left.counts == {"refused.link": 2, "refused.enotdir": 2}


def test_the_next_batch_looks_again(folder: Path, root: Watched) -> None:
    assert left_by(root, "2026/a.jpg").counts == {"missing": 1}
    put(folder, "2026/a.jpg")
    assert [file.path for file in left_by(root, "2026/a.jpg").files] == ["2026/a.jpg"]


def test_a_root_that_lost_its_mark_calls_no_file_missing(folder: Path, root: Watched) -> None:
    (folder / MARKER).unlink()
    roots: OpenRoots[Any] = OpenRoots(ready={"uploads": root})
    left = LeftBehind(roots=roots, counts=Counter())
    with pytest.raises(RootRefused):
        left.add(PICTURES, ["2026/a.jpg"])
    assert left.counts == Counter()
    assert "lost its" in roots.held["uploads"]
