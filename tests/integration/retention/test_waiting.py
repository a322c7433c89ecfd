"""What `gengfu retention status` lists as waiting for somebody, and the command that lets it go on."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec import structs
from retention_kills import Stopped, stop
from sqlalchemy import insert

from app.core.own_tables import run as job_run
from app.core.safe_files import MARKER
from app.core.settings_reader import read
from app.core.source_tables import SourceSettings, map_source_tables
from app.retention.rule_runs import RuleRuns
from app.retention.rule_settings import GuardSettings, RowRuleSettings
from app.retention.status import retention_status

_STRICT = structs.replace(GuardSettings(), rows=1, folder_files=1, clock_s=10**9)


def held(lab: Any) -> list[dict[str, Any]]:
    source = map_source_tables(SourceSettings())
    found: list[dict[str, Any]] = retention_status(lab.database, source, lab.settings, lab.folders)["held"]
    return found


def in_short(lab: Any) -> list[tuple[str, str, str, str | None]]:
    return [(one["kind"], one["name"], one["state"], one["go_on"]) for one in held(lab)]


def test_nothing_waits_where_nothing_is_held(lab: Any) -> None:
    lab.task()
    lab.run()
    assert held(lab) == []


def test_a_held_root_is_told_with_its_mend_and_the_rules_that_wait(lab: Any) -> None:
    for root in ("temp", "receipts"):
        (lab.folders[root] / MARKER).unlink()
    receipts, temp = held(lab)
    assert (receipts["kind"], receipts["name"], receipts["rules"]) == ("root", "receipts", ["completed", "failed"])
    assert (temp["name"], temp["rules"], temp["go_on"]) == ("temp", ["temp"], "gengfu roots init temp")
    assert "is its volume mounted?" in temp["reasons"][0]


def test_a_root_that_no_rule_uses_holds_nobody(lab: Any) -> None:
    lab.with_settings(default_rules=False, temp_roots=[])
    for root in ("uploads", "temp"):
        (lab.folders[root] / MARKER).unlink()
    assert held(lab) == []


def test_rules_of_rows_and_of_folders_held_by_one_run_are_approved_one_by_one(lab: Any) -> None:
    lab.with_settings(guards=_STRICT)
    for number in range(2):
        lab.task()
        lab.aged("temp", f"{number}.tmp", days=3)
    lab.run("夜 1")
    assert in_short(lab) == [
        ("rule", "completed", "held", "gengfu retention approve '夜 1' --rule completed"),
        ("folders", "folders:temp", "held", "gengfu retention approve '夜 1' --rule folders:temp"),
    ]
    RuleRuns(lab.database, lab.clock).approve("夜 1", "小王", ["completed"])
    assert in_short(lab)[0][-1] == "gengfu retention run"
    assert held(lab)[0]["approved_by"] == "小王"
    lab.run("夜2")
    assert in_short(lab) == [("folders", "folders:temp", "held", "gengfu retention approve '夜2'")]
    (temp,) = held(lab)
    assert "2 of the 2 files of root temp" in temp["reasons"][0]


def test_since_is_when_the_first_of_the_runs_in_a_row_was_stopped(lab: Any) -> None:
    lab.with_settings(guards=_STRICT)
    lab.run("空")  # nothing to delete: it went
    first = lab.clock.now() + timedelta(days=1)
    lab.task()
    lab.task()
    for night in range(3):
        lab.clock.advance(timedelta(days=1))
        lab.run(f"夜{night}")
    (rule,) = held(lab)
    assert (rule["run_id"], rule["since"]) == ("夜2", first.isoformat(timespec="seconds"))


def test_what_no_approval_lets_pass_names_no_command(lab: Any) -> None:
    lab.task()
    lab.with_settings(guards=structs.replace(GuardSettings(), clock_s=60))  # the lab's clock stands months behind
    lab.run()
    assert in_short(lab) == [("rule", "completed", "held", None), ("rule", "failed", "held", None)]


def test_a_refused_rule_points_to_the_check_and_hides_no_other(lab: Any) -> None:
    if lab.database.dialect == "sqlite":
        pytest.skip("SQLite has no type for times")
    rule = {"table": "tasks", "finished": "task_type", "keep": "30d", "order": 1}
    lab.with_settings(rules={"own": read(RowRuleSettings, rule)})
    lab.task()
    told = lab.document()
    assert [one["state"] for one in told["rules"] if one["name"] == "own"] == ["refused"]
    assert in_short(lab) == [("rule", "own", "refused", "gengfu retention check")]
    source = map_source_tables(SourceSettings())
    facts = retention_status(lab.database, source, lab.settings, lab.folders)
    assert {"completed", "failed"} <= {state["rule"] for state in facts["rules"]}


@pytest.mark.parametrize(
    ("job", "told"),
    [
        (None, "running"),
        ({"state": "running", "silent": 119}, "running"),
        ({"state": "running", "silent": 120}, "interrupted"),
        ({"state": "interrupted", "silent": 0}, "interrupted"),
    ],
)
def test_a_rule_is_at_work_only_as_long_as_its_run_is(
    lab: Any, monkeypatch: pytest.MonkeyPatch, job: dict[str, Any] | None, told: str
) -> None:
    monkeypatch.setattr("app.retention.status.frozen_now", lambda _: lab.now)
    lab.task()
    with pytest.raises(Stopped):
        lab.run("r1", checkpoint=lambda point: stop() if point == "batch committed" else None)
    if job is not None:
        signed = lab.now - timedelta(seconds=job["silent"])
        row = {"id": "r1", "job": "cleanup-expired-tasks", "trigger": "shell", "attempt": 1, "state": job["state"]}
        with lab.database.write() as connection:
            connection.execute(insert(job_run).values(**row, started_at=signed, heartbeat_at=signed))
    source = map_source_tables(SourceSettings())
    rules = retention_status(lab.database, source, lab.settings, lab.folders)["rules"]
    assert {rule["rule"]: rule["last"] and rule["last"]["state"] for rule in rules} == {
        "completed": told,
        "failed": None,
    }
