"""What people are told, and when: from transitions to messages, on every database."""

from datetime import datetime, timedelta

import pytest
from alert_lab import ZONE, Lab, alert, lab, words

from app.alerts.life.acknowledgements import Acknowledgements
from app.alerts.notices import groups, outbox
from app.alerts.notices.announcer import Announcer
from app.alerts.notices.matchers import parse_matchers
from app.alerts.notices.silences import Silences
from app.core.clock import ManualClock
from app.core.database import Database
from app.core.errors import BadArgument

A, B = alert("a"), alert("b")
WORSE = alert("a", "critical")
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def desk(database: Database, clock: ManualClock) -> Lab:
    return lab(database, clock, ("log_files", "console", "ops"))


def told(of: Lab, name: str = "ops") -> list[tuple[str, str]]:
    return of.targets[name].told()


def rows(of: Lab, *states: str) -> list[outbox.OutboxRow]:
    with of.database.read() as connection:
        return outbox.listed(connection, states=states or ("pending",))


def test_transitions_and_what_is_to_be_told_of_them_are_written_together(desk: Lab) -> None:
    desk.fire(A)
    assert [(row.target, row.kind) for row in rows(desk)] == [
        ("log_files", "event"),
        ("console", "event"),
        ("ops", "group"),
    ]
    assert all(row.lease_until is None and row.attempts == 0 for row in rows(desk))


def test_files_and_console_are_told_at_once_and_people_together(desk: Lab) -> None:
    desk.fire(A)
    desk.deliverer.deliver(only={"log_files", "console"})
    assert told(desk, "log_files") == told(desk, "console") == [("firing", "a")]
    desk.fire(B)
    desk.wait(seconds=29)
    assert told(desk) == []
    desk.wait(seconds=1)
    assert sorted(told(desk)) == [("firing", "a"), ("firing", "b")]
    assert len(desk.targets["ops"].got) == 1


def test_a_critical_first_message_is_told_at_once(desk: Lab) -> None:
    desk.fire(WORSE)
    desk.watch()
    assert told(desk) == [("firing", "a")]


def test_one_alert_rises_eases_and_ends(desk: Lab) -> None:
    desk.fire(A)
    desk.wait(minutes=1)
    desk.fire(WORSE)
    desk.watch()
    desk.wait(hours=1, every=5 * MINUTE)
    desk.fire(A)
    desk.wait(minutes=10, every=5 * MINUTE)
    desk.end(A)
    desk.wait(minutes=10, every=5 * MINUTE)
    story = [("firing", "a"), ("escalated", "a"), ("eased", "a"), ("resolved", "a")]
    assert told(desk) == told(desk, "log_files") == told(desk, "console") == story
    last = desk.targets["ops"].got[-1]
    assert (last.status, last.alerts[0].status) == ("resolved", "resolved")


def test_nobody_is_told_twice_of_what_goes_on_until_a_repeat_is_due(desk: Lab) -> None:
    desk.fire(A)
    desk.wait(minutes=1)
    desk.wait(hours=20, every=20 * MINUTE)  # from 12:01 to 08:01
    assert told(desk) == told(desk, "log_files") == told(desk, "console") == [("firing", "a")]
    desk.wait(hours=3, minutes=58, every=10 * MINUTE)  # to 11:59
    digest = [("repeat", "a")]
    assert told(desk) == [("firing", "a"), *digest]
    assert [one.kind for one in desk.targets["ops"].got] == ["group", "digest"]
    assert told(desk, "log_files") == [("firing", "a")]
    desk.wait(minutes=5)
    assert told(desk) == [("firing", "a"), *digest, ("repeat", "a")]
    assert told(desk, "log_files") == told(desk, "console") == [("firing", "a"), ("repeat", "a")]


def test_a_critical_alert_is_repeated_every_four_hours(desk: Lab) -> None:
    desk.fire(WORSE)
    desk.watch()
    desk.wait(hours=12, every=10 * MINUTE)  # to midnight
    assert told(desk) == told(desk, "log_files") == [("firing", "a"), *[("repeat", "a")] * 3]
    counts = [one.alerts[0].count for one in desk.targets["ops"].got]
    assert counts == [1, 2, 3, 4]


def test_a_group_gets_one_message_in_five_minutes_and_loses_nothing(desk: Lab) -> None:
    for number in range(12):
        desk.fire(alert(f"{number:02}"))
        desk.wait(seconds=50)
    desk.wait(minutes=5)
    assert sorted(what for _, what in told(desk)) == [f"{number:02}" for number in range(12)]
    times = [one.at for one in desk.targets["ops"].got]
    assert 2 <= len(times) <= 4


def test_alerts_of_other_components_are_other_messages(desk: Lab) -> None:
    desk.fire(alert("a", labels={"component": "磁盘"}), alert("b", labels={"component": "队列"}), A, B)
    desk.wait(seconds=30)
    assert sorted(sorted(what for _, what in words(one)) for one in desk.targets["ops"].got) == [
        ["a"],
        ["a", "b"],
        ["b"],
    ]
    assert {one.group_labels["component"] for one in desk.targets["ops"].got} == {"磁盘", "队列", ""}


def test_a_target_groups_as_its_settings_say(database: Database, clock: ManualClock) -> None:
    desk = lab(database, clock, targets={"ops": {"group_by": ["what"]}})
    desk.fire(A, B)
    desk.wait(seconds=30)
    assert len(desk.targets["ops"].got) == 2


def test_alerts_that_are_grouped_by_severity_move_when_they_get_worse(database: Database, clock: ManualClock) -> None:
    desk = lab(database, clock, targets={"ops": {"group_by": ["severity"]}})
    desk.fire(A, B)
    desk.wait(minutes=1)
    desk.fire(WORSE)
    desk.wait(minutes=10, every=2 * MINUTE)
    desk.end(A, B)
    desk.wait(hours=30, every=20 * MINUTE)
    first, moved, *ends = (sorted(words(one)) for one in desk.targets["ops"].got)
    assert (first, moved) == ([("firing", "a"), ("firing", "b")], [("firing", "a")])
    assert sorted(ends) == [[("resolved", "a")], [("resolved", "b")]]


def test_alerts_told_before_the_settings_changed_are_told_to_the_end(database: Database, clock: ManualClock) -> None:
    before = lab(database, clock)
    before.fire(A)
    before.wait(minutes=1)
    after = lab(database, clock, targets={"ops": {"group_by": ["what"]}})
    after.wrong, after.targets["ops"].got = before.wrong, before.targets["ops"].got
    after.end(A)
    after.wait(hours=25, every=20 * MINUTE)
    assert told(after) == [("firing", "a"), ("resolved", "a")]


def test_a_target_that_wants_critical_alerts_only_hears_what_became_of_them(
    database: Database, clock: ManualClock
) -> None:
    desk = lab(database, clock, ("ops", "boss"), targets={"boss": {"levels": ["critical"]}})
    desk.fire(A, B)
    desk.wait(minutes=1)
    assert told(desk, "boss") == []
    desk.fire(WORSE)
    desk.wait(minutes=10, every=2 * MINUTE)
    desk.fire(A)
    desk.wait(hours=30, every=20 * MINUTE)
    desk.end(A, B)
    desk.wait(minutes=10, every=2 * MINUTE)
    events = [event for event, what in told(desk, "boss") if what == "a"]
    assert events == ["firing", "eased", "resolved"]
    assert ("firing", "b") not in told(desk, "boss")


def test_a_target_without_ends_is_told_of_the_next_beginning(database: Database, clock: ManualClock) -> None:
    desk = lab(database, clock, targets={"ops": {"send_resolved": False}})
    desk.fire(A)
    desk.wait(minutes=1)
    desk.end(A)
    desk.wait(minutes=10, every=2 * MINUTE)
    desk.fire(A)
    desk.wait(minutes=10, every=2 * MINUTE)
    assert told(desk) == [("firing", "a"), ("firing", "a")]


def test_an_alert_that_is_over_within_the_wait_is_told_in_one(desk: Lab) -> None:
    desk.fire(A)
    desk.wait(seconds=10)
    desk.end(A)
    desk.wait(minutes=1)
    assert told(desk) == [("firing-resolved", "a")]
    assert told(desk, "log_files") == [("firing", "a"), ("resolved", "a")]


def silence(desk: Lab, matcher: str = "what=a", lasts: timedelta = HOUR) -> str:
    now = desk.clock.now()
    made = Silences(desk.database, desk.clock).create(
        parse_matchers([matcher]), starts_at=now, ends_at=now + lasts, author="王伟", comment="换盘"
    )
    return made.id


def test_a_silenced_alert_is_recorded_and_told_to_nobody(desk: Lab) -> None:
    silence(desk)
    desk.fire(WORSE, B)
    desk.wait(minutes=30, every=5 * MINUTE)
    assert told(desk) == [("firing", "b")]
    assert told(desk, "console") == [("firing", "b")]
    assert sorted(told(desk, "log_files")) == [("firing", "b"), ("silenced", "a")]
    desk.end(WORSE)
    desk.wait(minutes=30, every=5 * MINUTE)
    assert ("resolved", "a") not in told(desk)
    assert ("resolved", "a") in told(desk, "log_files")


def test_what_still_fires_when_a_silence_ends_is_told_then(desk: Lab) -> None:
    silence(desk)
    desk.fire(A)
    desk.wait(minutes=59, every=5 * MINUTE)
    assert told(desk) == told(desk, "console") == []
    desk.wait(minutes=7)
    assert told(desk) == told(desk, "console") == [("firing", "a")]
    assert told(desk, "log_files") == [("silenced", "a")]


def test_what_still_fires_when_a_silence_is_ended_by_hand_is_told_at_the_next_pass(desk: Lab) -> None:
    made = silence(desk)
    desk.fire(WORSE)
    desk.wait(minutes=2)
    Silences(desk.database, desk.clock).end(made)
    desk.wait(seconds=30)
    assert told(desk) == [("firing", "a")]


def test_a_silence_made_before_the_message_is_sent_keeps_it_back(desk: Lab) -> None:
    desk.fire(A)
    desk.wait(seconds=10)
    silence(desk)
    desk.wait(minutes=30, every=5 * MINUTE)
    assert told(desk) == []
    assert rows(desk) == []


def test_who_was_told_before_a_silence_hears_the_end_during_it(desk: Lab) -> None:
    desk.fire(A)
    desk.wait(minutes=1)
    silence(desk)
    desk.fire(WORSE)
    desk.wait(minutes=10, every=2 * MINUTE)
    desk.end(WORSE)
    desk.wait(minutes=10, every=2 * MINUTE)
    assert told(desk) == told(desk, "console") == [("firing", "a"), ("resolved", "a")]
    assert told(desk, "log_files") == [("firing", "a"), ("silenced", "a"), ("resolved", "a")]


def test_silences_are_listed_ended_and_refused(desk: Lab) -> None:
    silences = Silences(desk.database, desk.clock)
    made = silence(desk)
    assert [one.id for one in silences.list()] == [made]
    assert silences.end(made).ended_at == desk.clock.now()
    assert silences.list() == []
    assert [one.id for one in silences.list(over=True)] == [made]
    desk.clock.advance(HOUR)
    assert silences.end(made).ended_at == desk.clock.now() - HOUR
    with pytest.raises(BadArgument, match=f'did you mean "{made}"'):
        silences.end(made[:-1] + "x")
    now = desk.clock.now()
    given = {"starts_at": now - HOUR, "author": "王伟", "comment": "换盘"}
    for why, more in [
        ("is over", {"ends_at": now}),
        ("needs a author", {"ends_at": now + HOUR, "author": " "}),
        ("needs a comment", {"ends_at": now + HOUR, "comment": "\n"}),
    ]:
        with pytest.raises(BadArgument, match=why):
            silences.create(parse_matchers(["what=a"]), **{**given, **more})  # type: ignore[arg-type]
    with pytest.raises(BadArgument, match="fit every alert"):
        silences.create([], ends_at=now + HOUR, **given)  # type: ignore[arg-type]


def ack(desk: Lab, **how: object) -> None:
    (known,) = [one.fingerprint for one in desk.evaluator.outside("lab", desk.wrong.values(), complete=True).open]
    Acknowledgements(desk.database, desk.clock, desk.announcer.announce).ack(known[:6], by="李娜", **how)  # type: ignore[arg-type]


def test_an_acknowledged_alert_is_not_repeated_for_a_day(desk: Lab) -> None:
    desk.fire(WORSE)
    desk.watch()
    ack(desk, comment="在处理")
    desk.wait(hours=19, every=20 * MINUTE)  # to 07:00: repeats would have been due
    assert told(desk) == told(desk, "console") == [("firing", "a")]
    assert told(desk, "log_files") == [("firing", "a"), ("acked", "a")]
    desk.wait(hours=5, minutes=10, every=10 * MINUTE)
    assert told(desk)[-1] == ("repeat", "a")


def test_an_acknowledgement_ends_when_it_gets_worse(desk: Lab) -> None:
    desk.fire(A)
    desk.wait(minutes=1)
    ack(desk)
    desk.fire(WORSE)
    desk.watch()
    assert told(desk) == [("firing", "a"), ("escalated", "a")]
    desk.wait(hours=5, every=5 * MINUTE)
    assert told(desk)[2:] == [("repeat", "a")]


def test_what_can_not_be_acknowledged_is_refused(desk: Lab) -> None:
    acks = Acknowledgements(desk.database, desk.clock, desk.announcer.announce)
    for fingerprint, why in [
        ("0123456789abcdef", "no open alert"),
        ("abc", "first 4 digits"),
        ("%" * 16, "no fingerp"),
    ]:
        with pytest.raises(BadArgument, match=why):
            acks.ack(fingerprint, by="李娜")
    with pytest.raises(BadArgument, match="needs a name"):
        acks.ack("0123456789abcdef", by=" ")
    with pytest.raises(BadArgument, match="over at once"):
        acks.ack("0123456789abcdef", by="李娜", lasts=timedelta(0))
    desk.fire(A)
    desk.end(A)
    with desk.database.read() as connection:
        (known,) = {row.group_key for row in outbox.listed(connection) if row.kind == "event"}
    with pytest.raises(BadArgument, match="no open alert"):
        acks.ack(known, by="李娜")


def test_flapping_is_one_message_and_then_peace(desk: Lab) -> None:
    desk.fire(A)
    desk.wait(minutes=6)
    for _ in range(6):
        desk.end(A)
        desk.wait(minutes=1)
        desk.fire(A)
        desk.wait(minutes=1)
    events = [event for event, _ in told(desk)]
    assert events.count("flapping") == 1
    assert events.index("flapping") == len(events) - 1
    assert len(events) <= 4
    desk.end(A)
    desk.wait(minutes=1)
    assert [event for event, _ in told(desk)] == events
    desk.wait(hours=2, every=5 * MINUTE)
    assert [event for event, _ in told(desk)] == [*events, "resolved"]
    recorded = [event for event, _ in told(desk, "log_files")]
    assert (recorded.count("firing"), recorded.count("resolved"), recorded.count("flapping")) == (7, 7, 1)


def test_the_digest_at_nine_tells_what_is_open_since_before_and_nothing_else(desk: Lab) -> None:
    desk.fire(A, B)
    desk.wait(minutes=1)
    silence(desk, "what=b", timedelta(days=3))
    desk.wait(hours=20, minutes=58, every=30 * MINUTE)  # to 08:59
    desk.targets["ops"].got.clear()
    desk.wait(minutes=5)
    (digest,) = desk.targets["ops"].got
    assert (digest.kind, words(digest), f"{digest.at:%H:%M}") == ("digest", [("repeat", "a")], "09:00")
    assert told(desk, "log_files") == [("firing", "a"), ("firing", "b")]


def test_a_digest_of_nothing_is_not_sent_and_not_made_up_for_later(desk: Lab) -> None:
    desk.wait(hours=22, every=30 * MINUTE)  # to 10:00
    desk.fire(A)
    desk.wait(hours=2, every=30 * MINUTE)
    assert [one.kind for one in desk.targets["ops"].got] == ["group"]


def test_a_digest_that_nobody_was_there_to_write_is_written_later_that_day(desk: Lab) -> None:
    desk.fire(A)
    desk.wait(minutes=1)
    desk.clock.advance(timedelta(hours=26))  # 14:01 on the next day
    desk.watch()
    assert sorted(one.kind for one in desk.targets["ops"].got) == ["digest", "group", "group"]
    desk.watch()
    assert len(desk.targets["ops"].got) == 3


def test_thousands_of_alerts_are_one_message(database: Database, clock: ManualClock) -> None:
    desk = lab(database, clock)
    desk.fire(*(alert(f"{number}") for number in range(2_000)))
    desk.wait(seconds=30)
    (message,) = desk.targets["ops"].got
    assert (len(message.alerts), message.left_out) == (20, 1_980)
    desk.wait(minutes=20, every=5 * MINUTE)
    assert len(desk.targets["ops"].got) == 1
    desk.end(*desk.wrong.values())
    desk.wait(minutes=6)
    assert [(one.status, len(one.alerts), one.left_out) for one in desk.targets["ops"].got[1:]] == [
        ("resolved", 20, 1_980)
    ]


def test_the_same_alert_said_ten_thousand_times_is_one_message(desk: Lab) -> None:
    for _ in range(200):
        desk.fire(*[A] * 50)
    desk.wait(minutes=10, every=2 * MINUTE)
    assert told(desk) == told(desk, "log_files") == [("firing", "a")]


def test_without_a_monitor_nobody_waits(desk: Lab) -> None:
    desk.announcer = Announcer(desk.settings, ZONE, group_wait=timedelta(0))
    desk.evaluator = type(desk.evaluator)(desk.database, desk.clock, desk.settings, desk.announcer.announce)
    desk.fire(A)
    desk.deliverer.deliver()
    assert told(desk) == [("firing", "a")]


def test_alerts_that_are_switched_off_write_nothing(database: Database, clock: ManualClock) -> None:
    desk = lab(database, clock, enabled=False)
    desk.fire(A)
    desk.wait(minutes=1)
    assert (told(desk), rows(desk)) == ([], [])


def test_what_waits_for_a_target_that_is_gone_becomes_a_dead_letter(database: Database, clock: ManualClock) -> None:
    lab(database, clock, ("ops", "old")).fire(A)
    desk = lab(database, clock)
    desk.wait(hours=12, minutes=1, every=20 * MINUTE)
    assert [(row.target, row.state) for row in rows(desk, "dead")] == [("old", "dead")]
    with desk.database.read() as connection:
        assert groups.due(connection, desk.clock.now()) == {}


def test_the_readers_zone_is_in_every_time(desk: Lab) -> None:
    desk.fire(A)
    desk.wait(minutes=1)
    (message,) = desk.targets["ops"].got
    assert message.at == datetime(2026, 3, 10, 12, 0, tzinfo=ZONE)
    assert message.at.utcoffset() == timedelta(hours=8)
