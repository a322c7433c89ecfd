import json
import os
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.core.errors import OutputUnwritable, SettingsError
from app.core.settings_reader import read
from app.health.checks import disk
from app.health.checks.disk import check_disks
from app.health.disk_report import SAMPLES, append_disk_report, disk_report_path
from app.health.settings import DiskSettings, HealthSettings
from app.health.summary import disk_health

GIB = 1024**3
AT = datetime(2026, 3, 10, 12, 15, tzinfo=ZoneInfo("Asia/Shanghai"))


def file_system(
    *, used: int, available: int, reserved: int = 0, inodes: tuple[int, int] = (1, 99), read_only: bool = False
) -> os.statvfs_result:
    """A file system of blocks of 1 GiB; `inodes` are used and free ones."""
    free_inodes, flags = inodes[1], os.ST_RDONLY if read_only else 0
    total = used + available + reserved
    return os.statvfs_result(
        (GIB, GIB, total, available + reserved, available, sum(inodes), free_inodes, free_inodes, flags, 255)
    )


@pytest.fixture
def status_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    def checked(status: os.statvfs_result) -> dict[str, Any]:
        monkeypatch.setattr("app.health.checks.disk.os.statvfs", lambda _path: status)
        return check_disks([tmp_path], DiskSettings())

    return checked


def test_this_machines_disk_has_the_seeds_keys(tmp_path: Path) -> None:
    result = check_disks([tmp_path], DiskSettings())
    assert result["success"] is True
    assert {"total_gb", "used_gb", "free_gb", "usage_percent", "status"} <= set(result["disk_info"])
    assert result["disk_info"] == result["mounts"][0]
    assert result["errors"] == []
    assert json.loads(json.dumps(result)) == result


@pytest.mark.parametrize(
    ("used", "status"), [(7999, "normal"), (8000, "normal"), (8001, "warning"), (9000, "warning"), (9001, "critical")]
)
def test_space_is_judged_strictly_above_the_thresholds(status_of: Any, used: int, status: str) -> None:
    result = status_of(file_system(used=used, available=10000 - used))
    assert result["disk_info"]["usage_percent"] == used / 100
    assert result["disk_info"]["status"] == result["status"] == status


@pytest.mark.parametrize(("used", "status"), [(800, "normal"), (801, "warning"), (900, "warning"), (901, "critical")])
def test_inodes_are_judged_on_their_own(status_of: Any, used: int, status: str) -> None:
    result = status_of(file_system(used=1, available=99, inodes=(used, 1000 - used)))
    assert result["disk_info"]["status"] == "normal"
    assert result["disk_info"]["inodes_status"] == result["status"] == status


def test_space_kept_for_root_counts_as_not_to_be_had(status_of: Any) -> None:
    figures = status_of(file_system(used=70, available=20, reserved=10))["disk_info"]
    assert (figures["total_gb"], figures["used_gb"], figures["free_gb"]) == (100, 70, 20)
    assert figures["usage_percent"] == 77.78


def test_a_file_system_without_inode_numbers_is_normal(status_of: Any) -> None:
    figures = status_of(file_system(used=1, available=99, inodes=(0, 0)))["disk_info"]
    assert (figures["inodes_percent"], figures["inodes_status"]) == (None, "normal")
    assert (figures["inodes_used"], figures["inodes_free"]) == (None, None)


def test_a_file_system_without_a_size_is_an_error(status_of: Any) -> None:
    result = status_of(file_system(used=0, available=0))
    assert result["success"] is False
    assert "no file system with a size" in result["error"]


def test_a_device_is_measured_once_however_many_folders_are_on_it(tmp_path: Path) -> None:
    (tmp_path / "图片").mkdir()
    assert len(check_disks([tmp_path, tmp_path / "图片", tmp_path], DiskSettings())["mounts"]) == 1


def mounted(monkeypatch: pytest.MonkeyPatch, **places: tuple[int, str, str]) -> None:
    """Folders as mount points: name -> device number, device name, type."""
    from types import SimpleNamespace

    def folder(path: Path) -> tuple[int, str, str] | None:
        return places.get(path.name)

    really, was_mount = Path.stat, Path.is_mount

    def stat(path: Path, **how: Any) -> Any:
        place = folder(path)
        return SimpleNamespace(st_dev=place[0], st_mode=0o40755) if place else really(path, **how)

    parts = [
        SimpleNamespace(mountpoint=f"/m/{name}", device=device, fstype=kind)
        for name, (_, device, kind) in places.items()
    ]
    monkeypatch.setattr(Path, "stat", stat)
    monkeypatch.setattr(Path, "resolve", lambda path, **_how: path)
    monkeypatch.setattr(Path, "is_mount", lambda path: folder(path) is not None or was_mount(path))
    monkeypatch.setattr("app.health.checks.disk.psutil.disk_partitions", lambda **_all: parts)


def test_bind_mounts_and_subvolumes_count_once_and_overlays_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.health.checks.disk.os.statvfs", lambda _path: file_system(used=1, available=99))
    mounted(
        monkeypatch,
        data=(1, "/dev/sda1", "ext4"),
        bound=(1, "/dev/sda1", "ext4"),
        volume=(2, "/dev/sdb1", "btrfs"),
        subvolume=(3, "/dev/sdb1", "btrfs"),
        first=(4, "overlay", "overlay"),
        second=(5, "overlay", "overlay"),
    )
    names = ("data", "bound", "volume", "subvolume", "first", "second")
    result = check_disks([Path("/m") / name for name in names], DiskSettings())
    assert [(mount["mount"], mount["device"]) for mount in result["mounts"]] == [
        ("/m/data", "/dev/sda1"),
        ("/m/volume", "/dev/sdb1"),
        ("/m/first", "overlay"),
        ("/m/second", "overlay"),
    ]


@pytest.mark.parametrize("order", [("bound", "data"), ("data", "bound")])
def test_a_read_only_bind_mount_does_not_hide_that_the_device_can_be_written(
    monkeypatch: pytest.MonkeyPatch, order: tuple[str, str]
) -> None:
    def status(path: Path) -> os.statvfs_result:
        return file_system(used=1, available=99, read_only=path.name == "bound")

    monkeypatch.setattr("app.health.checks.disk.os.statvfs", status)
    mounted(monkeypatch, data=(1, "/dev/sda1", "ext4"), bound=(1, "/dev/sda1", "ext4"))
    (mount,) = check_disks([Path("/m") / name for name in order], DiskSettings())["mounts"]
    assert (mount["mount"], mount["read_only"]) == ("/m/data", False)


def test_a_read_only_mount_is_told(status_of: Any) -> None:
    result = status_of(file_system(used=1, available=99, read_only=True))
    assert result["disk_info"]["read_only"] is True
    assert "is mounted read-only" in disk_health(result)["detail"]


def test_the_figures_stand_in_bytes_and_inodes_too(status_of: Any) -> None:
    figures = status_of(file_system(used=70, available=20, reserved=10, inodes=(300, 700)))["disk_info"]
    bytes_ = (figures["total_bytes"], figures["used_bytes"], figures["free_bytes"])
    assert bytes_ == (100 * GIB, 70 * GIB, 20 * GIB)
    assert (figures["inodes_used"], figures["inodes_free"]) == (300, 700)


def test_the_fullest_of_several_mounts_is_the_disk_info(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = Path("/dev/shm")  # noqa: S108 - a file system of its own, only looked at
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system here")
    fuller = file_system(used=85, available=15)
    emptier = file_system(used=10, available=90)
    monkeypatch.setattr("app.health.checks.disk.os.statvfs", lambda path: fuller if path == other else emptier)
    result = check_disks([tmp_path, other], DiskSettings())
    assert (result["disk_info"]["mount"], result["status"]) == (str(other), "warning")
    assert [mount["usage_percent"] for mount in result["mounts"]] == [10, 85]


def test_a_missing_mount_is_an_error_and_the_others_are_measured(tmp_path: Path) -> None:
    result = check_disks([tmp_path / "gone", tmp_path], DiskSettings())
    assert (result["success"], len(result["mounts"])) == (True, 1)
    assert result["errors"][0]["path"] == str(tmp_path / "gone")
    assert "does not exist" in result["errors"][0]["why"]


@pytest.mark.parametrize("paths", [[], [Path("/does/not/exist")]])
def test_nothing_measured_is_no_success(paths: list[Path]) -> None:
    result = check_disks(paths, DiskSettings())
    assert (result["success"], result["disk_info"], result["mounts"]) == (False, None, [])
    assert result["error"]


def test_configured_mounts_replace_the_callers(tmp_path: Path) -> None:
    result = check_disks([tmp_path / "gone"], DiskSettings(mounts=(tmp_path,)))
    assert (result["success"], result["errors"]) == (True, [])


@pytest.fixture
def dead_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A file system that answers only once the test is over."""
    revived = threading.Event()
    really = os.statvfs

    def hang(path: Path) -> os.statvfs_result:
        if path.name == "nfs":
            revived.wait(60)
        return really(path)

    monkeypatch.setattr("app.health.checks.disk.os.statvfs", hang)
    yield revived
    revived.set()
    for thread in disk._stuck.values():
        thread.join(60)
    disk._stuck.clear()


def test_a_file_system_that_hangs_is_given_up_and_holds_one_thread_only(
    dead_server: threading.Event, tmp_path: Path
) -> None:
    (tmp_path / "nfs").mkdir()
    first = check_disks([tmp_path / "nfs", tmp_path], DiskSettings(), deadline_s=0.05)
    threads = threading.active_count()
    second = check_disks([tmp_path / "nfs", tmp_path], DiskSettings(), deadline_s=0.05)
    assert "did not answer within" in first["errors"][0]["why"]
    assert "since an earlier check" in second["errors"][0]["why"]
    assert (first["success"], second["success"]) == (True, True)
    assert threading.active_count() == threads
    assert not dead_server.is_set()


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"warning_percent": 90}, "must be below critical_percent"),
        ({"inodes_warning_percent": 95}, "inodes_warning_percent 95 must be below"),
        ({"warning_percent": 0}, "warning_percent"),
        ({"critical_percent": 101}, "critical_percent"),
        ({"mounts": ["data"]}, "'data' is no full path"),
        ({"mount": ["/"]}, "mount"),
    ],
)
def test_wrong_disk_settings_are_refused_by_name(values: dict[str, Any], why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        read(HealthSettings, {"disk": values})


def test_the_report_collects_the_days_samples(tmp_path: Path) -> None:
    path = disk_report_path(tmp_path / "daily", AT)
    for hour in range(3):
        assert append_disk_report(path, {"success": True, "n": hour}, AT + timedelta(hours=hour)) is None
    assert path.name == "disk_report_20260310.json"
    document = json.loads(path.read_text())
    assert document["date"] == "2026-03-10"
    assert [sample["n"] for sample in document["samples"]] == [0, 1, 2]
    assert document["samples"][0]["at"] == "2026-03-10T12:15:00+08:00"


def test_the_report_keeps_the_latest_two_thousand(tmp_path: Path) -> None:
    path = disk_report_path(tmp_path, AT)
    path.write_text(json.dumps({"date": "2026-03-10", "samples": [{"n": n} for n in range(SAMPLES)]}))
    append_disk_report(path, {"n": SAMPLES}, AT)
    samples = json.loads(path.read_text())["samples"]
    assert (len(samples), samples[0]["n"], samples[-1]["n"]) == (SAMPLES, 1, SAMPLES)


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff", b"[]", b"3", b'{"samples": 3}', b"{}"])
def test_a_damaged_report_is_set_aside_whole(tmp_path: Path, damage: bytes) -> None:
    path = disk_report_path(tmp_path, AT)
    path.write_bytes(damage)
    set_aside = append_disk_report(path, {"n": 1}, AT)
    assert set_aside is not None
    assert set_aside.read_bytes() == damage
    assert len(json.loads(path.read_text())["samples"]) == 1


def test_a_report_that_can_not_be_written_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "daily").write_text("a file")
    with pytest.raises(OutputUnwritable, match=r"daily/disk_report_20260310\.json"):
        append_disk_report(disk_report_path(tmp_path / "daily", AT), {}, AT)
