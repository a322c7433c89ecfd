"""While the database is away people are told all the same; and the day's file, from the history and without it."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alert_lab import NOON, SOURCE, ZONE, Lab, Target, alert, lab, settings, words

from app.alerts.delivery.without_database import Memory, Without, tell
from app.alerts.life.evaluator import Evaluator
from app.alerts.life.instance import outside_rule
from app.alerts.notices import day_summary
from app.alerts.notices.announcer import Announcer
from app.core.clock import ManualClock
from app.core.database import Database

NAMES = ("log_files", "ops")
A, B = alert("a"), alert("b", "error")
WORSE = alert("a", "critical")
WORSE_B = alert("b", "critical")
AT = NOON.astimezone(ZONE)
HOUR = timedelta(hours=1)


@pytest.fixture
def targets() -> dict[str, Target]:
    return {name: Target(name) for name in NAMES}


def told(targets: dict[str, Target], folder: Path, *alerts: Any, at: datetime = AT, **how: Any) -> Without:
    given = {"settings": settings(NAMES), "open_target": targets.__getitem__, "reports": folder, "at": at}
    return tell(list(alerts), **given | how)


def entries(folder: Path) -> dict[str, Any]:
    (file,) = folder.glob("*.json")
    return {one["labels"]["what"]: one for one in json.loads(file.read_text())["alerts"]}


def test_everybody_is_told_at_once_people_in_one_message(targets: dict[str, Target], tmp_path: Path) -> None:
    found = told(targets, tmp_path, A, B)
    assert (found.told, found.events, found.channels) == (2, {"firing": 2}, {"log_files": "ok", "ops": "ok"})
    assert targets["log_files"].told() == [("firing", "a"), ("firing", "b")]
    (message,) = targets["ops"].got
    assert [one.alert.severity for one in message.alerts] == ["error", "warning"]
    assert (message.at, message.target, message.kind) == (AT, "ops", "group")


def test_what_goes_on_is_told_again_when_a_repeat_is_due_and_what_gets_worse_at_once(
    targets: dict[str, Target], tmp_path: Path
) -> None:
    assert told(targets, tmp_path, WORSE).told == 1
    for minutes in range(1, 240, 30):
        assert told(targets, tmp_path, WORSE, at=AT + timedelta(minutes=minutes)).held_back == 1
    assert told(targets, tmp_path, WORSE, at=AT + 4 * HOUR).events == {"repeat": 1}
    assert told(targets, tmp_path, WORSE, at=AT + 5 * HOUR).held_back == 1
    assert told(targets, tmp_path, A, at=AT + 6 * HOUR).held_back == 1
    assert told(targets, tmp_path, B, at=AT + 6 * HOUR).events == {"firing": 1}
    worse = alert("b", "critical")
    assert told(targets, tmp_path, worse, at=AT + 6 * HOUR + timedelta(minutes=1)).events == {"escalated": 1}
    assert targets["ops"].told() == targets["log_files"].told()


def test_a_target_that_is_away_does_not_stop_the_others(targets: dict[str, Target], tmp_path: Path) -> None:
    targets["ops"].refuse()
    found = told(targets, tmp_path, A)
    assert (found.told, found.undelivered) == (1, [])
    assert found.channels == {"log_files": "ok", "ops": "the receiver answered 500"}


def test_what_reached_nobody_is_named(targets: dict[str, Target], tmp_path: Path) -> None:
    for target in targets.values():
        target.refuse()
    found = told(targets, tmp_path, A)
    assert (found.told, found.undelivered) == (0, [A])


@pytest.fixture
def back() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_a_target_that_hangs_is_not_waited_for(
    targets: dict[str, Target], tmp_path: Path, back: threading.Event
) -> None:
    targets["ops"].answer = lambda _notification: back.wait(20) and None
    found = told(targets, tmp_path, A, budget_s=0.2)
    assert (found.told, found.channels["ops"]) == (1, "no answer within 0.2 s")


def test_a_target_is_told_of_its_levels_only(targets: dict[str, Target], tmp_path: Path) -> None:
    chosen = settings(NAMES, targets={"ops": {"levels": ["critical"]}})
    told(targets, tmp_path, A, WORSE, B, settings=chosen)
    assert [one.alert.severity for one in targets["ops"].got[0].alerts] == ["critical"]


def test_of_many_alerts_twenty_are_told_and_the_others_counted(targets: dict[str, Target], tmp_path: Path) -> None:
    found = told(targets, tmp_path, *(alert(f"{number}") for number in range(25)))
    (message,) = targets["ops"].got
    assert (len(message.alerts), message.left_out, found.told, found.undelivered) == (20, 5, 25, [])


def test_without_a_day_file_people_are_told_all_the_same(targets: dict[str, Target], tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("a file, no folder")
    assert told(targets, tmp_path / "reports", A).told == 1


def test_without_a_day_file_nobody_is_told_every_half_minute(targets: dict[str, Target], tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("a file, no folder")
    memory = Memory()
    for half_minutes in range(120):
        at = AT + timedelta(seconds=30 * half_minutes)
        told(targets, tmp_path / "reports", A, at=at, memory=memory)
    assert [len(target.got) for target in targets.values()] == [1, 1]
    told(targets, tmp_path / "reports", A, at=AT + HOUR, memory=memory)
    assert [len(target.got) for target in targets.values()] == [2, 2]


def test_a_target_that_was_away_is_told_when_it_is_back_and_the_others_not_again(
    targets: dict[str, Target], tmp_path: Path
) -> None:
    memory = Memory()
    targets["ops"].refuse()
    told(targets, tmp_path, A, memory=memory)
    told(targets, tmp_path, A, at=AT + timedelta(minutes=1), memory=memory)
    targets["ops"].accept()
    told(targets, tmp_path, A, at=AT + timedelta(minutes=2), memory=memory)
    told(targets, tmp_path, A, at=AT + timedelta(minutes=3), memory=memory)
    assert targets["ops"].told() == [("firing", "a")]
    assert targets["log_files"].told() == [("firing", "a")]


def test_what_is_over_before_a_target_is_back_is_not_told_to_it(targets: dict[str, Target], tmp_path: Path) -> None:
    memory = Memory()
    targets["ops"].refuse()
    told(targets, tmp_path, A, memory=memory)
    targets["ops"].accept()
    told(targets, tmp_path, B, at=AT + timedelta(minutes=1), memory=memory)
    assert targets["ops"].told() == [("firing", "b")]


@pytest.mark.parametrize("alerts", [[], [A]])
def test_nothing_to_tell_or_nobody_to_be_told_writes_nothing(
    targets: dict[str, Target], tmp_path: Path, alerts: list[Any]
) -> None:
    assert told(targets, tmp_path, *alerts, settings=settings(NAMES, enabled=False)) == Without()
    assert list(tmp_path.iterdir()) == []
    assert targets["ops"].got == []


@pytest.fixture
def desk(database: Database, clock: ManualClock) -> Lab:
    return lab(database, clock, NAMES)


def written(desk: Lab, folder: Path) -> dict[str, Any]:
    with desk.database.read() as connection:
        day_summary.write(connection, folder, desk.clock.now().astimezone(ZONE))
    return entries(folder)


def test_the_day_is_written_from_the_history(desk: Lab, tmp_path: Path) -> None:
    desk.fire(A)
    desk.clock.advance(HOUR)
    desk.fire(WORSE, B)
    desk.clock.advance(HOUR)
    desk.end(WORSE)
    found = written(desk, tmp_path)
    assert set(found) == {"a", "b"}
    assert (found["a"]["severity"], found["a"]["count"]) == ("critical", 3)
    assert [one["severity"] for one in found["a"]["history"]] == ["warning", "critical"]
    assert datetime.fromisoformat(found["a"]["first_at"]) == NOON
    assert datetime.fromisoformat(found["a"]["last_at"]) == NOON + 2 * HOUR
    assert found["a"]["first_at"].endswith("+08:00")
    assert written(desk, tmp_path) == found


def test_a_day_ends_at_midnight_of_the_reader(desk: Lab, tmp_path: Path) -> None:
    desk.clock.advance(12 * HOUR - timedelta(seconds=1))
    desk.fire(A)
    desk.clock.advance(timedelta(seconds=1))
    desk.fire(A, B)
    found = written(desk, tmp_path)
    assert [file.name for file in tmp_path.glob("*.json")] == ["2026-03-11.json"]
    assert set(found) == {"b"}


def test_what_was_told_without_the_database_stays_in_the_day(
    desk: Lab, targets: dict[str, Target], tmp_path: Path
) -> None:
    told(targets, tmp_path, alert("c"))
    desk.fire(A)
    assert set(written(desk, tmp_path)) == {"a", "c"}


# Before and after the outage


def test_midnight_is_no_reason_to_tell_it_again(targets: dict[str, Target], tmp_path: Path) -> None:
    late = AT + 12 * HOUR - timedelta(seconds=10)
    told(targets, tmp_path, A, at=late)
    assert told(targets, tmp_path, A, at=late + timedelta(seconds=30)).held_back == 1
    assert targets["ops"].told() == targets["log_files"].told() == [("firing", "a")]


def as_entered(what: Any) -> Any:
    """The alert under the name that the database knows it by."""
    return replace(what, rule=outside_rule(SOURCE, what.rule))


def test_a_second_outage_is_told_at_once_and_what_has_gone_on_since_before_is_not(
    desk: Lab, targets: dict[str, Target], tmp_path: Path
) -> None:
    desk.fire(A, B)
    desk.clock.advance(HOUR)
    desk.end(A)
    written(desk, tmp_path)
    found = told(targets, tmp_path, as_entered(A), as_entered(B), at=AT + HOUR + timedelta(minutes=1))
    assert (found.events, found.held_back) == ({"firing": 1}, 1)
    (message,) = targets["ops"].got
    assert (words(message), message.alerts[0].count) == ([("firing", "a")], 1)


def test_the_end_stands_in_the_day_until_it_begins_anew(desk: Lab, tmp_path: Path) -> None:
    desk.fire(A)
    assert written(desk, tmp_path)["a"]["resolved_at"] is None
    desk.clock.advance(HOUR)
    desk.end(A)
    assert datetime.fromisoformat(written(desk, tmp_path)["a"]["resolved_at"]) == NOON + HOUR
    desk.clock.advance(HOUR)
    desk.fire(A)
    assert written(desk, tmp_path)["a"]["resolved_at"] is None


@pytest.fixture
def back_again(desk: Lab, targets: dict[str, Target], tmp_path: Path) -> Lab:
    """A desk that knows what was told without the database, and tells the same targets."""
    desk.targets = targets
    desk.announcer = Announcer(desk.settings, ZONE, heard=lambda at: day_summary.heard(tmp_path, at.astimezone(ZONE)))
    desk.evaluator = Evaluator(desk.database, desk.clock, desk.settings, desk.announcer.announce)
    desk.deliverer = desk.new_deliverer()
    return desk


def test_who_was_told_without_the_database_hears_the_end_and_no_second_beginning(
    back_again: Lab, targets: dict[str, Target], tmp_path: Path
) -> None:
    told(targets, tmp_path, as_entered(A), as_entered(WORSE_B))
    back_again.clock.advance(timedelta(minutes=2))
    back_again.fire(A, WORSE_B)
    back_again.wait(minutes=20)
    back_again.end(A, WORSE_B)
    back_again.wait(minutes=20)
    for target in targets.values():
        assert sorted(target.told()) == [("firing", "a"), ("firing", "b"), ("resolved", "a"), ("resolved", "b")]


def test_who_was_not_reached_without_the_database_hears_the_beginning_when_it_is_back(
    back_again: Lab, targets: dict[str, Target], tmp_path: Path
) -> None:
    targets["ops"].refuse()
    told(targets, tmp_path, as_entered(A))
    targets["ops"].accept()
    back_again.clock.advance(timedelta(minutes=2))
    back_again.fire(A)
    back_again.wait(minutes=20)
    assert targets["ops"].told() == targets["log_files"].told() == [("firing", "a")]


def test_what_is_worse_when_it_is_entered_is_told_as_worse(
    back_again: Lab, targets: dict[str, Target], tmp_path: Path
) -> None:
    told(targets, tmp_path, as_entered(A))
    back_again.clock.advance(timedelta(minutes=2))
    back_again.fire(WORSE)
    back_again.wait(minutes=1)
    assert targets["ops"].told() == [("firing", "a"), ("escalated", "a")]


def test_what_got_worse_without_the_database_is_not_told_twice(
    back_again: Lab, targets: dict[str, Target], tmp_path: Path
) -> None:
    back_again.fire(A)
    back_again.wait(minutes=1)
    written(back_again, tmp_path)
    found = told(targets, tmp_path, as_entered(WORSE), at=AT + timedelta(minutes=2))
    assert found.events == {"escalated": 1}
    back_again.clock.advance(timedelta(minutes=2))
    back_again.fire(WORSE)
    back_again.wait(minutes=20)
    back_again.end(WORSE)
    back_again.wait(minutes=20)
    story = [("firing", "a"), ("escalated", "a"), ("resolved", "a")]
    assert targets["ops"].told() == targets["log_files"].told() == story


def test_what_was_told_without_the_database_is_repeated_when_its_interval_is_over(
    back_again: Lab, targets: dict[str, Target], tmp_path: Path
) -> None:
    told(targets, tmp_path, as_entered(WORSE))
    back_again.clock.advance(timedelta(minutes=2))
    back_again.fire(WORSE)
    back_again.wait(hours=3, minutes=57, every=timedelta(minutes=3))
    assert targets["ops"].told() == targets["log_files"].told() == [("firing", "a")]
    back_again.wait(minutes=2)
    assert targets["ops"].told() == targets["log_files"].told() == [("firing", "a"), ("repeat", "a")]
    assert targets["ops"].got[-1].alerts[0].count == 2


def test_another_outage_long_ago_is_nobodys_knowledge(
    back_again: Lab, targets: dict[str, Target], tmp_path: Path
) -> None:
    told(targets, tmp_path, as_entered(A))
    back_again.clock.advance(day_summary.HEARD_FOR)
    back_again.fire(A)
    back_again.wait(minutes=1)
    assert targets["ops"].told() == targets["log_files"].told() == [("firing", "a"), ("firing", "a")]
