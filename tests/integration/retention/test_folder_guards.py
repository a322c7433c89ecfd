"""When the folder rules of a root stop before their first removal, and what an approval lets pass."""

from typing import Any

import pytest
from msgspec import structs

from app.core.errors import BadArgument
from app.core.settings_reader import read
from app.retention.cleanup import cleanup_expired
from app.retention.rule_runs import RuleRuns
from app.retention.rule_settings import FolderRuleSettings, GuardSettings

_SMALL = {"folder_files": 5, "clock_s": 10**9}


@pytest.fixture
def guarded(lab: Any) -> Any:
    lab.with_settings(guards=structs.replace(GuardSettings(), **_SMALL))
    return lab


def temporary(lab: Any, *, old: int, young: int = 0, start: int = 0) -> None:
    for number in range(start, start + old + young):
        lab.aged("temp", f"深/临时{number}.tmp", days=3 if number < start + old else 0)


def temp(document: dict[str, Any]) -> dict[str, Any]:
    return next(folder for folder in document["folders"] if folder["root"] == "temp")


def left(lab: Any) -> int:
    return sum(root == "temp" for root, _ in lab.on_disk())


def test_more_than_half_and_more_than_the_number_of_a_roots_files_are_held(guarded: Any) -> None:
    temporary(guarded, old=6, young=5)
    result = guarded.run("夜1")
    told = temp(result.document)
    assert (result.state, result.success, left(guarded)) == ("held", False, 11)
    assert (told["state"], told["removed"]) == ("held", 0)
    assert "6 of the 11 files of root temp (55 %)" in told["reasons"][0]
    assert told["reasons"][-1].endswith("`gengfu retention approve 夜1`")
    assert any("folders:temp" in error for error in result.document["errors"])


@pytest.mark.parametrize(("old", "young"), [(5, 0), (6, 6)])
def test_few_files_and_half_of_them_just_go(guarded: Any, old: int, young: int) -> None:
    temporary(guarded, old=old, young=young)
    assert guarded.document()["temp_files_cleaned"] == old
    assert left(guarded) == young


def test_an_approval_serves_once_and_what_was_done_once_is_nothing_new(guarded: Any) -> None:
    temporary(guarded, old=8)
    runs = RuleRuns(guarded.database, guarded.clock)
    guarded.run("r1")
    runs.approve("r1", "小王")
    assert guarded.document("r2")["temp_files_cleaned"] == 8
    with pytest.raises(BadArgument, match="approved already"):
        runs.approve("r1", "小王")
    temporary(guarded, old=24)
    assert guarded.document("r3")["temp_files_cleaned"] == 24
    (last, *_) = runs.last("folders:temp", 1)
    assert (last.state, last.expired, last.table_rows, last.files) == ("done", 24, 24, 24)
    temporary(guarded, old=73)
    assert guarded.run("r4").state == "held"


def test_an_approval_does_not_cover_many_more_files_nor_another_rule(guarded: Any) -> None:
    temporary(guarded, old=6)
    runs = RuleRuns(guarded.database, guarded.clock)
    guarded.run("r1")
    runs.approve("r1", "小王")
    temporary(guarded, old=13)
    assert guarded.run("r2").state == "held"
    runs.approve("r2", "小王")
    guarded.with_settings(temp_files_hours=30)
    assert guarded.run("r3").state == "held"
    assert left(guarded) == 13


def test_other_roots_and_rows_go_on_beside_a_held_one(guarded: Any) -> None:
    temporary(guarded, old=9)
    guarded.aged("logs", "old.log", days=99)
    guarded.task()
    told = guarded.document()
    assert (told["tasks_cleaned"], told["logs_cleaned"], told["temp_files_cleaned"]) == (1, 1, 0)


def test_a_dry_run_tells_what_would_be_held_and_writes_nothing(guarded: Any) -> None:
    temporary(guarded, old=9)
    told = guarded.document(dry_run=True)
    assert (told["state"], told["temp_files_cleaned"], temp(told)["state"]) == ("held", 0, "held")
    assert RuleRuns(guarded.database, guarded.clock).last("folders:temp", 1) == []


def test_without_guards_all_goes(guarded: Any) -> None:
    guarded.with_settings(guards=structs.replace(guarded.settings.guards, enabled=False))
    temporary(guarded, old=9)
    assert guarded.document()["temp_files_cleaned"] == 9


@pytest.mark.parametrize("which", [{"only": "temp"}, {"rules": ["temp"]}, {}])
@pytest.mark.parametrize("dry_run", [True, False])
def test_what_another_rule_of_the_root_spares_stays_also_in_a_run_without_it(
    lab: Any, which: dict[str, Any], *, dry_run: bool
) -> None:
    """A rule that was not asked for removes nothing, but its word still counts."""
    mine = {"root": "temp", "keep": "2d", "age": "modified", "match": ["*.bak"], "spare": ["*.keep"], "keep_newest": 1}
    lab.with_settings(folders={"mine": read(FolderRuleSettings, mine)}, temp_files_hours=96)
    for name, days in (("图.keep", 9), ("1.bak", 9), ("2.bak", 8), ("3.bak", 3), ("4.tmp", 9)):
        lab.aged("temp", name, days=days)
    lab.aged("temp", "子/唯一.bak", days=9)
    told = cleanup_expired(lab.place(), run_id="r1", dry_run=dry_run, **which).document
    assert told["temp_files_cleaned"] == 3
    assert [folder["name"] for folder in told["folders"] if folder["root"] == "temp"] == (
        ["temp", "mine"] if which == {} else ["temp"]
    )
    if not dry_run:
        assert {path for root, path in lab.on_disk() if root == "temp"} == {"图.keep", "3.bak", "子/唯一.bak"}
