"""Killed anywhere, trees of any depth and width, files and folders that are swapped while the rules are at work."""

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import pytest

from app.core.errors import RootRefused
from app.core.safe_files import MARKER, Listing, Root, kernel, open_root
from app.retention.folder_rules import directory_rules
from app.retention.roots import init_roots, open_roots
from app.retention.sweep import Sweep
from app.retention.tally import Tally


class Stopped(BaseException):
    """Stands for a kill: nothing after it is done."""


def totals(counts: dict[str, int]) -> tuple[int, int]:
    return counts.get("folder_files", 0), counts.get("bytes", 0)


def furnish(house: Any) -> int:
    size = 0
    for number in range(9):
        path = house.file(f"{number % 3}/旧-{number}.bin", size=5000)
        size += path.stat().st_blocks * 512
    house.file("young", days=1)
    return size


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.retention.sweep._TOGETHER", 2)


@pytest.mark.usefixtures("small_batches")
def test_killed_at_any_step_the_next_run_tells_each_file_once(house: Any) -> None:
    house.rule()
    steps = 0

    def count(_point: str) -> None:
        nonlocal steps
        steps += 1

    size = furnish(house)
    house.run(checkpoint=count)
    assert steps > 2 * 9 / 2
    for stop_at in range(1, steps + 1):
        furnish(house)
        with pytest.raises(Stopped):
            killed(house, stop_at)
        done = house.run("next")
        assert (totals(done.counts), house.left()) == ((9, size), {"young"}), stop_at


def killed(house: Any, stop_at: int) -> None:
    """Run up to one step; what the engine would still write down on its way out is taken from it."""
    seen = 0
    dead = False
    real = Tally.transaction

    def transaction(self: Tally) -> Any:
        if dead:
            raise Stopped
        return real(self)

    def stop(_point: str) -> None:
        nonlocal seen, dead
        seen += 1
        if seen == stop_at:
            dead = True
            raise Stopped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tally, "transaction", transaction)
        house.run(checkpoint=stop, close=False)


@pytest.mark.usefixtures("small_batches")
def test_what_a_killed_run_removed_waits_for_its_root(house: Any) -> None:
    house.rule()
    size = furnish(house)
    with pytest.raises(Stopped):
        killed(house, 3)
    (house.folders["cache"] / MARKER).rename(house.home / "kept-marker")
    assert totals(house.run("held").counts) == (0, 0)
    (house.home / "kept-marker").rename(house.folders["cache"] / MARKER)
    assert totals(house.run("next").counts) == (9, size)


@pytest.mark.usefixtures("small_batches")
def test_what_a_killed_run_removed_is_not_forgotten_when_its_root_is_lost_at_once(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.rule()
    size = furnish(house)
    with pytest.raises(Stopped):
        killed(house, 3)

    def lost(*_arguments: Any, **_options: Any) -> None:
        raise RootRefused("没了")

    with monkeypatch.context() as patch:
        patch.setattr(Root, "inspect", lost)
        assert totals(house.run("lost").counts) == (0, 0)
    assert totals(house.run("next").counts) == (9, size)


@pytest.mark.usefixtures("small_batches")
def test_a_file_that_stands_there_again_after_a_kill_is_judged_anew(house: Any) -> None:
    house.rule()
    furnish(house)
    with pytest.raises(Stopped):
        killed(house, 1)  # condemned, and not one removed
    for path in house.folders["cache"].rglob("*.bin"):
        path.write_bytes(b"written anew")
    done = house.run("next")
    assert totals(done.counts) == (0, 0)
    assert len(house.left()) == 10


def test_time_that_runs_out_ends_the_run_and_counts_what_was_done(house: Any) -> None:
    house.rule()
    furnish(house)
    done = house.run(until=house.clock.monotonic())
    assert (done.in_time, done.figures["cache"]["state"], totals(done.counts)) == (False, "budget", (0, 0))
    assert len(house.left()) == 10
    again = house.run("r2")
    assert (again.in_time, totals(again.counts)[0]) == (True, 9)


@pytest.mark.usefixtures("small_batches")
def test_a_root_moved_away_while_the_run_is_at_work_loses_no_more_files(house: Any) -> None:
    house.rule()
    furnish(house)
    moved = house.home / "备份"

    def move(point: str) -> None:
        if point == "old files removed" and not moved.exists():
            house.folders["cache"].rename(moved)
            shutil.copytree(moved, house.folders["cache"])

    done = house.run(checkpoint=move)
    assert (done.figures["cache"]["state"], totals(done.counts)[0]) == ("held", 2)
    assert "another folder stands" in done.held["cache"]
    assert len(list(moved.rglob("*.bin"))) == 7
    assert totals(house.run("r2").counts)[0] == 7


@pytest.mark.parametrize("seen", [0, 1])
def test_the_newest_stay_where_the_first_look_at_their_folder_failed(
    house: Any, monkeypatch: pytest.MonkeyPatch, seen: int
) -> None:
    house.rule(keep_newest=2)
    for number in range(3):
        house.file(f"库/备份{number}.dump", days=40 + number)
    real, looks = Listing.files, []

    def files(self: Listing) -> Iterator[tuple[str, os.stat_result]]:
        looks.append(self.relative)
        is_first = self.relative and looks.count(self.relative) == 1
        # As after an error in the middle of the folder.
        yield from islice(sorted(real(self)), seen) if is_first else real(self)

    monkeypatch.setattr(Listing, "files", files)
    house.run()
    assert len(house.left()) == 3
    monkeypatch.undo()
    house.run("r2")
    assert house.left() == {"库/备份0.dump", "库/备份1.dump"}


def test_above_a_cap_nothing_goes_by_a_look_that_was_cut_short(house: Any) -> None:
    """The oldest of what was seen need not be the oldest."""
    house.rule(cap=4096)
    for number in range(6):
        house.file(f"{number}/新.bin", days=1, size=5000)
    rules = directory_rules(house.settings, frozenset(), house.clock.now())
    asked: list[bool] = []

    def is_over() -> bool:
        asked.append(True)
        return len(asked) > 7 + 3  # all folders once, and three of them again

    with open_roots(open_root, house.database, house.folders, ["cache"]) as roots:
        own = [rule for rule in rules if rule.root == "cache"]
        sweep = Sweep(roots.ready["cache"], own, busy=frozenset(), on_refused=lambda _refusal: None, is_over=is_over)
        assert list(sweep.batches()) == []
    assert sweep.was_cut


def test_a_root_emptied_while_the_run_is_at_work_is_held_not_taken_for_cleaned(house: Any) -> None:
    house.rule()
    furnish(house)

    def unmount(point: str) -> None:
        if point == "old files condemned":
            shutil.rmtree(house.folders["cache"])
            house.folders["cache"].mkdir()

    done = house.run(checkpoint=unmount)
    assert totals(done.counts) == (0, 0)
    assert done.figures["cache"]["state"] == "held"
    assert MARKER in done.held["cache"]


def deep(place: Path, depth: int) -> None:
    folder = os.open(place, os.O_RDONLY)
    for level in range(depth):
        os.mkdir("d", dir_fd=folder)
        below = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
        if level % 50 == 49:
            os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
            os.utime("f", (0, 0), dir_fd=folder)
    os.close(folder)


@pytest.fixture
def most_descriptors(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The highest number of descriptors open at any listing of a folder."""
    most = [0]
    scandir = os.scandir

    def counting(path: Any) -> Any:
        most[0] = max(most[0], psutil.Process().num_fds())
        return scandir(path)

    monkeypatch.setattr(os, "scandir", counting)
    return most


def test_three_thousand_levels_are_cleaned_and_their_folders_go(house: Any, most_descriptors: list[int]) -> None:
    if not kernel.has_openat2():
        pytest.skip("step by step every folder is opened from the top: right, but slow in such a tree")
    house.rule(remove_empty=True)
    deep(house.folders["cache"], 3000)
    before = psutil.Process().memory_info().rss
    told = house.run().figures["cache"]
    assert (told["removed"], told["folders_removed"], told["kept"]) == (60, 3000, {})
    assert [path.name for path in house.folders["cache"].iterdir()] == [MARKER]
    assert psutil.Process().memory_info().rss - before < 8 << 20
    assert most_descriptors[0] < 128


@pytest.fixture
def in_memory(house: Any) -> Iterator[None]:
    """The root `cache` on a file system in memory, where a hundred thousand files are made in a second or two."""
    if not Path("/dev/shm").is_dir():  # noqa: S108 - asked, not written
        pytest.skip("no file system in memory here")
    with TemporaryDirectory(dir="/dev/shm") as place:
        house.folders["cache"] = Path(place) / "cache"
        init_roots(house.database, house.folders, house.clock, ["cache"])
        yield


@pytest.mark.usefixtures("in_memory")
def test_a_hundred_thousand_entries_in_one_folder_take_flat_memory(house: Any, most_descriptors: list[int]) -> None:
    house.rule(match=["*9"])
    fill(house, 1000)
    house.run("warm")  # what is loaded once is no growth
    fill(house, 100_000)
    before = psutil.Process().memory_info().rss
    told = house.run().figures["cache"]
    grown = psutil.Process().memory_info().rss - before
    assert told["removed"] == 10_000
    assert grown < 8 << 20
    assert most_descriptors[0] < 128


@pytest.mark.usefixtures("in_memory")
def test_a_cap_over_many_files_takes_flat_memory(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.retention.sweep._OLDEST", 2000)
    fill(house, 10_000, content=b"x")
    size = 10_000 * next((house.folders["cache"] / "大").iterdir()).stat().st_blocks * 512
    house.rule(keep="90d", cap=size - 1, low_water=size // 2)
    house.preview()  # what is loaded once is no growth
    before = psutil.Process().memory_info().rss
    told = house.run().figures["cache"]
    grown = psutil.Process().memory_info().rss - before
    assert (told["cap"]["evicted"], told["cap"]["bytes"]) == (5000, size // 2)
    assert grown < 8 << 20


def fill(house: Any, count: int, content: bytes = b"") -> None:
    """Make files of one folder that last changed forty days ago."""
    place = house.folders["cache"] / "大"
    place.mkdir(exist_ok=True)
    stamp = house.clock.now().timestamp() - 40 * 86400
    folder = os.open(place, os.O_RDONLY)
    for number in range(count):
        file = os.open(f"文件-{number}", os.O_CREAT | os.O_WRONLY, dir_fd=folder)
        os.write(file, content)
        os.utime(file, (stamp, stamp))
        os.close(file)
    os.close(folder)


def test_names_of_every_kind_go(house: Any) -> None:
    house.rule()
    names = [
        b"new\nline",
        b"\xff\xfe",
        b"-rf",
        b"n" * 255,
        "收据 *.bin".encode(),
        b"\x01\x7f",
        b"d/-/--/x",
        b"quo'te\"",
    ]
    for name in names:
        house.file(name)
    assert house.run().figures["cache"]["removed"] == len(names)
    assert house.left() == set()


def test_folders_swapped_for_links_while_rules_are_at_work_lead_nowhere(house: Any, tmp_path: Path) -> None:
    house.rule()
    outside = tmp_path / "outside"
    outside.mkdir()
    cache = house.folders["cache"]
    canaries = [outside / f"{number}" for number in range(20)]
    for number in range(300):
        house.file(f"{number}/{number % 20}")
    for canary in canaries:
        canary.write_text("无价", encoding="utf-8")
        os.utime(canary, (0, 0))
    stop = threading.Event()

    def swap() -> None:
        number = 0
        while not stop.is_set():
            number = (number + 7) % 300
            with suppress(OSError):
                (cache / f"{number}").rename(tmp_path / "aside")
                (cache / f"{number}").symlink_to(outside)
                (cache / f"{number}").unlink()
                (tmp_path / "aside").rename(cache / f"{number}")

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for attempt in range(5):
            house.run(f"r{attempt}")
            for number in range(300):
                with suppress(OSError):
                    house.file(f"{number}/{number % 20}")
    finally:
        stop.set()
        swapper.join()
    assert {path.name for path in outside.iterdir()} >= {canary.name for canary in canaries}
