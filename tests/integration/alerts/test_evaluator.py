"""Evaluations on each database: what is written, what is told with it, and two at once."""

import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, select

from app.alerts.alert import Alert
from app.alerts.life import instance_rows
from app.alerts.life.evaluator import Evaluator
from app.alerts.life.instance import Instance, Transition
from app.alerts.rules import latest_readings
from app.alerts.rules.default_rules import DEFAULT_RULES
from app.alerts.rules.readings import Reading
from app.alerts.settings import AlertSettings
from app.core.clock import ManualClock
from app.core.database import Database
from app.core.errors import DatabaseBusy
from app.core.own_tables import alert_event, alert_instance
from app.core.settings_reader import read

MINUTE = timedelta(minutes=1)


class Desk:
    """An evaluator whose announcements are written down within the transaction."""

    def __init__(self, database: Database, clock: ManualClock, **rules: Any) -> None:
        self.database, self.clock = database, clock
        self.told: list[str] = []
        self.settings = read(AlertSettings, {"rules": rules})
        self.evaluator = Evaluator(database, clock, self.settings, self.announce)

    def announce(self, _connection: Connection, transitions: Sequence[Transition], _at: datetime) -> None:
        self.told += [transition.event for transition in transitions]

    def disk(self, usage: float, mount: str = "/数据", **options: Any) -> list[str]:
        return events(self.evaluator.evaluate("disk", disk(usage, mount), **options).transitions)

    def stored(self) -> list[Instance]:
        with self.database.read() as connection:
            return instance_rows.load(connection)

    def history(self) -> list[tuple[str, str]]:
        with self.database.read() as connection:
            rows = connection.execute(select(alert_event).order_by(alert_event.c.id))
            return [(row.event, row.level) for row in rows]


def disk(usage: float, mount: str = "/数据") -> dict[str, Any]:
    steady = {"method": None, "hours_left": None, "full_at": None, "verdict": "steady"}
    found = {"mount": mount, "usage_percent": usage, "inodes_percent": 5.0, "free_gb": 1.0, "forecast": steady}
    return {"mounts": [{**found, "inode_forecast": None}], "errors": []}


def events(transitions: Sequence[Transition]) -> list[str]:
    return [transition.event for transition in transitions]


def alert(name: str = "积压", **changes: Any) -> Alert:
    return Alert(type=name, alertname=name, rule=name, **{"severity": "error", "message": "m", **changes})


@pytest.fixture
def desk(database: Database, clock: ManualClock) -> Desk:
    return Desk(database, clock)


def test_a_life_is_written_with_all_its_events_and_told_once_each(desk: Desk) -> None:
    assert [desk.disk(usage, sparse=True) for usage in (85.0, 85.5, 95.0, 60.0)] == [
        ["firing"],
        [],
        ["escalated"],
        ["resolved"],
    ]
    assert desk.told == ["firing", "escalated", "resolved"]
    assert desk.history() == [("firing", "warning"), ("escalated", "critical"), ("resolved", "critical")]
    (stored,) = desk.stored()
    assert (stored.state, stored.episode, stored.version) == ("resolved", 1, 4)


def test_what_is_loaded_is_what_was_written(desk: Desk) -> None:
    rows = {"disk_usage_high": {"annotations": {"summary": "{mount} 满了"}, "n_of_m": "1 of 3", "for": "0s"}}
    own = Desk(desk.database, desk.clock, **rows)
    seen: list[Instance] = []
    for usage, step in ((85.25, 0), (95.0, 1), (60.0, 2), (86.0, 3), (60.0, 4), (60.0, 9)):
        own.clock.advance(step * MINUTE)
        seen += [one.instance for one in own.evaluator.evaluate("disk", disk(usage)).transitions]
        (stored,) = own.stored()
        if seen and seen[-1].version == stored.version:
            assert stored == seen[-1]
    assert stored.annotations == {"summary": "/数据 满了"}
    assert len(stored.changes) >= 3


def test_an_evaluation_returns_what_is_open_whether_it_changed_or_not(desk: Desk) -> None:
    desk.disk(85.0, sparse=True)
    (same,) = desk.evaluator.evaluate("disk", disk(85.0), sparse=True).open
    assert (same.rule, same.labels) == ("disk_usage_high", {"mount": "/数据"})
    assert desk.evaluator.evaluate("disk", disk(60.0), sparse=True).open == ()


def test_the_monitors_figures_wait_and_a_restart_does_not_make_them_wait_again(desk: Desk) -> None:
    assert desk.disk(95.0) == []
    desk.clock.advance(5 * MINUTE)
    again = Desk(desk.database, desk.clock)
    assert again.disk(95.0) == ["firing"]
    desk.clock.advance(60 * MINUTE)
    assert Desk(desk.database, desk.clock).disk(95.0) == []


def test_families_are_judged_by_their_own_documents_only(desk: Desk) -> None:
    desk.disk(95.0, sparse=True)
    both = {"system": {"memory_percent": 10.0, "cpu_percent": 10.0}, "schedule": {"facts": []}}
    assert desk.evaluator.evaluate_all(both, sparse=True).transitions == ()
    assert [one.state for one in desk.stored()] == ["firing"]


def test_several_families_change_in_one_transaction(desk: Desk) -> None:
    documents = {"disk": disk(95.0), "system": {"memory_percent": 99.0, "cpu_percent": 1.0}}
    assert len(desk.evaluator.evaluate_all(documents, sparse=True).transitions) == 2
    assert len(desk.told) == 2


def test_a_part_of_a_familys_figures_raises_alerts_and_ends_none(desk: Desk) -> None:
    def cleanup(refused: int, **more: Any) -> list[str]:
        figures = {"run_id": "r", "errors": [], "error_count": 0, "refused_paths": refused, "held_roots": []}
        figures |= dict.fromkeys(("tasks_cleaned", "receipts_cleaned", "files_cleaned", "logs_cleaned"), 0)
        document = {**figures, "rules": [], **more}
        return events(desk.evaluator.evaluate("cleanup", document, sparse=True).transitions)

    root = [{"root": "uploads", "why": "no mark"}]
    assert cleanup(3, held_roots=root, partial=True) == ["firing", "firing"]
    assert cleanup(0, partial=True) == []
    assert cleanup(0) == ["resolved", "resolved"]


def test_a_document_that_is_not_what_was_promised_ends_nothing_and_is_told(desk: Desk) -> None:
    desk.disk(95.0, sparse=True)
    broken = desk.evaluator.evaluate("disk", {"mounts": []}, sparse=True)
    assert {one.instance.alertname for one in broken.transitions} == {"RuleEvaluationFailed"}
    assert {one.alertname: one.state for one in desk.stored()}["DiskUsageHigh"] == "firing"
    assert set(desk.disk(95.0, sparse=True)) == {"resolved"}


def test_a_family_that_is_none_is_refused(desk: Desk) -> None:
    with pytest.raises(KeyError, match="disks is no family of figures; known: daily, reports, runs, disk"):
        desk.evaluator.evaluate("disks", disk(1.0))


def test_alerts_switched_off_judge_nothing(database: Database, clock: ManualClock) -> None:
    evaluator = Evaluator(database, clock, read(AlertSettings, {"enabled": False}))
    assert evaluator.evaluate("disk", disk(99.0), sparse=True).transitions == ()
    assert evaluator.outside("me", [alert()], complete=True).transitions == ()
    assert evaluator.tick().transitions == ()


# Outside alerts


def test_outside_alerts_live_by_their_source(desk: Desk) -> None:
    hear = desk.evaluator.outside
    assert events(hear("一", [alert(), alert("other")], complete=True).transitions) == ["firing", "firing"]
    assert events(hear("二", [alert()], complete=True).transitions) == ["firing"]
    assert events(hear("一", [alert()], complete=True).transitions) == ["resolved"]
    assert events(hear("二", [], complete=True).transitions) == ["resolved"]
    assert events(hear("一", [alert()], complete=True).transitions) == []
    assert len(desk.evaluator.outside("一", [alert("other")], complete=False).open) == 2


def test_a_source_whose_name_begins_another_ones_does_not_end_its_alerts(desk: Desk) -> None:
    desk.evaluator.outside("check", [alert()], complete=True)
    assert desk.evaluator.outside("chec", [], complete=True).transitions == ()
    assert desk.evaluator.outside("che_k", [], complete=True).transitions == ()


def test_hostile_outside_alerts_come_back_under_the_same_fingerprint(desk: Desk) -> None:
    hostile = alert("x\0\udc80'; DROP", labels={"路径\udcff": "a\0b\n"}, message="多行\n\x1b[31m\0", value=10**300)
    assert events(desk.evaluator.outside("me", [hostile], complete=True).transitions) == ["firing"]
    assert desk.evaluator.outside("me", [hostile], complete=True).transitions == ()
    (stored,) = desk.stored()
    assert stored.alert.fingerprint == stored.fingerprint
    assert "\n" not in stored.message


# Time and settings


def test_a_tick_ends_what_its_rule_no_longer_stands_for_and_what_fell_silent(desk: Desk) -> None:
    desk.disk(95.0, sparse=True)
    desk.evaluator.outside("me", [alert()], complete=False)
    assert desk.evaluator.tick().transitions == ()
    desk.clock.advance(timedelta(hours=24))
    own = Desk(desk.database, desk.clock, disk_usage_high={"enabled": False})
    ended = own.evaluator.tick().transitions
    reasons = {one.reason for one in ended}
    assert reasons == {"the rule was switched off", "its source has not named it for 24 h"}
    assert own.evaluator.tick().transitions == ()


def test_a_tick_with_every_rule_switched_off_ends_what_they_found(database: Database, clock: ManualClock) -> None:
    Desk(database, clock).disk(95.0, sparse=True)
    desk = Desk(database, clock, **{name: {"enabled": False} for name in DEFAULT_RULES})
    assert events(desk.evaluator.tick().transitions) == ["resolved"]
    assert events(desk.evaluator.tick().transitions) == []


def test_what_people_were_told_is_entered_unless_it_was_looked_at_since(desk: Desk) -> None:
    told = Reading(rule_id="disk_usage_high", labels={"mount": "/数据"}, level="critical", value=95.0, message="95 %")
    before = desk.clock.now()
    assert events(desk.evaluator.enter([(told, before)]).transitions) == ["firing"]
    assert events(desk.evaluator.enter([(told, before)]).transitions) == []
    desk.clock.advance(MINUTE)
    assert desk.disk(20.0, sparse=True) == ["resolved"]
    assert events(desk.evaluator.enter([(told, before)]).transitions) == []
    assert events(desk.evaluator.enter([(told, desk.clock.now())]).transitions) == ["firing"]


def test_a_changed_threshold_ends_the_alert_before_the_new_one_is_judged(desk: Desk) -> None:
    desk.disk(85.0, sparse=True)
    own = Desk(desk.database, desk.clock, disk_usage_high={"levels": {"warning": 84}})
    assert own.disk(85.0, sparse=True) == ["resolved", "firing"]
    assert own.disk(85.0, sparse=True) == []


# What was read last


def test_the_latest_figures_are_kept_for_each_family_the_bad_ones_first(desk: Desk) -> None:
    depths = {f"queue{number}": number for number in range(30)} | {"低": 500}
    desk.evaluator.evaluate("queues", {"depths": depths, "wait_p95_s": None, "wait_samples": 0})
    with desk.database.read() as connection:
        kept = latest_readings.latest(connection)["queues"]
    backlog = kept["rules"]["queue_backlog"]
    assert backlog["figures"][0] == {"labels": {"queue": "低"}, "value": 500, "samples": 0, "level": "warning"}
    assert (len(backlog["figures"]), backlog["left_out"]) == (20, 11)
    assert kept["at"] == desk.clock.now().isoformat()


# Two at once


def test_nothing_is_kept_of_an_evaluation_whose_announcement_fails(database: Database, clock: ManualClock) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no")

    evaluator = Evaluator(database, clock, AlertSettings(), fail)
    with pytest.raises(RuntimeError, match="no"):
        evaluator.evaluate("disk", disk(95.0), sparse=True)
    assert Desk(database, clock).stored() == []
    assert Desk(database, clock).disk(95.0, sparse=True) == ["firing"]


def test_who_was_outrun_looks_again_and_tells_nothing_twice(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another evaluator writes between our look and our write, each time but the last."""
    other, looks = Desk(desk.database, desk.clock), []
    load = instance_rows.living

    def late(connection: Connection, **options: Any) -> dict[str, Instance]:
        found = load(connection, **options)
        looks.append(len(found))
        return {name: one.but(version=one.version - 1) for name, one in found.items()} if len(looks) < 3 else found

    other.disk(85.0, sparse=True)
    monkeypatch.setattr(instance_rows, "living", late)
    assert desk.disk(95.0, sparse=True) == ["escalated"]
    assert (looks, desk.told) == ([1, 1, 1], ["escalated"])
    assert desk.history() == [("firing", "warning"), ("escalated", "critical")]


def test_an_alert_that_another_one_found_first_is_not_overwritten(desk: Desk) -> None:
    desk.disk(85.0, sparse=True)
    (stored,) = desk.stored()
    with desk.database.write() as connection:
        assert not instance_rows.write(connection, [stored.but(version=1, message="mine")])
        assert not instance_rows.write(connection, [stored.but(version=stored.version, message="mine")])
        assert instance_rows.write(connection, [stored.but(version=stored.version + 1, message="mine")])
    assert [one.message for one in desk.stored()] == ["mine"]


def test_an_evaluator_that_is_always_outrun_gives_up_and_says_so(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance_rows, "write", lambda *_: False)
    with pytest.raises(DatabaseBusy, match="the next evaluation judges anew"):
        desk.disk(95.0, sparse=True)
    assert desk.told == []


def test_two_evaluators_at_once_tell_each_change_once(database: Database, clock: ManualClock) -> None:
    desks = [Desk(database, clock) for _ in range(2)]
    start, errors = threading.Barrier(2), []

    def work(desk: Desk) -> None:
        try:
            for usage in (85.0, 95.0):
                start.wait(30)
                desk.evaluator.evaluate_all(
                    {"disk": {"mounts": [disk(usage, f"/{n}")["mounts"][0] for n in range(20)], "errors": []}},
                    sparse=True,
                )
        except Exception as error:  # noqa: BLE001 - told by the assertion below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(desk,)) for desk in desks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    told = [event for desk in desks for event in desk.told]
    assert (told.count("firing"), told.count("escalated"), len(told)) == (20, 20, 40)
    assert {one.episode for one in desks[0].stored()} == {1}


def test_many_alerts_change_in_one_evaluation(database: Database, clock: ManualClock) -> None:
    desk = Desk(database, clock)
    workers = [{"name": f"w{number}", "silent_s": 130.0, "deaths": 0} for number in range(1200)]
    found = desk.evaluator.evaluate("workers", {"workers": workers}, sparse=True)
    assert (len(found.transitions), len(found.open)) == (1200, 1200)
    worse = [{**worker, "silent_s": 700.0} for worker in workers]
    assert len(desk.evaluator.evaluate("workers", {"workers": worse}, sparse=True).transitions) == 1200
    with database.read() as connection:
        levels = connection.execute(select(alert_instance.c.level).distinct()).scalars().all()
    assert levels == ["critical"]


def test_of_an_alert_that_stays_its_figures_are_written_and_nothing_else_is_touched(desk: Desk) -> None:
    rule = {"disk_usage_high": {"for": "0s", "keep_firing_for": "1h"}}
    own = Desk(desk.database, desk.clock, **rule)
    own.disk(85.0)
    with own.database.write() as connection:
        (stored,) = instance_rows.load(connection)
        acked = stored.but(acked_by="王伟", acked_at=own.clock.now(), version=stored.version + 1)
        assert instance_rows.write(connection, [acked], {stored.fingerprint: stored})
    own.clock.advance(MINUTE)
    own.evaluator.evaluate("disk", disk(88.0))
    (stayed,) = own.stored()
    message = "/数据 is 88 % full, 1.0 GB are free; the threshold is 80 %"
    expected = {"value": 88.0, "message": message, "last_bad_at": own.clock.now(), "last_seen_at": own.clock.now()}
    assert stayed == acked.but(**expected, version=3)


def test_a_stale_figure_is_refused_like_a_stale_alert(desk: Desk) -> None:
    desk.disk(85.0, sparse=True)
    (stored,) = desk.stored()
    known = {stored.fingerprint: stored}
    with desk.database.write() as connection:
        assert instance_rows.write(connection, [stored.but(value=86.0, version=2)], known)
        assert not instance_rows.write(connection, [stored.but(value=87.0, version=2)], known)
    assert [one.value for one in desk.stored()] == [86.0]
