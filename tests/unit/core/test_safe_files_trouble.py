"""Runs of many files of which some can't be touched, races against swapped folders, and moves into the trash."""

import errno
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from app.core.errors import PathRefused, RootRefused
from app.core.safe_files import MARKER, Identity, Root, kernel, moving
from app.core.safe_files.paths import TRASH

ERRNOS = ("eperm", "eacces", "erofs", "estale", "eio", "ebusy", "enametoolong")
RACE_S = float(os.environ.get("GENGFU_RACE_SECONDS", "1.5"))
"""How long a race lasts at most; longer by hand: GENGFU_RACE_SECONDS=60."""
NAMES = [b"new\nline", b"\xff\xfe.jpg", b"n" * 255, b"-rf", "收据 一.png".encode(), b"plain"]


pytestmark = pytest.mark.usefixtures("resolution")


def write(place: Path, relative: bytes, content: bytes = b"x") -> Path:
    path = place / os.fsdecode(relative)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def outcome(found: object) -> str:
    if isinstance(found, PathRefused):
        return found.reason
    return "gone" if found is None else "done"


def failing_for(call: Callable[..., Any], chosen: Callable[[bytes], bool], number: int) -> Callable[..., Any]:
    def failing(path: Any, *more: Any, **options: Any) -> Any:
        if isinstance(path, bytes) and chosen(path):
            raise OSError(number, os.strerror(number))
        return call(path, *more, **options)

    return failing


# --- some files misbehave, the rest goes


@pytest.mark.parametrize("name", ERRNOS)
@pytest.mark.parametrize("call", ["stat", "unlink"])
def test_whatever_the_system_answers_the_other_files_go_and_the_reason_is_told(
    root: Root, place: Path, monkeypatch: pytest.MonkeyPatch, name: str, call: str
) -> None:
    files = [write(place, b"2026/%d" % number) for number in range(9)]
    number = getattr(errno, name.upper())
    with monkeypatch.context() as broken:
        broken.setattr(os, call, failing_for(getattr(os, call), lambda path: path in {b"0", b"3", b"6"}, number))
        told = [outcome(found) for found in root.remove_each((b"2026/%d" % n, None) for n in range(9))]
    assert told == [name, "done", "done"] * 3
    assert [path.exists() for path in files] == [True, False, False] * 3


@pytest.mark.parametrize("name", ERRNOS)
def test_a_folder_that_cant_be_opened_holds_back_only_its_own_files(
    root: Root, place: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    number = getattr(errno, name.upper())
    for folder in (b"a", b"bad", b"c"):
        for leaf in (b"1", b"2"):
            write(place, folder + b"/" + leaf)
    genuine = root._folders.open

    def opening(relative: bytes, *, readable: bool = False) -> int:
        if relative == b"bad":
            raise OSError(number, os.strerror(number))
        return genuine(relative, readable=readable)

    monkeypatch.setattr(root._folders, "open", opening)
    paths = [folder + b"/" + leaf for folder in (b"a", b"bad", b"c") for leaf in (b"1", b"2")]
    told = [outcome(found) for found in root.remove_each((path, None) for path in paths)]
    assert told == ["done", "done", name, name, "done", "done"]


def test_of_a_thousand_files_a_third_misbehaves_and_the_rest_goes(root: Root, place: Path, tmp_path: Path) -> None:
    (tmp_path / "canary").write_text("alive")
    wanted: Counter[str] = Counter()
    files: list[tuple[bytes, Identity | None]] = []
    for number in range(1000):
        relative = b"%02d/%03d" % (number % 7, number)
        path = write(place, relative)
        kind = ("done", "done", "changed", "done", "done", "link", "done", "done", "hard_link")[number % 9]
        expected = Identity.of(path.stat())
        if kind == "changed":
            path.write_bytes(b"written again")
        elif kind == "link":
            path.unlink()
            path.symlink_to(tmp_path / "canary")
        elif kind == "hard_link":
            path.unlink()
            path.hardlink_to(tmp_path / "canary")
        wanted[kind] += 1
        files.append((relative, expected))
    assert Counter(map(outcome, root.remove_each(sorted(files, key=lambda file: file[0])))) == wanted
    assert wanted["done"] > 600
    assert (tmp_path / "canary").read_text() == "alive"


def test_a_really_immutable_file_stays_and_its_neighbours_go(root: Root, place: Path) -> None:
    stubborn = write(place, b"d/2")
    for leaf in (b"d/1", b"d/3"):
        write(place, leaf)
    if subprocess.run(["chattr", "+i", stubborn], check=False, capture_output=True).returncode:
        pytest.skip("nobody may make a file immutable here")
    try:
        told = [outcome(found) for found in root.remove_each((path, None) for path in (b"d/1", b"d/2", b"d/3"))]
        assert told == ["done", "eperm", "done"]
        moved = root.trash_each([(b"d/2", None, "r-1")])
        assert [outcome(found) for found in moved] == ["eperm"]
    finally:
        subprocess.run(["chattr", "-i", stubborn], check=True)
    assert stubborn.exists()


@pytest.mark.parametrize("name", NAMES)
def test_strange_names_are_looked_at_removed_moved_and_brought_back(root: Root, place: Path, name: bytes) -> None:
    path = write(place, b"d/" + name, b"content")
    assert [outcome(found) for found in root.trash_each([(b"d/" + name, None, "r-1")])] == ["done"]
    assert not path.exists()
    assert root.restore("r-1", b"d/" + name, None) is not None
    assert path.read_bytes() == b"content"
    assert [outcome(found) for found in root.remove_each([(b"d/" + name, None)])] == ["done"]
    assert [outcome(found) for found in root.inspect_each([b"d/" + name])] == ["gone"]


@pytest.mark.parametrize(
    "relative", [b"", b"/etc/passwd", b"d/..", b"d/.", b"d//x", b"d/", b"d/a\0b", b"d/" + b"n" * 256, b"../x", b"x://y"]
)
def test_hostile_neighbours_are_refused_like_single_files(root: Root, place: Path, relative: bytes) -> None:
    write(place, b"d/1")
    with pytest.raises(PathRefused) as single:
        root.inspect(relative)
    told = [outcome(found) for found in root.inspect_each([b"d/1", relative, b"d/1"])]
    assert told == ["done", single.value.reason, "done"]


def test_nothing_is_called_gone_once_the_marker_is_gone(root: Root, place: Path) -> None:
    write(place, b"d/1")
    found = root.remove_each([(b"d/1", None), (b"d/2", None), (b"d/3", None)])
    assert outcome(next(found)) == "done"
    (place / MARKER).unlink()
    with pytest.raises(RootRefused):
        next(found)


def test_the_folder_is_found_anew_for_every_64_files(root: Root, place: Path, tmp_path: Path) -> None:
    for number in range(200):
        write(place, b"d/%03d" % number)
    found = root.remove_each((b"d/%03d" % number, None) for number in range(200))
    assert outcome(next(found)) == "done"
    (place / "d").rename(tmp_path / "moved")
    told = Counter(map(outcome, found))
    assert told == {"done": 63, "gone": 136}
    assert len(list((tmp_path / "moved").iterdir())) == 136


def test_many_files_leave_no_descriptor_open(root: Root, place: Path) -> None:
    before = len(os.listdir("/dev/fd"))  # noqa: PTH208 - counting is enough
    for number in range(300):
        write(place, b"%d/%d" % (number % 5, number))
    for found in root.remove_each((b"%d/%d" % (number % 5, number), None) for number in range(300)):
        assert outcome(found) == "done"
    unfinished = root.inspect_each([b"0/1", b"0/2"])
    next(unfinished)
    del unfinished
    assert len(os.listdir("/dev/fd")) == before  # noqa: PTH208


# --- the trash


@pytest.fixture(params=["rename", "link"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of moving: one call, and link and unlink where the system has none."""
    if request.param == "link":

        def refusing(*_call: object) -> None:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

        monkeypatch.setattr(kernel, "rename_no_replace", refusing)
    return str(request.param)


@pytest.mark.usefixtures("way")
def test_a_move_never_overwrites_in_either_direction(root: Root, place: Path) -> None:
    write(place, b"a", b"first")
    assert [outcome(found) for found in root.trash_each([(b"a", None, "r-1")])] == ["done"]
    write(place, b"a", b"second")
    assert [outcome(found) for found in root.trash_each([(b"a", None, "r-1")])] == ["eexist"]
    with pytest.raises(PathRefused) as refusal:
        root.restore("r-1", b"a", None)
    assert refusal.value.reason == "taken"
    assert (place / "a").read_bytes() == b"second"
    assert (place / TRASH / "r-1").read_bytes() == b"first"


def test_a_file_with_both_names_after_a_kill_is_moved_to_the_end(root: Root, place: Path) -> None:
    write(place, b"a", b"only")
    assert [outcome(found) for found in root.trash_each([(b"a", None, "r-1")])] == ["done"]
    (place / "a").hardlink_to(place / TRASH / "r-1")
    assert [outcome(found) for found in root.trash_each([(b"a", None, "r-1")])] == ["done"]
    assert not (place / "a").exists()
    (place / "a").hardlink_to(place / TRASH / "r-1")
    assert root.restore("r-1", b"a", None) is not None
    assert (place / "a").read_bytes() == b"only"
    assert list((place / TRASH).iterdir()) == []


def test_another_file_that_slipped_in_between_look_and_move_is_put_back(
    root: Root, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(place, b"a", b"condemned")
    genuine = moving.move
    swapped: list[bytes] = []

    def swapping(source: int, name: bytes, target: int, new_name: bytes) -> None:
        if not swapped:
            swapped.append(name)
            write(place, b"fresh", b"innocent").replace(place / "a")
        genuine(source, name, target, new_name)

    monkeypatch.setattr("app.core.safe_files.trash.move", swapping)
    assert [outcome(found) for found in root.trash_each([(b"a", None, "r-1")])] == ["changed"]
    assert (place / "a").read_bytes() == b"innocent"
    assert list((place / TRASH).iterdir()) == []


@pytest.mark.parametrize("is_there", [True, False])
def test_a_file_is_not_called_gone_because_the_trash_is(
    root: Root,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_there: bool,  # noqa: FBT001 - a case
) -> None:
    write(place, b"a")

    def vanishing(*_call: object) -> None:
        if not is_there:
            (place / "a").unlink()
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    monkeypatch.setattr("app.core.safe_files.trash.move", vanishing)
    assert [outcome(found) for found in root.trash_each([(b"a", None, "r-1")])] == ["estale" if is_there else "gone"]


def test_a_file_changed_since_the_decision_is_neither_moved_nor_purged(root: Root, place: Path) -> None:
    path = write(place, b"a", b"old")
    expected = Identity.of(path.stat())
    path.write_bytes(b"written again")
    assert [outcome(found) for found in root.trash_each([(b"a", expected, "r-1")])] == ["changed"]
    assert [outcome(found) for found in root.trash_each([(b"a", None, "r-1")])] == ["done"]
    with pytest.raises(PathRefused, match="changed"):
        root.purge("r-1", expected)
    assert root.purge("r-1", None) is not None
    assert root.purge("r-1", None) is None


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\0", "x" * 201])
def test_only_names_of_our_own_are_taken_for_the_trash(root: Root, name: str) -> None:
    with pytest.raises(ValueError, match="no name for the trash"):
        checked(name)
    assert root.purge("never-there", None) is None


def checked(name: str) -> bytes:
    from app.core.safe_files.trash import checked_name

    return checked_name(name)


# --- races


SWAPPER = """
import os, sys
os.chdir(sys.argv[1])
print("ready", flush=True)
while True:
    for old, new in (("real", "parked"), ("trap", "real"), ("real", "trap"), ("parked", "real")):
        os.rename(old, new)
"""


@pytest.fixture
def arena(place: Path, tmp_path: Path) -> Iterator[Path]:
    """A folder whose name is now its own, now that of a link to a folder of canaries."""
    (tmp_path / "outside").mkdir()
    (place / "real").mkdir()
    (place / "trap").symlink_to(tmp_path / "outside")
    for name in raced():
        (tmp_path / "outside" / os.fsdecode(name)).write_text("alive")
    # In a process of its own: a thread would wait for the interpreter's lock where it should race.
    with subprocess.Popen([sys.executable, "-c", SWAPPER, place], stdout=subprocess.PIPE) as swapper:
        assert swapper.stdout is not None
        swapper.stdout.readline()
        try:
            yield tmp_path / "outside"
        finally:
            swapper.kill()


def raced() -> list[bytes]:
    return [b"f%02d" % number for number in range(50)]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["remove", "trash"])
def test_no_canary_dies_in_thousands_of_raced_removals(root: Root, place: Path, arena: Path, how: str) -> None:
    folder = opened_between_swaps(place / "real")
    counts: Counter[str] = Counter()
    began = time.monotonic()
    number = 0
    try:
        while time.monotonic() < began + RACE_S or (not enough(counts) and time.monotonic() < began + 40 * RACE_S):
            for name in raced():
                os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=folder))
            if how == "remove":
                found = root.remove_each((b"real/" + name, None) for name in raced())
            else:
                number += 1
                found = root.trash_each((b"real/" + name, None, f"r{number}-{name.decode()}") for name in raced())
            counts.update(map(outcome, found))
    finally:
        os.close(folder)
    assert sorted(path.name for path in arena.iterdir()) == [os.fsdecode(name) for name in raced()]
    assert enough(counts), counts
    assert counts.keys() <= {"done", "link", "gone", "enotdir", "changed"}


def opened_between_swaps(path: Path) -> int:
    while True:
        with suppress(OSError):  # at this moment the swapper has a link there, or nothing
            return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def enough(counts: Counter[str]) -> bool:
    """Four such races make the twenty thousand and more attempts; many of them must have met the swapped folder."""
    return counts.total() >= 6000 and counts["link"] >= 100


@pytest.mark.slow
def test_the_same_race_does_betray_a_check_of_the_resolved_path(place: Path, arena: Path) -> None:
    until = time.monotonic() + 40 * RACE_S
    lost = 0
    while time.monotonic() < until and not lost:
        for name in raced():
            path = place / "real" / os.fsdecode(name)
            with suppress(OSError):  # the swapper was quicker than the look itself
                if path.resolve().is_relative_to(place):
                    path.unlink()
        lost = len(raced()) - len(list(arena.iterdir()))
    assert lost > 0
