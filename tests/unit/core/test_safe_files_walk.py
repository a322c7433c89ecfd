"""Every file of a root in flat memory, and the files that somebody uses."""

import fcntl
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.errors import PathRefused
from app.core.safe_files import MARKER, Root, create_marker, kernel, open_files
from app.core.safe_files.busy import locked_in

pytestmark = pytest.mark.usefixtures("resolution")


def walked(root: Root) -> set[bytes]:
    return {entry.relative for entry in root.walk()}


def open_descriptors() -> int:
    return len(os.listdir("/dev/fd"))  # noqa: PTH208 - counting is enough


def test_every_regular_file_is_found_whatever_its_name(root: Root, place: Path) -> None:
    names = {b"a", b"d/b", "文件/收据.txt".encode(), b"d/e/\xff\xfe", b"d/new\nline", b"d/-rf", b"d/e/" + b"n" * 255}
    for name in names:
        path = place / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    assert walked(root) == names
    assert {entry.relative for entry in root.walk() if entry == root.inspect(entry.relative)} == names


def test_an_empty_root_yields_nothing_and_markers_are_skipped_at_every_level(root: Root, place: Path) -> None:
    create_marker(place / "inner")
    assert (place / "inner" / MARKER).exists()
    assert walked(root) == set()


def test_a_folder_with_a_mark_of_its_own_is_not_walked_and_is_told(root: Root, place: Path) -> None:
    """The same folder may be a root of rows' files, mounted here too."""
    create_marker(place / "别人的")
    for name in ("别人的/活的.jpg", "我们的/旧.tmp", "像/.gengfu-root/旧.tmp"):
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    refusals: list[PathRefused] = []
    found = {entry.relative.decode() for entry in root.walk(refusals.append)}
    assert found == {"我们的/旧.tmp", "像/.gengfu-root/旧.tmp"}
    assert [(refusal.reason, str(refusal).count("别人的")) for refusal in refusals] == [("other_root", 1)]


def test_links_and_special_files_are_neither_followed_nor_yielded(root: Root, place: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "canary").touch()
    (place / "file").symlink_to(tmp_path / "outside" / "canary")
    (place / "dir").symlink_to(tmp_path / "outside")
    (place / "up").symlink_to("..")
    os.mkfifo(place / "fifo")
    refusals: list[PathRefused] = []
    assert list(root.walk(refusals.append)) == []
    assert refusals == []


def test_a_file_with_two_names_is_yielded_twice_with_its_links(root: Root, place: Path) -> None:
    (place / "one").touch()
    (place / "two").hardlink_to(place / "one")
    assert {(entry.relative, entry.links) for entry in root.walk()} == {(b"one", 2), (b"two", 2)}


def test_only_files_older_than_the_cutoff_are_yielded_when_one_is_given(root: Root, place: Path) -> None:
    (place / "file").touch()
    newest = next(root.walk()).newest_ns
    assert [entry.relative for entry in root.walk(before_ns=newest + 1)] == [b"file"]
    assert list(root.walk(before_ns=newest)) == []


def test_removing_while_walking_reaches_every_file(root: Root, place: Path) -> None:
    for number in range(500):
        (place / f"d{number % 5}").mkdir(exist_ok=True)
        (place / f"d{number % 5}" / f"f{number}").touch()
    for entry in root.walk():
        assert root.remove(entry.relative, entry.identity) is not None
        root.remove_empty_parents(entry.relative)
    assert [path.name for path in place.iterdir()] == [MARKER]


def test_a_folder_that_cannot_be_read_is_reported_and_the_rest_is_walked(
    root: Root, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("good", "bad", "坏"):
        (place / folder).mkdir()
        (place / folder / "file").touch()
    inodes = {(place / "bad").stat().st_ino, (place / "坏").stat().st_ino}
    scandir = os.scandir

    def failing(descriptor: int) -> Iterator[os.DirEntry[str]]:
        if os.fstat(descriptor).st_ino in inodes:
            raise PermissionError(13, "Permission denied")
        return scandir(descriptor)

    monkeypatch.setattr(os, "scandir", failing)
    refusals: list[PathRefused] = []
    assert [entry.relative for entry in root.walk(refusals.append)] == [b"good/file"]
    assert sorted(str(refusal) for refusal in refusals) == ["eacces: bad", "eacces: 坏"]


def test_a_folder_swapped_for_a_link_after_it_was_listed_is_reported_not_followed(
    root: Root, place: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "canary").touch()
    (place / "first").touch()
    (place / "folder").mkdir()
    refusals: list[PathRefused] = []
    found = []
    for entry in root.walk(refusals.append):
        found.append(entry.relative)
        (place / "folder").rmdir()
        (place / "folder").symlink_to(tmp_path / "outside")
    assert found == [b"first"]
    # Listed before the swap it is refused, listed after it is a link like any other.
    assert {refusal.reason for refusal in refusals} <= {"link"}


def test_a_file_swapped_for_a_link_after_it_was_listed_is_passed_over(root: Root, place: Path, tmp_path: Path) -> None:
    (tmp_path / "canary").touch()
    names = {b"one", b"two"}
    for name in names:
        (place / os.fsdecode(name)).touch()
    found = []
    for entry in root.walk():
        found.append(entry.relative)
        for name in names - {entry.relative}:
            (place / os.fsdecode(name)).unlink()
            (place / os.fsdecode(name)).symlink_to(tmp_path / "canary")
    assert len(found) == 1


def test_a_walk_given_up_half_way_leaves_no_descriptor(root: Root, place: Path) -> None:
    for number in range(10):
        (place / f"f{number}").touch()
    before = open_descriptors()
    walking = root.walk()
    next(walking)
    walking.close()  # type: ignore[attr-defined] # it is a generator
    assert open_descriptors() == before


def make_deep(place: Path, depth: int) -> None:
    folder = os.open(place, os.O_RDONLY)
    for _ in range(depth):
        os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
        os.mkdir("d", dir_fd=folder)
        below = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(folder)


def unmake_deep(place: Path) -> None:
    """Flatten the chain of folders: what clears pytest's folder later would recurse into it and fail."""
    while (place / "d").exists():
        if (place / "d" / "d").exists():
            (place / "d" / "d").rename(place / "next")
        (place / "d" / "f").unlink(missing_ok=True)
        (place / "d").rmdir()
        if (place / "next").exists():
            (place / "next").rename(place / "d")


def test_a_very_deep_tree_is_walked_with_few_descriptors(root: Root, place: Path) -> None:
    # The portable resolution opens every folder from the top again: correct, but slow in such a tree.
    depth = 3000 if kernel.has_openat2() else 300
    make_deep(place, depth)
    try:
        before = open_descriptors()
        most = count = 0
        for _ in root.walk():
            most = max(most, open_descriptors())
            count += 1
        assert count == depth
        assert most - before < 10
        with pytest.raises(PathRefused, match="too_deep"):
            root.remove(b"d/" * 64 + b"f", None)
    finally:
        unmake_deep(place)


def test_a_folder_of_20000_entries_is_walked_in_flat_memory(root: Root, place: Path) -> None:
    folder = os.open(place, os.O_RDONLY)
    for number in range(20_000):
        os.close(os.open(f"临时文件-{number}.tmp", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    os.close(folder)
    tracemalloc.start()
    try:
        assert sum(1 for _ in root.walk()) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 512 * 1024
    finally:
        tracemalloc.stop()


linux_only = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux tells who holds a file open")


@linux_only
def test_an_open_file_is_in_use_and_a_closed_one_is_not(root: Root, place: Path) -> None:
    (place / "closed").touch()
    with (place / "打开.tmp").open("w"):
        busy = open_files()
    assert root.in_use("打开.tmp".encode(), busy)
    assert not root.in_use(b"closed", busy)
    assert not root.in_use(b"missing", busy)
    assert not root.in_use("打开.tmp".encode(), open_files())


@linux_only
def test_one_look_serves_the_whole_session(root: Root, place: Path) -> None:
    with (place / "open").open("w"):
        assert root.in_use(b"open")
    assert root.in_use(b"open")


@linux_only
def test_a_locked_file_stands_in_the_systems_list(place: Path) -> None:
    with (place / "locked").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        inodes = {inode for _, inode in locked_in(Path("/proc/locks").read_text())}
        assert os.fstat(handle.fileno()).st_ino in inodes


def test_every_kind_of_line_of_the_lock_list_is_understood() -> None:
    lines = (
        "1: POSIX  ADVISORY  WRITE 3714 fe:00:1466425 0 EOF\n"
        "1: -> POSIX  ADVISORY  READ 99 fe:00:1466425 0 EOF\n"
        "2: FLOCK  ADVISORY  WRITE 1 00:2b:7 0 EOF\n"
        "3: OFDLCK ADVISORY  READ -1 103:02:9 128 128\n"
    )
    assert set(locked_in(lines)) == {
        (os.makedev(0xFE, 0), 1466425),
        (os.makedev(0, 0x2B), 7),
        (os.makedev(0x103, 2), 9),
    }


def test_without_proc_nothing_counts_as_in_use(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    def absent(*_args: object, **_options: object) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    with (place / "open").open("w"), monkeypatch.context() as patch:
        patch.setattr(os, "listdir", absent)
        patch.setattr(Path, "read_text", absent)
        assert open_files() == frozenset()
