"""Which files a folder rule takes and which it leaves, to the nanosecond and by every reason."""

import os
import socket
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.core.errors import SettingsError
from app.core.safe_files import MARKER, create_marker, view_root
from app.core.settings_reader import read
from app.retention.folder_rules import DirectoryRule
from app.retention.patterns import Patterns
from app.retention.settings import RetentionSettings
from app.retention.sweep import Sweep


@pytest.mark.parametrize(("plus_ns", "goes"), [(-1, True), (0, False), (1, False)])
def test_a_file_goes_a_nanosecond_after_its_age_not_at_it(house: Any, *, plus_ns: int, goes: bool) -> None:
    house.rule(age="modified", keep="30d")
    house.age(house.file("一.bin"), timedelta(days=30), plus_ns)
    told = house.run().figures["cache"]
    assert house.left() == (set() if goes else {"一.bin"})
    assert (told["removed"], told["kept"]) == ((1, {}) if goes else (0, {"young": 1}))


@pytest.mark.parametrize(("plus_ns", "goes"), [(1, True), (0, False), (-1, False)])
def test_the_newest_stamp_too_decides_to_the_nanosecond(house: Any, *, plus_ns: int, goes: bool) -> None:
    status = house.file("一.bin").stat()
    newest = max(status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns)
    rule = DirectoryRule(name="cache", kind="folder_files", root="cache", before_ns=newest + plus_ns)
    with view_root("cache", house.folders["cache"]) as root:
        nothing_busy: frozenset[tuple[int, int]] = frozenset()
        sweep = Sweep(root, [rule], busy=nothing_busy, on_refused=pytest.fail, is_over=lambda: False)
        assert [len(batch) for batch in sweep.batches()] == ([1] if goes else [])


def test_by_the_newest_stamp_a_file_with_an_old_date_that_just_came_stays(house: Any) -> None:
    house.rule(age="newest", keep="3d")
    house.file("unpacked.bin", days=400)
    assert house.run().figures["cache"]["kept"] == {"young": 1}
    house.clock.advance(timedelta(days=2))
    assert house.run("r2").figures["cache"]["removed"] == 1


def test_patterns_choose_by_name_or_by_path(house: Any) -> None:
    house.rule(match=["*.tmp", "cache/**/*.bin"], spare=["keep-*", "cache/珍/**"])
    gone = {"a.tmp", "deep/er/文件.tmp", "cache/x.bin", "cache/a/b/c.bin"}
    stays = {"x.bin", "other/cache/x.bin", "a.tmp.txt", "keep-1.tmp", "cache/珍/a.bin", "cache/珍/b/c.bin"}
    for path in gone | stays:
        house.file(path)
    told = house.run().figures["cache"]
    assert house.left() == stays
    assert (told["removed"], told["kept"]) == (4, {"spared": 3})


def test_compressed_and_rotated_logs_go_and_active_sinks_stay_under_any_name(house: Any) -> None:
    gone = {"app.log.1.gz", "app.log-20260101.zst", "sub/旧.log.2.xz", "old.log"}
    for path in gone:
        house.file(path, root="logs")
    active = house.file("app.log", root="logs", days=90)
    (house.folders["logs"] / "renamed.log.1").hardlink_to(active)
    house.file("notes.txt", root="logs")
    told = house.run().figures["logs"]
    assert house.left("logs") == {"app.log", "renamed.log.1", "notes.txt"}
    assert (told["removed"], told["kept"]) == (4, {"in_use": 1, "spared": 1})


def test_an_active_sink_that_was_renamed_by_a_rotation_stays(house: Any) -> None:
    current = house.file("archive/app-当前.log", root="logs", days=90)
    (house.folders["logs"] / "app.log").symlink_to(current)
    assert house.run().figures["logs"]["kept"] == {"in_use": 1}
    assert house.left("logs") == {"app.log", "archive/app-当前.log"}


def test_an_open_file_stays_and_goes_once_it_is_closed(house: Any) -> None:
    house.rule()
    with house.file("打开.bin").open("rb"):
        assert house.run().figures["cache"]["kept"] == {"in_use": 1}
    assert house.run("r2").figures["cache"]["removed"] == 1


def test_a_file_written_between_the_look_and_the_removal_stays(house: Any) -> None:
    house.rule()
    path = house.file("a.bin")

    def write(point: str) -> None:
        if point == "old files condemned":
            path.write_bytes(b"new content")

    done = house.run(checkpoint=write)
    assert done.figures["cache"]["kept"] == {"in_use": 1}
    assert (done.counts.get("folder_files", 0), house.left()) == (0, {"a.bin"})


def test_pipes_sockets_links_and_files_of_two_names_are_left_alone(
    house: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.rule(age="newest", keep="1h", cap=0)
    cache = house.folders["cache"]
    canary = tmp_path / "canary"
    canary.write_text("无价", encoding="utf-8")
    (cache / "link").symlink_to(canary)
    (cache / "hard").hardlink_to(canary)
    os.mkfifo(cache / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(cache)  # a socket's whole path has room for a hundred bytes
        server.bind("socket")
    done = house.run()
    assert house.left() == {"link", "hard", "fifo", "socket"}
    assert done.figures["cache"]["kept"] == {"hard_link": 1}
    assert done.counts["refused.hard_link"] == 1
    assert done.problems == []


def test_a_file_goes_when_one_rule_says_so_and_no_other_rule_spares_it(house: Any) -> None:
    house.rule("slow", keep="90d", spare=["*.key"])
    house.rule("quick", keep="2d", match=["*.tmp", "*.key"])
    for path in ("a.tmp", "b.key", "c.bin"):
        house.file(path, days=10)
    house.file("d.bin", days=100)
    figures = house.run().figures
    assert house.left() == {"b.key", "c.bin"}
    assert (figures["quick"]["removed"], figures["slow"]["removed"]) == (1, 1)
    assert figures["quick"]["kept"] == {"spared": 1}


def test_the_newest_of_each_folder_stay_however_old(house: Any) -> None:
    house.rule(keep_newest=2)
    for folder in ("甲", "乙"):
        for number in range(5):
            house.file(f"{folder}/{number}.bak", days=100 - number)
    house.file("丙/only.bak", days=900)
    told = house.run().figures["cache"]
    assert house.left() == {f"{folder}/{number}.bak" for folder in "甲乙" for number in (3, 4)} | {"丙/only.bak"}
    assert (told["removed"], told["kept"]) == (6, {"newest": 5})


def test_of_files_of_one_age_the_last_by_name_are_the_newest(house: Any) -> None:
    house.rule(keep_newest=1)
    for name in "abc":
        house.age(house.file(name), timedelta(days=50))
    house.run()
    assert house.left() == {"c"}


def test_the_newest_count_by_the_files_that_the_rule_is_about(house: Any) -> None:
    house.rule(keep_newest=1, match=["*.bak"])
    house.file("1.bak", days=50)
    house.file("2.bak", days=60)
    house.file("0.txt", days=40)
    house.run()
    assert house.left() == {"1.bak", "0.txt"}


def test_above_the_cap_the_oldest_go_down_to_the_low_water_mark(house: Any) -> None:
    for number in range(10):
        house.file(f"块/{number}", days=20 - number, size=4096)
    size = (house.folders["cache"] / "块" / "0").stat().st_blocks * 512
    house.rule(cap=8 * size, low_water=5 * size)
    told = house.run().figures["cache"]
    assert house.left() == {f"块/{number}" for number in (5, 6, 7, 8, 9)}
    assert told["cap"] == {
        "state": "lowered",
        "bytes": 5 * size,
        "limit": 8 * size,
        "low_water": 5 * size,
        "evicted": 5,
    }
    assert (told["removed"], told["bytes"], told["kept"]) == (5, 5 * size, {"young": 5})


def test_exactly_at_the_cap_nothing_goes(house: Any) -> None:
    for number in range(4):
        house.file(str(number), days=10, size=4096)
    size = (house.folders["cache"] / "0").stat().st_blocks * 512
    house.rule(cap=4 * size, low_water=0)
    assert house.run().figures["cache"]["cap"]["state"] == "below"
    house.rule(cap=4 * size - 1, low_water=4 * size - 1)
    told = house.run("r2").figures["cache"]["cap"]
    assert (told["state"], told["evicted"], len(house.left())) == ("lowered", 1, 3)


def test_the_cap_counts_what_the_age_left_over_and_blocks_not_lengths(house: Any) -> None:
    house.file("old", days=99, size=100_000)
    sparse = house.file("sparse", days=5, size=0)
    with sparse.open("r+b") as handle:
        handle.truncate(1 << 30)
    house.age(sparse, timedelta(days=5))
    house.file("young", days=5, size=4096)
    house.rule(cap="20KB")
    told = house.run().figures["cache"]
    assert house.left() == {"sparse", "young"}
    assert (told["removed"], told["cap"]["state"]) == (1, "below")


def test_for_the_cap_too_what_is_young_open_spared_or_among_the_newest_stays(house: Any) -> None:
    house.rule(cap=1, low_water=0, spare=["*.key"], keep_newest=1)
    kept = {"a/spared.key", "a/open", "a/newest"}
    for path in kept:
        house.file(path, days=10, size=4096)
    house.file("a/newest", days=3)
    house.file("a/goes", days=4, size=4096)
    with (house.folders["cache"] / "a" / "open").open("rb"):
        told = house.run().figures["cache"]
    assert house.left() == kept
    assert (told["cap"]["state"], told["cap"]["evicted"]) == ("above", 1)
    house.clock.advance(timedelta(days=-2))  # back to the very minute in which the files were written
    assert house.run("r2").figures["cache"]["removed"] == 0


def test_a_cap_needs_several_rounds_and_still_takes_the_oldest(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.retention.sweep._OLDEST", 7)
    for number in range(30):
        house.file(f"{number % 4}/{number:02}", days=29 - 0.5 * number, size=4096)
    size = (house.folders["cache"] / "0" / "00").stat().st_blocks * 512
    house.rule(cap=29 * size, low_water=3 * size)
    foreseen = house.preview()
    told = house.run()
    assert {path[2:] for path in house.left()} == {"27", "28", "29"}
    assert foreseen.counts == told.counts
    assert foreseen.figures["cache"]["cap"] == told.figures["cache"]["cap"]


def test_a_file_that_cant_be_removed_is_no_end_of_the_cap(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        house.file(str(number), days=20 - number, size=4096)
    size = (house.folders["cache"] / "0").stat().st_blocks * 512
    house.rule(cap=3 * size, low_water=3 * size)
    real = os.unlink

    def unlink(path: Any, *, dir_fd: int | None = None) -> None:
        if path == b"0":
            raise PermissionError(1, "Operation not permitted")
        real(path, dir_fd=dir_fd)

    monkeypatch.setattr("app.core.safe_files.root.os.unlink", unlink)
    done = house.run()
    assert house.left() == {"0", "3", "4", "5"}
    assert done.problems == ["cache: eperm: 0"]
    assert done.figures["cache"]["kept"] == {"eperm": 1, "young": 3}
    assert done.figures["cache"]["cap"]["state"] == "above"


def test_folders_emptied_by_the_run_go_and_others_stay(house: Any) -> None:
    house.rule(remove_empty=True)
    house.file("一/二/三/old")
    house.file("mixed/old")
    house.file("mixed/young", days=1)
    (house.folders["cache"] / "was-empty").mkdir()
    house.file("top")
    told = house.run().figures["cache"]
    left = {str(path.relative_to(house.folders["cache"])) for path in house.folders["cache"].rglob("*")}
    assert left == {MARKER, "mixed", "mixed/young", "was-empty"}
    assert told["folders_removed"] == 3


def test_emptied_folders_stay_unless_told_otherwise_and_marked_ones_always(house: Any) -> None:
    house.rule()
    house.file("a/old")
    house.run()
    assert (house.folders["cache"] / "a").is_dir()
    house.rule(remove_empty=True)
    create_marker(house.folders["cache"] / "marked")
    house.file("marked/old")
    house.run("r2")
    assert (house.folders["cache"] / "marked" / MARKER).exists()
    assert (house.folders["cache"] / MARKER).exists()


def test_what_waits_in_the_trash_is_passed_over(house: Any) -> None:
    house.rule(cap=0, low_water=0)
    house.file(".gengfu-trash/r1-1")
    house.file("sub/.gengfu-trash/no-trash-of-ours")
    house.run()
    assert house.left() == {".gengfu-trash/r1-1"}


def test_a_root_that_is_held_leaves_the_other_rules_at_work(house: Any) -> None:
    house.rule()
    house.file("old")
    house.file("old.tmp", root="temp")
    (house.folders["cache"] / MARKER).unlink()
    done = house.run()
    assert (done.figures["cache"]["state"], done.figures["temp"]["state"]) == ("held", "done")
    assert (house.left(), house.left("temp")) == ({"old"}, set())


def test_a_dry_run_foresees_the_same_and_changes_nothing(house: Any) -> None:
    house.rule(remove_empty=True, keep_newest=1, cap="8KB", low_water="4KB", spare=["*.key"])
    for number in range(6):
        house.file(f"甲/{number}", days=100 - number)
        house.file(f"乙/{number}", days=20 - number, size=4096)
    house.file("a.key")
    house.file("t.tmp", root="temp")

    def state() -> list[Any]:
        paths = sorted(house.home.rglob("*"))
        return [(str(path), path.lstat().st_mtime_ns, path.lstat().st_ino) for path in paths]

    before = state()
    foreseen = house.preview()
    assert state() == before
    done = house.run()
    assert foreseen.counts == done.counts
    for name, told in done.figures.items():
        same = {"removed", "bytes", "kept", "cap"}
        assert {key: told[key] for key in same} == {key: foreseen.figures[name][key] for key in same}, name
    assert done.figures["cache"]["cap"]["evicted"] > 0


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"root": "uploads"}, "holds files of rows"),
        ({"root": "cahce"}, r'no \[retention.roots.cahce\] \(did you mean "cache"\?\)'),
        ({"match": ["/abs/*"]}, "no pattern below a root"),
        ({"match": ["../x"]}, "no pattern below a root"),
        ({"spare": ["a//b"]}, "no pattern below a root"),
        ({"keep": "59m"}, "too young"),
        ({"cap": "1GB", "low_water": "2GB"}, "low_water needs a cap"),
    ],
)
def test_a_rule_that_cant_be_meant_is_refused_by_name(house: Any, values: dict[str, Any], fault: str) -> None:
    house.rule()
    with pytest.raises(SettingsError, match=fault):
        house.rule("wrong", **values)


def test_a_rule_may_not_take_the_name_of_one_of_ours_nor_a_root_with_files_of_another_rule() -> None:
    rule = {"root": "temp", "keep": "2d"}
    with pytest.raises(SettingsError, match="name of a rule of ours"):
        read(RetentionSettings, {"folders": {"logs": rule}})
    jobs = {"table": "jobs", "finished": "done_at", "keep": "9d", "files": {"out": "results"}}
    told = {"roots": {"results": {"path": "x"}}, "rules": {"jobs": jobs}, "folders": {"r": {**rule, "root": "results"}}}
    with pytest.raises(SettingsError, match="holds files of rows"):
        read(RetentionSettings, told)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("*.log", ["a.log", "x/y/a.log", ".log"], ["a.log.1", "log"]),
        ("a/*.bin", ["a/x.bin"], ["a/b/x.bin", "b/a/x.bin", "a.bin"]),
        ("a/**/x", ["a/x", "a/b/x", "a/b/c/x"], ["x", "a/xx", "aa/x"]),
        ("**/*.tmp", ["x.tmp", "a/b/x.tmp"], ["a/x.tmp/y"]),
        ("a/**", ["a/b", "a/b/c"], ["a", "b/a/c"]),
        ("a/?[!0-9].x", ["a/1b.x", "a/文件.x"], ["a/11.x", "a/b/c.x", "a/b.x"]),
        ("a/[x", ["a/[x"], ["a/x"]),
    ],
)
def test_patterns_mean_what_they_mean_in_a_shell(pattern: str, yes: list[str], no: list[str]) -> None:
    patterns = Patterns.of([pattern])
    assert patterns is not None

    def matches(path: str) -> bool:
        folder, slash, name = path.rpartition("/")
        return patterns.match(folder + slash, name)

    assert [path for path in yes if not matches(path)] == []
    assert [path for path in no if matches(path)] == []
