"""Marking folders, opening them, and the folders that are never ours."""

import os
import stat
from pathlib import Path

import pytest

from app.core.errors import ExitCode, RootRefused
from app.core.safe_files import MARKER, create_marker, open_root, protected, view_root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "上传"


def open_descriptors() -> int:
    return len(os.listdir("/dev/fd"))  # noqa: PTH208 - counting is enough


def test_a_new_marker_holds_a_random_id_that_only_its_owner_reads(folder: Path) -> None:
    marker_id = create_marker(folder)
    assert (folder / MARKER).read_text().startswith(f"{marker_id}\n")
    assert stat.S_IMODE((folder / MARKER).stat().st_mode) == 0o600
    assert create_marker(folder.parent / "other") != marker_id


def test_marking_again_keeps_the_id_and_the_file(folder: Path) -> None:
    marker_id = create_marker(folder)
    before = (folder / MARKER).stat()
    assert create_marker(folder) == marker_id
    assert os.path.samestat(before, (folder / MARKER).stat())


def test_marking_makes_missing_parents(tmp_path: Path) -> None:
    create_marker(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c" / MARKER).is_file()


def test_a_marked_folder_opens_with_its_id_and_place(folder: Path) -> None:
    marker_id = create_marker(folder)
    with open_root("uploads", folder, marker_id) as root:
        assert (root.name, root.path, root.marker_id) == ("uploads", folder, marker_id)
        assert (root.device, root.inode) == (folder.stat().st_dev, folder.stat().st_ino)


def test_any_id_will_do_when_none_is_expected(folder: Path) -> None:
    marker_id = create_marker(folder)
    with open_root("uploads", folder) as root:
        assert root.marker_id == marker_id


def test_a_root_for_looking_has_no_way_to_remove(folder: Path) -> None:
    create_marker(folder)
    with view_root("uploads", folder) as root:
        assert not hasattr(root, "remove")
        assert not hasattr(root, "remove_empty_parents")


def test_an_unmarked_folder_is_refused_with_the_command_that_mends_it(folder: Path) -> None:
    folder.mkdir()
    with pytest.raises(RootRefused, match=r"gengfu roots init uploads") as refusal:
        open_root("uploads", folder)
    assert refusal.value.exit_code is ExitCode.HELD
    assert "\n" not in str(refusal.value)


def test_another_volume_under_the_same_path_is_refused(folder: Path) -> None:
    create_marker(folder)
    with pytest.raises(RootRefused, match=r"not 00000000.*gengfu roots init uploads"):
        open_root("uploads", folder, "0" * 32)


@pytest.mark.parametrize("content", [b"", b"\n", b"not an id\n", b"A" * 32, b"0" * 31, b"0" * 33, b"\xff" * 2000])
def test_a_marker_without_an_id_is_refused_and_never_overwritten(folder: Path, content: bytes) -> None:
    folder.mkdir()
    (folder / MARKER).write_bytes(content)
    with pytest.raises(RootRefused, match="holds no id"):
        open_root("uploads", folder)
    with pytest.raises(RootRefused, match="holds no id"):
        create_marker(folder)
    assert (folder / MARKER).read_bytes() == content


def test_a_marker_that_is_a_link_is_refused(folder: Path, tmp_path: Path) -> None:
    create_marker(tmp_path / "elsewhere")
    folder.mkdir()
    (folder / MARKER).symlink_to(tmp_path / "elsewhere" / MARKER)
    with pytest.raises(RootRefused):
        open_root("uploads", folder)
    with pytest.raises(RootRefused):
        create_marker(folder)


def test_a_fifo_in_the_markers_place_is_refused_without_hanging(folder: Path) -> None:
    folder.mkdir()
    os.mkfifo(folder / MARKER)
    with pytest.raises(RootRefused, match="holds no id"):
        open_root("uploads", folder)


def test_a_missing_folder_is_refused_and_not_made_by_opening(folder: Path) -> None:
    with pytest.raises(RootRefused, match=r"root uploads: .*does not exist; mount its volume"):
        open_root("uploads", folder)
    assert not folder.exists()


def test_a_file_is_no_root(folder: Path) -> None:
    folder.write_text("x")
    with pytest.raises(RootRefused, match="Not a directory"):
        open_root("uploads", folder)
    with pytest.raises(RootRefused, match="Not a directory"):
        create_marker(folder)


@pytest.mark.parametrize("through", ["link", "link/inner"])
def test_a_root_that_is_a_link_or_lies_behind_one_is_refused_with_its_real_path(tmp_path: Path, through: str) -> None:
    create_marker(tmp_path / "real" / "inner")
    create_marker(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for attempt in (create_marker, lambda path: open_root("uploads", path)):
        with pytest.raises(RootRefused, match=r"its real path is .*/real"):
            attempt(tmp_path / through)


def test_marking_makes_nothing_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(RootRefused):
        create_marker(tmp_path / "link" / "new")
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize("path", ["uploads", ".", "", "a/../b", "/srv/../etc", "/srv/a\0b", "//", "//etc/x"])
def test_a_path_that_is_not_full_and_plain_is_refused(path: str) -> None:
    with pytest.raises(RootRefused, match="is not a full path"):
        create_marker(Path(path))


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/etc", "/etc/gengfu", "/usr", "/usr/lib/python3", "/var", "/var/log", "/var/lib", "/tmp", "/bin"),  # noqa: S108 - refused
        *("/proc/self/fd", "/sys", "/dev/shm", "/root", "/home", "/home/somebody", "/Users/somebody", "/opt", "/srv"),  # noqa: S108 - refused
    ],
)
def test_system_and_home_folders_are_refused(path: str) -> None:
    for attempt in (create_marker, lambda path: open_root("uploads", path)):
        with pytest.raises(RootRefused, match="name a folder of the application itself"):
            attempt(Path(path))


@pytest.mark.parametrize("place", ["", "app", "app/core", "tasks", "config", ".git/objects"])
def test_the_programs_own_code_is_refused(place: str) -> None:
    with pytest.raises(RootRefused, match="this program's own folder"):
        create_marker(protected.PROJECT / place)


def test_a_folder_that_holds_the_program_is_refused() -> None:
    for parent in protected.PROJECT.parents:
        with pytest.raises(RootRefused):
            create_marker(parent)


@pytest.mark.parametrize("place", ["var/demo/uploads", "logs", "reports/daily"])
def test_output_folders_of_the_program_may_be_roots(place: str) -> None:
    assert protected.why_protected(protected.PROJECT / place) is None


@pytest.mark.parametrize(
    "place", ["/srv/app/uploads", "/var/lib/app", "/var/log/app", "/home/app/uploads", "/opt/app/tmp"]
)
def test_a_folder_of_the_application_inside_a_shared_place_may_be_a_root(place: str) -> None:
    assert protected.why_protected(Path(place)) is None


def test_the_home_of_the_user_and_what_holds_it_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "homes" / "更夫"
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    for place in (home, home.parent):
        with pytest.raises(RootRefused, match="home folder"):
            create_marker(place)
    create_marker(home / "uploads")


def test_a_protected_folder_under_another_name_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As a bind mount would show it: a spelling on no list, the inode of a listed folder.
    monkeypatch.setattr(protected, "why_protected", lambda _path: None)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(RootRefused, match="another name of a protected folder"):
        create_marker(tmp_path)
    assert not (tmp_path / MARKER).exists()


def test_refusals_and_sessions_leak_no_descriptor(folder: Path, tmp_path: Path) -> None:
    create_marker(folder)
    (tmp_path / "link").symlink_to(folder)
    before = open_descriptors()
    for _ in range(20):
        for bad in (tmp_path, tmp_path / "missing" / "x", tmp_path / "link", Path("/etc")):
            with pytest.raises(RootRefused):
                open_root("uploads", bad)
        with pytest.raises(RootRefused):
            open_root("uploads", folder, "0" * 32)
        with open_root("uploads", folder):
            pass
    assert open_descriptors() == before


def test_a_marker_that_cannot_be_written_leaves_no_half_of_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RootRefused, match=r"can't mark .*No space left on device"):
        create_marker(folder)
    assert list(folder.iterdir()) == []
