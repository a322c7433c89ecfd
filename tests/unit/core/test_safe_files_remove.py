"""Looking at and removing single files, with both ways of resolving a path, against every trick we know."""

import errno
import os
import socket
import stat
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.core.errors import PathRefused, RootRefused
from app.core.safe_files import MARKER, Root, create_marker, open_root

IMAGE = "2026/08/图片.png".encode()


pytestmark = pytest.mark.usefixtures("resolution")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The root's folder; canaries stand beside it."""
    place = tmp_path / "root"
    create_marker(place)
    write(place, IMAGE)
    (tmp_path / "outside").mkdir()
    for name in ("canary", "图片.png"):
        (tmp_path / "outside" / name).write_text("alive")
    return place


def write(place: Path, relative: bytes, content: bytes = b"x" * 5000) -> Path:
    path = place / os.fsdecode(relative)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def refusal_of(action: Callable[[], Any]) -> str:
    with pytest.raises(PathRefused) as refusal:
        action()
    return refusal.value.reason


def assert_refused(root: Root, relative: bytes, reason: str) -> None:
    assert refusal_of(lambda: root.inspect(relative)) == reason
    assert refusal_of(lambda: root.remove(relative, None)) == reason


def open_descriptors() -> int:
    return len(os.listdir("/dev/fd"))  # noqa: PTH208 - counting is enough


# --- what is ordinary


def test_inspect_tells_identity_age_and_size(root: Root, place: Path) -> None:
    path = place / os.fsdecode(IMAGE)
    os.utime(path, ns=(5, 7))
    status = path.stat()
    entry = root.inspect(IMAGE)
    assert entry is not None
    assert (entry.relative, entry.links, entry.blocks_bytes) == (IMAGE, 1, status.st_blocks * 512)
    assert (entry.identity.inode, entry.identity.size, entry.identity.mtime_ns) == (status.st_ino, 5000, 7)
    assert entry.newest_ns == status.st_ctime_ns
    assert entry.key == (status.st_dev, status.st_ino)


def test_a_future_time_stamp_counts_as_the_newest(root: Root, place: Path) -> None:
    os.utime(place / os.fsdecode(IMAGE), ns=(2**62, 7))
    entry = root.inspect(IMAGE)
    assert entry is not None
    assert entry.newest_ns == 2**62


def test_remove_frees_what_the_file_occupied_and_nothing_else_goes(root: Root, place: Path) -> None:
    neighbour = write(place, b"2026/08/other.png")
    entry = root.inspect(IMAGE)
    assert entry is not None
    assert root.remove(IMAGE, entry.identity) == entry.blocks_bytes
    assert not (place / os.fsdecode(IMAGE)).exists()
    assert neighbour.exists()
    assert (place / MARKER).exists()


def test_a_sparse_file_frees_its_blocks_not_its_length(root: Root, place: Path) -> None:
    path = write(place, b"sparse", b"x")
    os.truncate(path, 50_000_000)
    freed = root.remove(b"sparse", None)
    assert freed is not None
    assert freed < 1_000_000


@pytest.mark.parametrize("relative", [b"missing", b"missing/folder/x.png", b"2026/08/missing.png"])
def test_a_missing_file_or_folder_is_none(root: Root, relative: bytes) -> None:
    assert root.inspect(relative) is None
    assert root.remove(relative, None) is None


def test_removing_twice_says_that_it_was_gone(root: Root) -> None:
    assert root.remove(IMAGE, None) is not None
    assert root.remove(IMAGE, None) is None


@pytest.mark.parametrize(
    "relative",
    [
        b"\xff\xfe.txt",
        b"dir\xff/\xfe",
        b"new\nline",
        b"-rf",
        b"--/-",
        b" ",
        b"*",
        b"$(id)",
        "收据 2026/一.png".encode(),
        b"n" * 255,
        b"...",
        b"a\\b",
    ],
)
def test_strange_names_are_removed_like_any_other(root: Root, place: Path, relative: bytes) -> None:
    path = write(place, relative)
    entry = root.inspect(relative)
    assert entry is not None
    assert root.remove(relative, entry.identity)
    assert not path.exists()


def test_a_path_longer_than_the_system_takes_in_one_call_is_removed(root: Root, place: Path) -> None:
    relative = b"/".join([b"n" * 250] * 40 + [b"leaf"])
    top = os.open(place, os.O_RDONLY)
    for name in relative.split(b"/")[:-1]:
        os.mkdir(name, dir_fd=top)
        below = os.open(name, os.O_RDONLY, dir_fd=top)
        os.close(top)
        top = below
    os.close(os.open(b"leaf", os.O_CREAT | os.O_WRONLY, dir_fd=top))
    os.close(top)
    assert [entry.relative for entry in root.walk()].count(relative) == 1
    assert root.remove(relative, None) == 0
    assert root.remove_empty_parents(relative) == 40


def test_removing_with_empty_parents_climbs_to_the_root_and_no_higher(root: Root, place: Path) -> None:
    root.remove(IMAGE, None)
    assert root.remove_empty_parents(IMAGE) == 2
    assert place.is_dir()
    assert not (place / "2026").exists()
    assert root.remove_empty_parents(b"leaf") == 0


def test_a_parent_with_content_stays(root: Root, place: Path) -> None:
    write(place, b"2026/07/x")
    root.remove(IMAGE, None)
    assert root.remove_empty_parents(IMAGE) == 1
    assert (place / "2026" / "07" / "x").exists()


def test_a_parent_that_is_a_link_stays(root: Root, place: Path, tmp_path: Path) -> None:
    (tmp_path / "outside" / "empty").mkdir()
    (place / "link").symlink_to(tmp_path / "outside")
    assert root.remove_empty_parents(b"link/empty/x") == 0
    assert root.remove_empty_parents(b"link/x") == 0
    assert (place / "link").is_symlink()
    assert (tmp_path / "outside" / "empty").is_dir()


# --- what is refused


def test_hostile_spellings_are_refused_before_anything_is_opened(root: Root) -> None:
    for relative, reason in (
        (b"../outside/canary", "parent_reference"),
        (b"/etc/passwd", "absolute"),
        (b"2026//08", "not_canonical"),
        (b"s3://bucket/key", "unsupported"),
        (b"", "empty"),
        (MARKER.encode(), "marker"),
    ):
        assert_refused(root, relative, reason)


def test_a_link_in_any_component_is_refused_and_its_target_lives(root: Root, place: Path, tmp_path: Path) -> None:
    canary = tmp_path / "outside" / "canary"
    (place / "file").symlink_to(canary)
    (place / "dir").symlink_to(tmp_path / "outside")
    (place / "self").symlink_to(place)
    (place / "relative").symlink_to("2026")
    (place / "dangling").symlink_to("nowhere")
    for relative in (b"file", b"dir", b"dir/canary", b"self/2026/08/x", b"relative/08/" + IMAGE[8:], b"dangling"):
        assert_refused(root, relative, "link")
    assert canary.read_text() == "alive"
    assert (place / "file").is_symlink()


def test_magic_links_of_proc_are_refused(root: Root, place: Path) -> None:
    (place / "cwd").symlink_to("/proc/self/cwd")
    assert_refused(root, b"cwd/pyproject.toml", "link")


def test_a_hard_link_is_refused_and_both_names_stay(root: Root, place: Path, tmp_path: Path) -> None:
    (place / "hard").hardlink_to(tmp_path / "outside" / "canary")
    assert_refused(root, b"hard", "hard_link")
    assert (place / "hard").exists()


def test_the_last_link_of_a_file_may_go(root: Root, place: Path) -> None:
    (place / "hard").hardlink_to(place / os.fsdecode(IMAGE))
    (place / "hard").unlink()
    assert root.remove(IMAGE, None)


def test_a_folder_is_refused_even_when_empty(root: Root, place: Path) -> None:
    (place / "empty").mkdir()
    assert_refused(root, b"empty", "directory")
    assert_refused(root, b"2026", "directory")


def test_a_fifo_is_refused_without_hanging(root: Root, place: Path) -> None:
    os.mkfifo(place / "fifo")
    assert_refused(root, b"fifo", "not_regular")


def test_a_socket_is_refused(root: Root, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("sock")  # a full path may exceed what a socket address holds
        assert_refused(root, b"sock", "not_regular")


def test_a_file_used_as_a_folder_is_refused(root: Root) -> None:
    assert_refused(root, IMAGE + b"/x", "enotdir")


def test_the_marker_is_kept_under_any_name_the_file_system_gives_it(root: Root, place: Path) -> None:
    (place / MARKER).rename(place / "renamed")
    assert_refused(root, b"renamed", "marker")


@pytest.mark.parametrize("change", ["rewritten", "replaced", "touched"])
def test_a_file_changed_since_the_decision_is_kept(root: Root, place: Path, change: str) -> None:
    entry = root.inspect(IMAGE)
    assert entry is not None
    path = place / os.fsdecode(IMAGE)
    if change == "rewritten":
        path.write_bytes(b"new")
    elif change == "replaced":
        fresh = write(place, b"fresh")
        os.utime(fresh, ns=(1, entry.identity.mtime_ns))
        fresh.replace(path)
    else:
        os.utime(path, ns=(1, entry.identity.mtime_ns + 1))
    assert refusal_of(lambda: root.remove(IMAGE, entry.identity)) == "changed"
    assert path.exists()


def test_a_replaced_file_is_kept_a_thousand_times(root: Root, place: Path) -> None:
    path = place / os.fsdecode(IMAGE)
    for _ in range(1000):
        entry = root.inspect(IMAGE)
        assert entry is not None
        write(place, b"fresh").replace(path)
        assert refusal_of(lambda entry=entry: root.remove(IMAGE, entry.identity)) == "changed"  # type: ignore[misc]
    assert path.exists()


def test_a_folder_moved_out_of_the_root_takes_its_files_along(root: Root, place: Path, tmp_path: Path) -> None:
    entry = root.inspect(IMAGE)
    assert entry is not None
    (place / "2026" / "08").rename(tmp_path / "outside" / "08")
    assert root.remove(IMAGE, entry.identity) is None
    assert (tmp_path / "outside" / "08" / "图片.png").exists()


def test_a_folder_moved_out_and_linked_back_is_refused(root: Root, place: Path, tmp_path: Path) -> None:
    entry = root.inspect(IMAGE)
    assert entry is not None
    (place / "2026").rename(tmp_path / "outside" / "2026")
    (place / "2026").symlink_to(tmp_path / "outside" / "2026")
    assert refusal_of(lambda: root.remove(IMAGE, entry.identity)) == "link"
    assert (tmp_path / "outside" / "2026" / "08" / "图片.png").exists()


@pytest.mark.parametrize("name", ["eio", "erofs", "ebusy", "eperm", "eacces", "estale", "enospc"])
def test_what_the_system_answers_is_the_reason(
    root: Root, place: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_args: object, **_options: object) -> None:
        number = getattr(errno, name.upper())
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "unlink", failing)
    assert refusal_of(lambda: root.remove(IMAGE, None)) == name
    assert (place / os.fsdecode(IMAGE)).exists()


def test_a_file_that_goes_between_look_and_removal_is_gone_not_an_error(
    root: Root, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlink = os.unlink

    def late(path: bytes, *, dir_fd: int) -> None:
        unlink(place / os.fsdecode(IMAGE))
        unlink(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", late)
    assert root.remove(IMAGE, None) is None


def test_a_folder_without_permission_is_refused(root: Root, place: Path) -> None:
    folder = place / "2026" / "08"
    folder.chmod(0)
    try:
        if os.access(folder, os.X_OK):
            pytest.skip("this user may enter everything")
        assert_refused(root, IMAGE, "eacces")
    finally:
        folder.chmod(0o700)


# --- the root itself


def test_nothing_is_called_missing_once_the_marker_is_gone(root: Root, place: Path) -> None:
    (place / MARKER).unlink()
    with pytest.raises(RootRefused, match=r"lost its \.gengfu-root"):
        root.inspect(b"missing")
    with pytest.raises(RootRefused, match=r"lost its \.gengfu-root"):
        root.remove(b"missing/x", None)


def test_a_root_removed_and_made_anew_does_not_make_its_files_missing(root: Root, place: Path, tmp_path: Path) -> None:
    place.rename(tmp_path / "old")
    for path in (tmp_path / "old" / os.fsdecode(IMAGE), tmp_path / "old" / MARKER):
        path.unlink()
    create_marker(place)
    with pytest.raises(RootRefused):
        root.inspect(IMAGE)


def test_a_closed_root_does_nothing(place: Path) -> None:
    with open_root("uploads", place) as root:
        walking = root.walk()
    with pytest.raises(ValueError, match="is closed"):
        root.remove(IMAGE, None)
    assert list(walking) == []
    assert (place / os.fsdecode(IMAGE)).exists()
    root.close()


def test_no_descriptor_stays_open(root: Root, place: Path) -> None:
    (place / "link").symlink_to("/")
    write(place, b"a/b/c/file")
    before = open_descriptors()
    for _ in range(50):
        root.inspect(IMAGE)
        root.inspect(b"a/b/c/missing")
        root.inspect(b"a/b/missing/x")
        root.remove_empty_parents(b"a/b/c/x")
        for bad in (b"link/etc/passwd", b"a", b"a/b/c/file/x", b"../x"):
            refusal_of(lambda bad=bad: root.inspect(bad))  # type: ignore[misc]
    assert open_descriptors() == before


# --- races


def swap_for_link(place: Path, outside: Path) -> None:
    (place / "2026" / "08").rename(place / "parked")
    (place / "2026" / "08").symlink_to(outside)


@pytest.fixture
def swap_at(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Swap the image's folder for a link to outside just before the named function of `os` sees the image."""

    def arm(moment: str) -> None:
        genuine = getattr(os, moment)
        done: list[str] = []

        def swapping(path: Any, **options: Any) -> Any:
            if os.fsencode(path).endswith(IMAGE[8:]) and not done:
                done.append(moment)
                swap_for_link(place, tmp_path / "outside")
            return genuine(path, **options)

        monkeypatch.setattr(os, moment, swapping)

    return arm


@pytest.mark.parametrize("moment", ["stat", "unlink"])
def test_a_folder_swapped_for_a_link_at_the_worst_moment_leads_nowhere(
    root: Root, place: Path, tmp_path: Path, moment: str, swap_at: Callable[[str], None]
) -> None:
    swap_at(moment)
    assert root.remove(IMAGE, None) is not None
    assert (place / "2026" / "08").is_symlink()
    assert (tmp_path / "outside" / "图片.png").read_text() == "alive"
    assert list((place / "parked").iterdir()) == []


def test_the_same_swap_does_betray_a_check_of_the_resolved_path(
    place: Path, tmp_path: Path, swap_at: Callable[[str], None]
) -> None:
    swap_at("unlink")
    path = place / os.fsdecode(IMAGE)
    assert path.resolve().is_relative_to(place)
    os.unlink(path)  # noqa: PTH108 - the function that is armed
    assert not (tmp_path / "outside" / "图片.png").exists()


def test_no_canary_dies_while_a_folder_and_a_link_keep_changing_places(root: Root, place: Path, tmp_path: Path) -> None:
    names = [b"f%d" % number for number in range(40)]
    for name in names:
        (tmp_path / "outside" / os.fsdecode(name)).write_text("alive")
    (place / "real").mkdir()
    (place / "trap").symlink_to(tmp_path / "outside")
    counts: Counter[str] = Counter()
    done = threading.Event()
    swapper = threading.Thread(target=keep_swapping, args=(place, done))
    folder = os.open(place / "real", os.O_RDONLY)
    swapper.start()
    try:
        for attempt in range(200_000):
            name = names[attempt % len(names)]
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=folder))
            counts[outcome(root, b"real/" + name)] += 1
            if min(counts["removed"], counts["refused"]) >= 1000:
                break
    finally:
        done.set()
        swapper.join()
        os.close(folder)
    assert all((tmp_path / "outside" / os.fsdecode(name)).read_text() == "alive" for name in names)
    assert min(counts["removed"], counts["refused"]) >= 1000


def keep_swapping(place: Path, done: threading.Event) -> None:
    while not done.is_set():
        (place / "real").rename(place / "parked")
        (place / "trap").rename(place / "real")
        (place / "real").rename(place / "trap")
        (place / "parked").rename(place / "real")


# --- random paths against an independent model

NAMES = [b"a", b"b", "文".encode(), b"link", b"loop", b"up", b"fifo", b"hard", b"\xff", b"f", b"missing"]
WORDS = st.sampled_from([*NAMES, b"..", b".", b"", b"\0", MARKER.encode(), b"n" * 256, b"http:"])
PATHS = st.lists(WORDS, min_size=1, max_size=6).map(b"/".join)


def build(place: Path, outside: Path) -> None:
    """Fill the root with files, folders and traps of every kind at two levels."""
    for folder in (place, place / "a", place / "a" / "b", place / "文"):
        folder.mkdir(exist_ok=True)
        (folder / "link").symlink_to(outside)
        (folder / "loop").symlink_to("loop")
        (folder / "up").symlink_to("..")
        os.mkfifo(folder / "fifo")
        (folder / "hard").hardlink_to(outside / "canary")
        for name in (b"f", b"\xff"):
            (folder / os.fsdecode(name)).write_bytes(b"x")


def expected_outcome(place: Path, relative: bytes) -> str:
    """Say by lstat of every prefix what must happen: removed, missing or refused."""
    parts = relative.split(b"/")
    banned = {b"", b".", b"..", MARKER.encode()}
    if b"\0" in relative or banned & set(parts) or max(map(len, parts)) > 255:
        return "refused"
    path = os.fsencode(place)
    for index, part in enumerate(parts):
        path += b"/" + part
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            return "missing"
        if index < len(parts) - 1 and not stat.S_ISDIR(status.st_mode):
            return "refused"
    return "removed" if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 else "refused"


def outcome(root: Root, relative: bytes) -> str:
    try:
        return "missing" if root.remove(relative, None) is None else "removed"
    except PathRefused:
        return "refused"


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@settings(max_examples=800, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(paths=st.lists(PATHS, min_size=5, max_size=20))
def test_random_paths_do_what_a_plain_model_says(root: Root, place: Path, tmp_path: Path, paths: list[bytes]) -> None:
    outside = tmp_path / "outside"
    if not (place / "a").exists():
        build(place, outside)
    before = snapshot(outside)
    for relative in paths:
        awaited = expected_outcome(place, relative)
        assert outcome(root, relative) == awaited, relative
        if awaited == "removed":
            (place / os.fsdecode(relative)).write_bytes(b"x")
    assert snapshot(outside) == before
    assert (place / MARKER).exists()
