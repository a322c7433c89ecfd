"""What `gengfu retention plan` tells of the rules that work on folders alone."""

import os
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec import structs

from app.core.database import Database
from app.core.errors import BadArgument
from app.core.safe_files import MARKER, Root
from app.core.settings_reader import read
from app.retention import folder_plan
from app.retention.folder_plan import FolderPlan, plan_all, plan_folders
from app.retention.rule_plan import Figure
from app.retention.rule_settings import FolderRuleSettings, GuardSettings


def planned(lab: Any, name: str = "temp") -> FolderPlan:
    (found,) = plan_folders(lab.place(), [name])
    return found


def own_rule(lab: Any, **values: Any) -> None:
    """A rule of its own in the place of that for temporary files."""
    rule = {"root": "temp", "keep": "30d", "age": "modified"} | values
    lab.with_settings(folders={"图片": read(FolderRuleSettings, rule)}, temp_roots=[])


def test_files_bytes_and_ages_are_told_exactly(lab: Any) -> None:
    old = [lab.aged("temp", f"深/临时{n}.tmp", days=2 + n) for n in range(3)]
    lab.aged("temp", "新.tmp", days=0.5)
    found = planned(lab)
    assert (found.state, found.reasons, found.warnings) == ("go", (), ())
    assert (found.files, found.root_files) == (Figure.exactly(3), Figure.exactly(4))
    assert found.bytes == Figure.exactly(sum(path.stat().st_blocks * 512 for path in old))
    assert found.oldest == (lab.clock.now() - timedelta(days=4)).isoformat(timespec="seconds")
    assert found.newest == (lab.clock.now() - timedelta(days=2)).isoformat(timespec="seconds")
    assert found.stays == {"young": 1}


def test_what_is_planned_is_what_a_run_removes(lab: Any) -> None:
    own_rule(lab, spare=["*.keep"], keep_newest=1)
    for days in (0.9, 1.1, 3, 29.9, 30.1, 90):
        for root, name in (("logs", "a.log"), ("temp", "图")):
            lab.aged(root, f"{days}{name}", days)
    lab.aged("temp", "证据.keep", 99)
    plans = plan_folders(lab.place())
    told = lab.document()
    files = {plan.name: plan.files.value for plan in plans if plan.files}
    assert files == {"logs": 2, "图片": 2}
    assert (told["logs_cleaned"], told["folder_files_cleaned"]) == (2, 2)
    assert sum(plan.bytes.value for plan in plans if plan.bytes) == told["bytes_freed"]


def test_one_nanosecond_decides_as_in_a_run(lab: Any) -> None:
    for name, plus in (("同龄.tmp", 0), ("旧.tmp", -1)):
        path = lab.aged("temp", name, days=0)
        stamp = int((lab.clock.now() - timedelta(hours=24)).timestamp()) * 10**9 + plus
        os.utime(path, ns=(stamp, stamp))
    assert planned(lab).files == Figure.exactly(1)


def test_what_goes_early_because_of_the_cap_is_told(lab: Any) -> None:
    lab.clock.advance(datetime.now(UTC) + timedelta(days=2) - lab.clock.now())  # no clock sets a file's ctime
    own_rule(lab, cap="8 kB", low_water="5 kB")
    for number in range(4):
        lab.aged("temp", f"{number}.jpg", days=1 + number)
    found = planned(lab, "图片")
    assert (found.files, found.evicted) == (Figure.exactly(3), 3)
    assert found.stays == {"young": 1}


def test_what_would_be_refused_stays_with_its_reason(lab: Any) -> None:
    path = lab.aged("temp", "两名.tmp", days=3)
    (lab.home / "other").hardlink_to(path)
    found = planned(lab)
    assert (found.files, found.stays) == (Figure.exactly(0), {"hard_link": 1})


def test_a_guard_that_would_hold_a_run_is_told_in_its_words(lab: Any) -> None:
    lab.with_settings(guards=structs.replace(GuardSettings(), folder_files=5, clock_s=10**9))
    for number in range(6):
        lab.aged("temp", f"{number}.tmp", days=3)
    found = planned(lab)
    assert (found.state, found.files) == ("held", Figure.exactly(6))
    (told,) = [folder for folder in lab.document()["folders"] if folder["root"] == "temp"]
    assert (told["state"], found.reasons[0]) == ("held", told["reasons"][0])
    lab.with_settings(guards=structs.replace(lab.settings.guards, enabled=False))
    assert planned(lab).state == "go"


def test_a_held_root_is_told_and_not_looked_through(lab: Any) -> None:
    lab.aged("temp", "a.tmp", days=3)
    (lab.folders["temp"] / MARKER).unlink()
    found = planned(lab)
    assert (found.state, found.files, found.bytes, found.root_files) == ("held", None, None, None)
    assert "gengfu roots init temp" in found.reasons[0]


def test_a_walk_out_of_time_tells_the_least_and_that_it_does(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_plan, "_WALK_S", 0.0)
    own_rule(lab, cap="1 kB")
    lab.aged("temp", "旧.jpg", days=99)
    found = planned(lab, "图片")
    assert found.files is not None
    assert (found.files.high, found.files.exact) == (None, False)
    assert any("there may be more" in warning for warning in found.warnings)
    assert any("cap" in warning for warning in found.warnings)


def test_another_rule_of_the_root_that_spares_a_file_counts_also_where_it_is_not_asked_for(lab: Any) -> None:
    own_rule(lab, keep="60d", spare=["*.keep"])
    lab.with_settings(temp_roots=["temp"])
    lab.aged("temp", "图.keep", days=90)
    lab.aged("temp", "a.tmp", days=90)
    (found,) = plan_folders(lab.place(), ["temp"])
    assert (found.files, found.stays) == (Figure.exactly(1), {"spared": 1})


def test_rules_of_rows_and_of_folders_are_chosen_by_name(lab: Any) -> None:
    rows, folders = plan_all(lab.place())
    assert ([plan.name for plan in rows], [plan.name for plan in folders]) == (
        ["completed", "failed"],
        ["logs", "temp"],
    )
    rows, folders = plan_all(lab.place(), ["failed", "temp"])
    assert ([plan.name for plan in rows], [plan.name for plan in folders]) == (["failed"], ["temp"])
    with pytest.raises(BadArgument, match='did you mean "temp"'):
        plan_all(lab.place(), ["tempp"])


def test_a_plan_of_folders_has_no_way_to_write_or_remove(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.aged("temp", "old.tmp", 3)
    lab.aged("logs", "old.log", 60)
    files = lab.on_disk()

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError

    for method in ("write", "maintain"):
        monkeypatch.setattr(Database, method, never)
    monkeypatch.setattr(Root, "__init__", never)
    for name in ("unlink", "remove", "rename", "replace", "rmdir", "mkdir"):
        monkeypatch.setattr(os, name, never)
    assert [plan.files for plan in plan_folders(lab.place())] == [Figure.exactly(1), Figure.exactly(1)]
    assert lab.on_disk() == files
