"""From the outbox to the targets: what gets through, what is tried again, what is given up, and in which order."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from alert_lab import Lab, Target, alert, lab, words
from sqlalchemy import update

from app.alerts.channel import DeliveryError, Notification
from app.alerts.delivery import target_state
from app.alerts.delivery.courier import MOST_AN_HOUR
from app.alerts.notices import outbox
from app.core.clock import ManualClock
from app.core.database import Database
from app.core.own_tables import alert_outbox

A, B = alert("a"), alert("b")
WORSE = alert("a", "critical")
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def exact_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """No chance in the pauses: a fifth shorter is tested by itself."""
    monkeypatch.setattr(target_state._random, "uniform", lambda _low, high: high)


@pytest.fixture
def desk(database: Database, clock: ManualClock) -> Lab:
    return lab(database, clock, ("log_files", "ops", "boss"))


@pytest.fixture
def ops(desk: Lab) -> Target:
    return desk.targets["ops"]


def rows(of: Lab, *states: str, target: str = "ops") -> list[outbox.OutboxRow]:
    with of.database.read() as connection:
        found = outbox.listed(connection, states=states or ("pending", "dead", "sent", "superseded"))
    return [row for row in found if row.target == target]


def components(number: int, severity: Any = "warning") -> list[Any]:
    """Alerts that are a group each."""
    return [alert(f"{one:03}", severity, labels={"component": f"{one:03}"}) for one in range(number)]


def test_a_target_that_is_away_holds_nobody_else_up(desk: Lab, ops: Target) -> None:
    ops.refuse()
    desk.fire(A)
    desk.wait(minutes=1)
    assert desk.targets["boss"].told() == desk.targets["log_files"].told() == [("firing", "a")]
    assert ops.got == []


def test_a_message_is_tried_again_five_seconds_later_then_three_times_as_long(desk: Lab, ops: Target) -> None:
    ops.refuse()
    desk.fire(WORSE)
    for attempt, pause in enumerate([5, 15, 45, 135, 405, 900, 900, 900], 1):
        desk.deliverer.deliver(only={"ops"})
        assert len(ops.tried) == attempt
        desk.clock.advance(timedelta(seconds=pause - 1))
        desk.deliverer.deliver(only={"ops"})
        assert len(ops.tried) == attempt
        desk.clock.advance(timedelta(seconds=1))
    assert len({one.idempotency_key for one in ops.tried}) == 1


@pytest.mark.parametrize("failures", range(1, 12))
def test_pauses_are_up_to_a_fifth_shorter(failures: int, monkeypatch: pytest.MonkeyPatch) -> None:
    longest = target_state.pause_after(failures)
    monkeypatch.undo()
    found = [target_state.pause_after(failures) for _ in range(50)]
    assert all(0.8 * longest <= one <= longest for one in found)
    assert len(set(found)) > 1


def test_a_target_down_for_an_hour_loses_nothing_and_is_told_once(desk: Lab, ops: Target) -> None:
    ops.refuse()
    for number, one in enumerate(components(12)):
        desk.fire(one)
        desk.wait(minutes=5, every=5 * MINUTE)
        if number == 5:
            desk.end(components(12)[0])
    ops.accept()
    desk.wait(minutes=16, every=4 * MINUTE)
    said = ops.told()
    assert ("firing-resolved", "000") in said
    assert sorted(what for event, what in said if event == "firing") == [f"{number:03}" for number in range(1, 12)]
    assert len(said) == 12


def test_who_could_not_be_reached_gets_one_message_that_is_true(desk: Lab, ops: Target) -> None:
    ops.refuse()
    desk.fire(A)
    desk.wait(minutes=10, every=5 * MINUTE)
    desk.fire(B)
    desk.wait(minutes=10, every=5 * MINUTE)
    desk.fire(WORSE)
    desk.wait(minutes=5, every=MINUTE)
    ops.accept()
    desk.wait(minutes=16, every=4 * MINUTE)
    assert sorted(ops.told()) == [("firing", "a"), ("firing", "b")]
    assert len(ops.got) == 1
    assert {one.alert.severity for one in ops.got[0].alerts} == {"critical", "warning"}


def test_retry_after_is_obeyed_for_the_whole_target(desk: Lab, ops: Target) -> None:
    ops.refuse("the receiver answered 429", retry_after_s=600.0)
    desk.fire(*components(3, "critical"))
    desk.watch()
    assert len(ops.tried) == 1
    desk.wait(minutes=9, seconds=59, every=MINUTE)
    assert len(ops.tried) == 1
    ops.accept()
    desk.wait(seconds=1)
    assert sorted(what for _, what in ops.told()) == ["000", "001", "002"]


def test_two_failures_in_a_row_leave_a_target_alone(desk: Lab, ops: Target) -> None:
    ops.refuse()
    desk.fire(*components(20, "critical"))
    desk.watch()
    assert len(ops.tried) == 2


def test_a_message_that_alone_is_refused_does_not_hold_up_the_others(desk: Lab, ops: Target) -> None:
    def answer(notification: Notification) -> None:
        if ("firing", "001") in words(notification):
            raise DeliveryError("the receiver answered 400", permanent=True)

    ops.answer = answer
    desk.fire(*components(4, "critical"))
    desk.watch()
    assert sorted(what for _, what in ops.told()) == ["000", "002", "003"]
    assert desk.deliverer.deliver().broken == {}
    desk.wait(minutes=16, every=4 * MINUTE)
    (dead,) = rows(desk, "dead")
    assert (dead.last_error, dead.attempts) == ("the receiver answered 400", 1)
    assert len([one for one in ops.tried if ("firing", "001") in words(one)]) == 2


@pytest.mark.parametrize("permanent", [True, False])
def test_the_others_are_told_of_a_target_that_is_broken(desk: Lab, ops: Target, *, permanent: bool) -> None:
    ops.refuse("the receiver answered 404", permanent=permanent)
    desk.fire(WORSE)
    first = desk.watch()
    assert first.broken == ({"ops": "the receiver answered 404"} if permanent else {})
    for _ in range(15):
        desk.clock.advance(MINUTE)
        desk.evaluator.evaluate("channels", desk.watch().document(), sparse=True)
    assert ("firing", "NotificationChannelBroken") in desk.targets["boss"].told()
    assert all(what == "a" for one in ops.tried for _, what in words(one))
    ops.accept()
    for _ in range(20):
        desk.clock.advance(MINUTE)
        desk.evaluator.evaluate("channels", desk.watch().document(), sparse=True)
    assert ops.told()[:1] == [("firing", "a")]
    assert all(what == "a" for _, what in ops.told())
    assert ("resolved", "NotificationChannelBroken") in desk.targets["boss"].told()
    with desk.database.read() as connection:
        assert target_state.load_all(connection) == {}


def test_a_target_that_refuses_for_good_is_asked_every_quarter_of_an_hour(desk: Lab, ops: Target) -> None:
    ops.refuse("the receiver answered 401", permanent=True)
    desk.fire(WORSE)
    desk.watch()
    desk.wait(hours=1, every=3 * MINUTE)
    assert len(ops.tried) == 5
    assert [row.state for row in rows(desk, "pending", "dead")] == ["pending"]


@pytest.mark.parametrize(("severity", "hours"), [("warning", 12), ("error", 12), ("critical", 48)])
def test_what_never_gets_through_becomes_a_dead_letter(desk: Lab, ops: Target, severity: Any, hours: int) -> None:
    ops.refuse()
    desk.fire(alert("a", severity))
    desk.clock.advance(timedelta(seconds=30))
    desk.watch()
    desk.clock.advance(timedelta(hours=hours) - timedelta(seconds=31))
    assert desk.watch().buried == 0
    assert rows(desk, "dead") == []
    desk.clock.advance(15 * MINUTE)
    assert desk.watch().buried == 1
    assert [row.level for row in rows(desk, "dead")] == [severity]


def test_what_was_not_tried_because_all_was_off_is_tried_before_it_is_given_up(desk: Lab, ops: Target) -> None:
    ops.refuse()
    desk.fire(*components(4))
    desk.clock.advance(timedelta(days=3))
    desk.watch()  # the network is not there yet
    assert (len(ops.tried), rows(desk, "dead")) == (2, [])
    ops.accept()
    desk.wait(minutes=1)
    assert sorted(what for one in ops.got if one.kind == "group" for _, what in words(one)) == [
        "000",
        "001",
        "002",
        "003",
    ]


def test_a_dead_letter_is_sent_again_and_then_its_end(desk: Lab, ops: Target) -> None:
    ops.refuse()
    desk.fire(A)
    desk.wait(hours=13, every=HOUR)
    (dead,) = rows(desk, "dead")
    ops.accept()
    with desk.database.write() as connection:
        assert outbox.replay(connection, desk.clock.now(), ids=[dead.id + 1_000]) == 0
        assert outbox.replay(connection, desk.clock.now(), target="boss") == 0
        assert outbox.replay(connection, desk.clock.now()) == 1
    desk.wait(minutes=16, every=4 * MINUTE)
    assert ops.told() == [("firing", "a")]
    assert ops.got[0].idempotency_key == dead.dedupe_key
    desk.end(A)
    desk.wait(minutes=10, every=5 * MINUTE)
    assert ops.told() == [("firing", "a"), ("resolved", "a")]


def test_the_end_of_what_was_given_up_is_no_news(desk: Lab, ops: Target) -> None:
    ops.refuse()
    desk.fire(A)
    desk.wait(hours=13, every=HOUR)
    ops.accept()
    desk.end(A)
    desk.wait(hours=1, every=15 * MINUTE)
    assert ops.told() == []


def test_what_was_given_up_is_told_again_when_a_repeat_would_be_due(desk: Lab, ops: Target) -> None:
    ops.refuse()
    desk.fire(A)
    desk.wait(hours=13, every=HOUR)
    ops.accept()
    desk.wait(hours=22, every=HOUR)
    assert [one.kind for one in ops.got] == ["digest"]
    desk.wait(hours=3, every=30 * MINUTE)
    assert [one.kind for one in ops.got] == ["digest", "group"]
    assert words(ops.got[1]) == [("firing", "a")]


def test_a_change_while_a_message_is_on_its_way_is_told_after_it(desk: Lab, ops: Target) -> None:
    """The receiver gets the beginning, and before it has answered the alert is over."""

    def answer(notification: Notification) -> None:
        if notification.alerts[0].status == "firing":
            desk.end(A)
            desk.fire(B)

    ops.answer = answer
    desk.fire(A)
    desk.wait(minutes=10, every=5 * MINUTE)
    assert sorted(ops.told()[1:]) == [("firing", "b"), ("resolved", "a")]
    assert ops.told()[0] == ("firing", "a")


def test_a_message_that_fails_while_the_alert_ends_is_told_in_one(desk: Lab, ops: Target) -> None:
    def answer(_notification: Notification) -> None:
        desk.end(A)
        raise DeliveryError("the receiver answered 500")

    ops.answer = answer
    desk.fire(A)
    desk.clock.advance(timedelta(seconds=30))
    desk.watch()
    ops.accept()
    desk.wait(minutes=10, every=5 * MINUTE)
    assert ops.told() == [("firing-resolved", "a")]


def test_an_end_made_for_a_message_that_died_is_told_with_its_beginning(desk: Lab, ops: Target) -> None:
    """The message of the beginning is on its way when the end is made, and never gets through."""
    desk.fire(A)
    desk.clock.advance(timedelta(seconds=30))
    with desk.database.write() as connection:
        (first,) = outbox.claim(connection, "ops", desk.clock.now(), "somebody", desk.clock.now() + MINUTE)
    desk.end(A)
    (second,) = [row for row in rows(desk, "pending") if row.id != first.id]
    assert words(second.notification) == [("resolved", "a")]
    desk.wait(seconds=20)
    assert ops.tried == []  # in order: the first may still be on its way
    with desk.database.write() as connection:
        outbox.mark(connection, [first], state="dead")
    desk.wait(minutes=10, every=5 * MINUTE)
    assert ops.told() == [("firing-resolved", "a")]


def test_messages_of_a_group_go_out_in_order(desk: Lab, ops: Target) -> None:
    desk.fire(A)
    desk.clock.advance(timedelta(seconds=30))
    with desk.database.write() as connection:
        outbox.claim(connection, "ops", desk.clock.now(), "somebody", desk.clock.now() + MINUTE)
    desk.fire(WORSE)
    desk.watch()
    assert ops.tried == []
    desk.wait(minutes=2)
    assert ops.told() == [("firing", "a"), ("escalated", "a")]


def test_an_hour_has_thirty_messages_and_the_last_tells_the_rest(desk: Lab, ops: Target) -> None:
    desk.fire(*components(57))
    desk.wait(seconds=30)
    assert len(ops.got) == MOST_AN_HOUR
    last = ops.got[-1]
    assert (last.group_key, len(last.alerts), last.left_out) == (outbox.OVERFLOW, 20, 8)
    assert sum(len(one.alerts) + one.left_out for one in ops.got) == 57
    desk.wait(minutes=58, every=20 * MINUTE)
    assert len(ops.got) == MOST_AN_HOUR
    desk.end(*components(57))
    desk.wait(minutes=30, every=10 * MINUTE)
    ends = ops.got[MOST_AN_HOUR:]
    assert len(ends) == MOST_AN_HOUR
    assert sum(len(one.alerts) + one.left_out for one in ends) == 57
    assert {one.event for message in ops.got[:MOST_AN_HOUR] for one in message.alerts} == {"firing"}
    assert {one.event for message in ends for one in message.alerts} == {"resolved"}


def test_critical_alerts_are_not_counted_and_not_held_back(desk: Lab, ops: Target) -> None:
    desk.fire(*components(40))
    desk.wait(seconds=30)
    desk.fire(*(alert(f"c{number}", "critical", labels={"component": f"c{number}"}) for number in range(10)))
    desk.watch()
    assert len(ops.got) == MOST_AN_HOUR + 10
    late = alert("late", labels={"component": "late"})
    desk.fire(late)
    desk.wait(minutes=50, every=5 * MINUTE)
    assert ("firing", "late") not in ops.told()
    desk.wait(minutes=15, every=5 * MINUTE)
    assert ("firing", "late") in ops.told()


class Killed(BaseException):
    """Stands for the end of the process: nothing is marked after it."""


@pytest.fixture
def threads_may_die(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _args: None)


@pytest.mark.usefixtures("threads_may_die")
def test_a_digest_whose_sender_died_is_sent_again_as_it_was(desk: Lab, ops: Target) -> None:
    def die(_notification: Notification) -> None:
        if len(ops.tried) == MOST_AN_HOUR:
            ops.accept()
            raise Killed

    desk.fire(*components(57))
    desk.clock.advance(timedelta(seconds=30))
    ops.answer = die
    desk.watch()
    desk.fire(alert("new", labels={"component": "new"}))
    desk.wait(minutes=3)
    first, new, again = ops.tried[MOST_AN_HOUR - 1 :]
    assert words(new) == [("firing", "new")]
    assert first.group_key == outbox.OVERFLOW
    assert first.idempotency_key == again.idempotency_key
    assert (words(first), first.left_out) == (words(again), again.left_out)


def test_a_channel_with_a_bug_does_not_hold_up_the_others_and_shows_no_secret(desk: Lab, ops: Target) -> None:
    def answer(_notification: Notification) -> None:
        raise ZeroDivisionError("https://hooks.example/geheim")

    ops.answer = answer
    desk.fire(A)
    desk.wait(minutes=1)
    assert desk.targets["boss"].told() == [("firing", "a")]
    assert [row.last_error for row in rows(desk, "pending")] == ["the channel failed: ZeroDivisionError"]


def test_a_channel_that_can_not_be_opened_is_one_that_fails(database: Database, clock: ManualClock) -> None:
    desk = lab(database, clock, ("log_files", "ops"))
    del desk.targets["ops"]
    desk.fire(WORSE)
    report = desk.watch()
    assert (report.sent, report.failed) == (1, 1)


def test_a_row_that_can_not_be_read_becomes_a_dead_letter(desk: Lab, ops: Target) -> None:
    desk.fire(*components(2, "critical"))
    (first, _second) = rows(desk, "pending")
    with desk.database.write() as connection:
        connection.execute(update(alert_outbox).where(alert_outbox.c.id == first.id).values(payload={"kind": "group"}))
    desk.watch()
    desk.watch()
    assert [what for _, what in ops.told()] == ["001"]
    assert [row.id for row in rows(desk, "dead")] == [first.id]


@pytest.fixture
def hanging(desk: Lab, ops: Target) -> Iterator[threading.Event]:
    """A channel that does not come back until the event is set."""
    back = threading.Event()
    ops.answer = lambda _notification: back.wait(20) and None
    yield back
    back.set()
    for job in desk.deliverer._jobs.values():
        job.thread.join(20)


def test_a_target_that_hangs_holds_nobody_up_and_is_told_of(desk: Lab, ops: Target, hanging: threading.Event) -> None:
    desk.fire(WORSE)
    report = desk.watch(budget_s=0.5, grace_s=0.0)
    assert (report.busy, report.broken) == (("ops",), {})
    assert desk.targets["boss"].told() == [("firing", "a")]
    desk.clock.advance(2 * MINUTE)
    desk.fire(B)
    report = desk.watch(budget_s=0.5, grace_s=0.0)
    assert "on its way for 120 s" in report.broken["ops"]
    assert desk.targets["log_files"].told() == [("firing", "a"), ("firing", "b")]
    assert len(ops.tried) == 1
    hanging.set()


def test_without_time_nothing_is_begun_and_nothing_is_lost(desk: Lab, ops: Target) -> None:
    desk.fire(WORSE)
    desk.deliverer.deliver(budget_s=0.0)
    assert ops.tried == []
    assert all(row.lease_until is None for row in rows(desk, "pending"))
    desk.watch()
    assert ops.told() == [("firing", "a")]


def test_files_that_can_not_be_written_get_every_line_later(desk: Lab) -> None:
    files = desk.targets["log_files"]
    files.refuse("no space left")
    desk.fire(A)
    desk.fire(WORSE)
    desk.wait(minutes=5)
    desk.end(A)
    desk.wait(minutes=5)
    assert files.got == []
    files.accept()
    desk.wait(minutes=16)
    assert files.told() == [("firing", "a"), ("escalated", "a"), ("resolved", "a")]


def test_a_row_whose_lease_is_over_belongs_to_whoever_took_it(desk: Lab) -> None:
    desk.fire(WORSE)
    with desk.database.write() as connection:
        (slow,) = outbox.claim(connection, "ops", desk.clock.now(), "slow", desk.clock.now() + MINUTE)
    desk.clock.advance(MINUTE)
    with desk.database.write() as connection:
        (quick,) = outbox.claim(connection, "ops", desk.clock.now(), "quick", desk.clock.now() + MINUTE)
        assert outbox.mark(connection, [slow], state="dead") == []
        assert outbox.mark(connection, [quick], state="sent", sent_at=desk.clock.now()) == [quick.id]
