"""When a rule stops before its first delete, and what an approval lets pass."""

import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from msgspec import structs
from sqlalchemy import delete, insert, select, text, update

from app.core.errors import BadArgument
from app.core.own_tables import rule_run
from app.core.settings_reader import read
from app.demo import schema
from app.retention import guards
from app.retention.guards import judge
from app.retention.rule_runs import KEPT, RuleRuns, deleted_up_to
from app.retention.rule_settings import GuardSettings, RowRuleSettings
from app.retention.rules import RowRule, row_rules
from app.retention.verdict import Verdict
from app.retention.workplace import Stage

DAY = timedelta(days=1)
SMALL = {"rows": 20, "whole_table": 10, "clock_s": 10**9}
"""Limits at which a few dozen rows are much."""


def guarded(lab: Any, **limits: Any) -> None:
    lab.with_settings(guards=structs.replace(GuardSettings(), **SMALL | limits))


def rows(lab: Any, number: int, *, days: float, status: str = "completed") -> None:
    finished = lab.now - timedelta(days=days)
    values = {"task_type": "识别", "status": status, "updated_at": lab.now, "retry_count": 0}
    times = {"created_at": finished - timedelta(minutes=1), "completed_at": finished}
    with lab.database.write() as connection:
        connection.execute(
            insert(schema.tasks),
            [{"id": lab.keys + n, "task_id": f"任务{lab.keys + n}", **values, **times} for n in range(1, number + 1)],
        )
    lab.keys += number


def rule(lab: Any, name: str = "completed") -> RowRule:
    place = lab.place()
    return next(one for one in row_rules(place.source, place.settings, place.folders) if one.name == name)


def verdict(lab: Any, run_id: str = "r1", name: str = "completed", **parts: Any) -> Verdict:
    return judge(lab.place(**parts), rule(lab, name), lab.now, run_id)


def codes(found: Verdict) -> list[str]:
    return [reason.code for reason in found.found]


def went(lab: Any, run_id: str, name: str = "completed", **parts: Any) -> Verdict:
    """A run of which only the book-keeping is made."""
    found = verdict(lab, run_id, name, **parts)
    runs = RuleRuns(lab.database, lab.clock)
    runs.begin(run_id, rule(lab, name), lab.now - rule(lab, name).keep, found)
    if found.state == "go":
        runs.finish(run_id, name, "done", rows=found.expired or 0)
    lab.clock.advance(timedelta(days=1))
    return found


def test_an_ordinary_first_run_just_goes(lab: Any) -> None:
    rows(lab, 60, days=40)
    rows(lab, 3, days=1)
    found = verdict(lab)
    assert (found.state, found.reasons, found.expired, found.table_rows) == ("go", (), 60, 63)


def test_a_small_table_is_not_held_for_going_as_a_whole(lab: Any) -> None:
    guarded(lab, rows=1000, whole_table=60)
    rows(lab, 60, days=40)
    assert verdict(lab).state == "go"


@pytest.mark.parametrize(("expired", "held"), [(30, False), (31, True)])
def test_more_than_the_share_of_a_table_is_held(lab: Any, expired: int, held: bool) -> None:  # noqa: FBT001 - a case
    guarded(lab)
    rows(lab, expired, days=40)
    rows(lab, 100 - expired, days=1)
    found = verdict(lab)
    assert (found.state, codes(found)) == (("held", ["share"]) if held else ("go", []))


@pytest.mark.parametrize(("limit", "held"), [(51, False), (50, True)])
def test_few_rows_are_not_held_whatever_their_share(lab: Any, limit: int, held: bool) -> None:  # noqa: FBT001 - a case
    guarded(lab, rows=limit)
    rows(lab, 51, days=40)
    rows(lab, 49, days=1)
    assert (codes(verdict(lab)) == ["share"]) is held


def test_the_reason_tells_figures_and_the_way_out(lab: Any) -> None:
    guarded(lab)
    rows(lab, 51, days=40)
    rows(lab, 49, days=1)
    why, way_out = verdict(lab, "abc").reasons
    assert why.startswith("would delete 51 of 100 rows of tasks (51 %); more than 30 % and 20 rows, and no earlier run")
    assert way_out == "if this is right let it pass once: `gengfu retention approve abc`"


def test_a_share_that_an_earlier_run_deleted_is_nothing_new(lab: Any) -> None:
    guarded(lab)
    rows(lab, 51, days=40)
    rows(lab, 49, days=1)
    assert went(lab, "r1").state == "held"
    RuleRuns(lab.database, lab.clock).approve("r1", "root")
    assert went(lab, "r2").state == "go"
    assert verdict(lab, "r3").state == "go"


def test_more_than_three_times_the_usual_is_held(lab: Any) -> None:
    guarded(lab, share=1.0)
    rows(lab, 10, days=40)
    rows(lab, 200, days=1)
    for night in range(3):
        assert went(lab, f"n{night}").state == "go"
    rows(lab, 20, days=40)
    assert verdict(lab).state == "go"  # 30 are three times the usual ten
    rows(lab, 1, days=40)
    found = verdict(lab)
    assert codes(found) == ["unusual"]
    assert "more than 3 times the 10 that are usual (median of the last 3 runs)" in found.reasons[0]


def test_every_row_of_a_larger_table_is_held(lab: Any) -> None:
    guarded(lab, rows=1000)
    rows(lab, 11, days=40)
    assert codes(verdict(lab)) == ["nothing_younger", "whole_table"]


def test_a_table_in_which_something_stays_is_not_going_as_a_whole(lab: Any) -> None:
    guarded(lab, rows=1000)
    rows(lab, 11, days=40)
    rows(lab, 1, days=100, status="pending")
    assert codes(verdict(lab)) == ["nothing_younger"]


def test_a_row_newer_than_the_cutoff_shows_that_the_application_lives(lab: Any) -> None:
    guarded(lab, rows=1000)
    rows(lab, 11, days=40)
    rows(lab, 1, days=0.01, status="processing")
    assert verdict(lab).state == "go"


def test_a_finish_time_in_the_future_is_held(lab: Any) -> None:
    guarded(lab, rows=1000, clock_s=60)
    rows(lab, 11, days=40)
    rows(lab, 1, days=-1)
    found = verdict(lab, clock=replace_clock(lab, 0))
    assert codes(found) == ["future"]
    assert f"id {lab.keys}" in found.reasons[0]


@pytest.mark.parametrize(("seconds", "held"), [(50, False), (-50, False), (75, True), (-75, True)])
def test_clocks_that_differ_are_held(lab: Any, seconds: int, held: bool) -> None:  # noqa: FBT001 - a case
    guarded(lab, clock_s=60)
    rows(lab, 5, days=40)
    assert (codes(verdict(lab, clock=replace_clock(lab, seconds))) == ["clocks"]) is held


def test_a_database_a_year_ahead_can_not_be_approved(lab: Any) -> None:
    guarded(lab, clock_s=60)
    rows(lab, 5, days=40)
    found = verdict(lab, clock=replace_clock(lab, -365 * 86_400))
    assert (found.state, codes(found)) == ("held", ["cutoff"])
    assert "approve" not in " ".join(found.reasons)


def replace_clock(lab: Any, seconds: float) -> Any:
    """A host's clock that differs from the database's by so much."""
    from app.core.clock import ManualClock
    from app.retention.expiry import frozen_now

    with lab.database.read() as connection:
        return ManualClock(frozen_now(connection) + timedelta(seconds=seconds))


def test_changed_columns_are_held_once_more_people_have_looked(lab: Any) -> None:
    rows(lab, 5, days=40)
    assert went(lab, "r1").state == "go"
    assert went(lab, "r2").state == "go"
    with lab.database.write() as connection:
        connection.execute(text("ALTER TABLE tasks RENAME COLUMN image_path TO old_path"))
        connection.execute(text("ALTER TABLE tasks ADD COLUMN image_path VARCHAR(300)"))
    found = went(lab, "r3")
    assert (found.state, codes(found)) == ("held", ["columns"])
    RuleRuns(lab.database, lab.clock).approve("r3", "root")
    assert went(lab, "r4").state == "go"
    assert verdict(lab, "r5").state == "go"


@pytest.mark.parametrize(("before", "held"), [(4, False), (3, True)])
def test_a_rule_that_now_deletes_ten_times_more_is_held(lab: Any, before: int, held: bool) -> None:  # noqa: FBT001 - a case
    guarded(lab, rows=1000)
    rows(lab, before, days=40)
    rows(lab, 40 - before, days=20)
    rows(lab, 60, days=1)
    assert went(lab, "r1").expired == before
    lab.with_settings(completed_tasks_days=10)
    found = verdict(lab)
    assert (codes(found) == ["rule_changed"]) is held
    if held:
        assert "would now delete 40 rows instead of 3" in found.reasons[0]


def test_a_rule_that_was_pointed_at_another_table_is_held(lab: Any) -> None:
    guarded(lab, rows=1000)
    with lab.database.write() as connection:
        connection.execute(text("CREATE TABLE 旧任务 (id INTEGER PRIMARY KEY, done TIMESTAMP)"))
        connection.execute(text("CREATE INDEX i1 ON 旧任务 (done)"))
    lab.with_settings(rules={"own": read(RowRuleSettings, {"table": "旧任务", "finished": "done", "keep": "30d"})})
    assert went(lab, "r1", "own").state == "go"
    rows(lab, 11, days=40)
    rows(lab, 11, days=1)
    lab.with_settings(
        rules={"own": read(RowRuleSettings, {"table": "tasks", "finished": "completed_at", "keep": "30d"})}
    )
    assert set(codes(verdict(lab, "r2", "own"))) == {"columns", "rule_changed"}


def test_a_rule_without_a_status_word_can_not_be_approved(lab: Any) -> None:
    rows(lab, 5, days=40)
    empty = replace(rule(lab), words=())
    found = judge(lab.place(), empty, lab.now, "r1")
    assert (found.state, codes(found)) == ("held", ["empty_rule"])
    assert "approve" not in " ".join(found.reasons)
    runs = RuleRuns(lab.database, lab.clock)
    runs.begin("r1", empty, lab.now, found)
    with pytest.raises(BadArgument, match="can't be approved"):
        runs.approve("r1", "root")


def test_a_cutoff_in_the_future_is_held_even_without_guards(lab: Any) -> None:
    guarded(lab, enabled=False)
    rows(lab, 5, days=40)
    hasty = replace(rule(lab), keep=timedelta(minutes=-1))
    assert codes(judge(lab.place(), hasty, lab.now, "r1")) == ["cutoff"]


def test_without_guards_nothing_else_is_held(lab: Any) -> None:
    guarded(lab, enabled=False)
    rows(lab, 51, days=40)
    assert verdict(lab).state == "go"


def test_an_approval_serves_once(lab: Any) -> None:
    guarded(lab, share=0.1)
    rows(lab, 51, days=40)
    rows(lab, 49, days=1)
    assert went(lab, "r1").state == "held"
    approved = RuleRuns(lab.database, lab.clock).approve("r1", "值班员")
    assert [(run.rule, run.codes) for run in approved] == [("completed", {"share"})]
    found = went(lab, "r2")
    assert (found.state, codes(found), found.approval) == ("go", ["share"], "r1")
    used = next(run for run in RuleRuns(lab.database, lab.clock).last("completed", 9) if run.run_id == "r1")
    assert (used.approved_by, used.approval_used_by) == ("值班员", "r2")
    with pytest.raises(BadArgument, match="approved already, used by run r2"):
        RuleRuns(lab.database, lab.clock).approve("r1", "root")


def test_an_approval_lets_no_new_reason_pass(lab: Any) -> None:
    guarded(lab)
    rows(lab, 31, days=40)
    rows(lab, 69, days=1)
    assert codes(went(lab, "r1")) == ["share"]
    RuleRuns(lab.database, lab.clock).approve("r1", "root")
    with lab.database.write() as connection:
        connection.execute(text("UPDATE tasks SET completed_at = NULL WHERE status = 'completed' AND id > 31"))
        connection.execute(text("UPDATE tasks SET created_at = '2020-01-01 00:00:00' WHERE id > 31"))
    found = went(lab, "r2")
    assert (found.state, codes(found)) == ("held", ["share", "nothing_younger"])
    assert open_approvals(lab) == []


def test_an_approval_does_not_cover_many_more_rows(lab: Any) -> None:
    guarded(lab, share=0.01)
    rows(lab, 22, days=40)
    rows(lab, 100, days=1)
    lab.with_settings(guards=structs.replace(lab.settings.guards, rows=21))
    assert codes(went(lab, "r1")) == ["share"]
    RuleRuns(lab.database, lab.clock).approve("r1", "root")
    lab.with_settings(guards=structs.replace(lab.settings.guards, rows=50))
    rows(lab, 40, days=40)
    assert went(lab, "r2").state == "held"


def test_an_approval_is_of_a_figure_and_not_of_a_bound(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where counting ended, the number of rows would be the same however many there are."""
    monkeypatch.setattr(guards, "EXACT", 10)
    guarded(lab)
    rows(lab, 35, days=40)
    rows(lab, 65, days=1)
    found = went(lab, "r1")
    assert (found.state, found.expired, found.expired_is_bound) == ("held", 35, False)
    assert found.reasons[0].startswith("would delete 35 of 100 rows")
    RuleRuns(lab.database, lab.clock).approve("r1", "root")
    with lab.database.write() as connection:
        connection.execute(update(schema.tasks).where(schema.tasks.c.id <= 71).values(completed_at=lab.now - 41 * DAY))
        connection.execute(update(schema.tasks).values(created_at=lab.now - 50 * DAY))
    assert (went(lab, "r2").state, verdict(lab).expired) == ("held", 71)


@pytest.mark.parametrize(("most", "expected"), [(None, (11, "bound")), (35, (11, "bound")), (5, (5, "exact"))])
def test_a_stage_tells_whether_its_total_is_a_bound(
    lab: Any, monkeypatch: pytest.MonkeyPatch, most: int | None, expected: tuple[int, str]
) -> None:
    monkeypatch.setattr(guards, "EXACT", 10)
    guarded(lab, enabled=False, rows=10, clock_s=10**9)
    rows(lab, 35, days=40)
    rule = {"table": "tasks", "finished": "completed_at", "keep": "30d"} | ({"max_rows": most} if most else {})
    lab.with_settings(rules={"旧": read(RowRuleSettings, rule)}, default_rules=False)
    stages: list[Stage] = []
    lab.run(on_stage=stages.append)
    assert [(stage.total, stage.total_is) for stage in stages if stage.kind == "rule"] == [expected]


def test_the_planner_guesses_the_total_where_it_guesses_more(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if lab.database.dialect != "postgresql":
        pytest.skip("SQLite guesses nothing")
    monkeypatch.setattr(guards, "EXACT", 10)
    guarded(lab, enabled=False, rows=10)
    rows(lab, 300, days=40)
    with lab.database.write() as connection:
        connection.execute(text("ANALYZE tasks"))
    found = verdict(lab)
    assert (found.expired_is_bound, (found.expired or 0) < 300) == (True, True)
    assert 250 <= (found.likely or 0) <= 350


def test_an_approval_is_used_up_by_a_run_without_guards_too(lab: Any) -> None:
    guarded(lab)
    rows(lab, 51, days=40)
    rows(lab, 49, days=1)
    assert went(lab, "r1").state == "held"
    RuleRuns(lab.database, lab.clock).approve("r1", "root")
    guarded(lab, enabled=False)
    with_approval = verdict(lab, "r2")
    assert (with_approval.state, with_approval.approval) == ("go", "r1")


def test_an_approval_is_for_the_rule_as_it_was(lab: Any) -> None:
    guarded(lab)
    rows(lab, 51, days=40)
    rows(lab, 49, days=1)
    assert went(lab, "r1").state == "held"
    RuleRuns(lab.database, lab.clock).approve("r1", "root")
    lab.with_settings(completed_tasks_days=29)
    assert went(lab, "r2").state == "held"


def test_what_can_not_be_approved_is_said(lab: Any) -> None:
    guarded(lab)
    rows(lab, 51, days=40)
    rows(lab, 49, days=1)
    runs = RuleRuns(lab.database, lab.clock)
    assert went(lab, "r1").state == "held"
    assert went(lab, "r2").state == "held"
    with pytest.raises(BadArgument, match="judged again by run r2"):
        runs.approve("r1", "root")
    with pytest.raises(BadArgument, match="there is no run 'r9'"):
        runs.approve("r9", "root")
    with pytest.raises(BadArgument, match="did not hold the rule 'failed'"):
        runs.approve("r2", "root", ["failed"])
    went(lab, "f1", "failed")
    with pytest.raises(BadArgument, match="held nothing"):
        runs.approve("f1", "root")


def test_a_killed_run_is_remembered_as_interrupted(lab: Any) -> None:
    rows(lab, 5, days=40)
    runs = RuleRuns(lab.database, lab.clock)
    runs.begin("r1", rule(lab), lab.now, verdict(lab))
    lab.clock.advance(timedelta(days=1))
    went(lab, "r2")
    assert [(run.run_id, run.state) for run in runs.last("completed", 9)] == [("r2", "done"), ("r1", "interrupted")]


def test_a_killed_run_may_have_deleted_up_to_its_cutoff(lab: Any) -> None:
    """And so may one that is at work; what a held one would have deleted is there."""
    rows(lab, 51, days=40)
    runs = RuleRuns(lab.database, lab.clock)
    guarded(lab)
    runs.begin("r0", rule(lab), lab.now, verdict(lab))
    assert deleted_up_to_now(lab) is None
    guarded(lab, enabled=False)
    runs.begin("r1", rule(lab), lab.now, verdict(lab))
    assert deleted_up_to_now(lab) == lab.now
    with lab.database.write() as connection:
        connection.execute(delete(schema.tasks))
    lab.clock.advance(DAY)
    went(lab, "r2")
    assert deleted_up_to_now(lab) == lab.now


def deleted_up_to_now(lab: Any) -> Any:
    with lab.database.read() as connection:
        return deleted_up_to(connection, ["completed"])


def test_the_history_of_a_rule_is_bounded(lab: Any) -> None:
    now = lab.clock.now()
    with lab.database.write() as connection:
        connection.execute(
            insert(rule_run),
            [
                {"run_id": uuid.uuid4().hex, "rule": name, "started_at": now - timedelta(hours=n), "cutoff": now}
                | {"state": "done", "rows": 0, "children": 0, "files": 0, "bytes": 0}
                for name, many in (("completed", KEPT + 5), ("failed", 3))
                for n in range(1, many + 1)
            ],
        )
    went(lab, "r1")
    with lab.database.read() as connection:
        kept = connection.execute(select(rule_run.c.rule)).scalars().all()
    assert (kept.count("completed"), kept.count("failed")) == (KEPT, 3)


def test_judging_writes_nothing(lab: Any) -> None:
    guarded(lab)
    rows(lab, 51, days=40)
    verdict(lab)
    with lab.database.read() as connection:
        assert connection.execute(select(rule_run)).all() == []


def open_approvals(lab: Any) -> list[str]:
    with lab.database.read() as connection:
        statement = select(rule_run.c.run_id).where(
            rule_run.c.approved_at.is_not(None), rule_run.c.approval_used_by.is_(None)
        )
        return list(connection.execute(statement).scalars())
