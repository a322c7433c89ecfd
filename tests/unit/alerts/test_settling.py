"""What a group's next message is, and when it goes out."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from alert_lab import NOON, ZONE, an_instance

from app.alerts.life.instance import Instance
from app.alerts.notices.decision import Mark, Wishes
from app.alerts.notices.grouping import Group, compose
from app.alerts.notices.settling import Outlook, Settled, Waiting, as_known, given_up, got, known_after, settle
from app.alerts.notices.suppression import Flags

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


def mark(level: Any = "warning", ago: timedelta = HOUR, **changed: Any) -> Mark:
    return Mark(**{"level": level, "at": NOON - ago, "episode": 1} | changed)


def group(told: dict[str, Mark] | None = None, sent: timedelta | None = None) -> Group:
    return Group(
        target="ops",
        key="k",
        labels={},
        last_sent_at=NOON - sent if sent is not None else None,
        told={an_instance(what).fingerprint: known for what, known in (told or {}).items()},
    )


def waiting(*about: tuple[Instance, Mark | None], number: int = 1, **changed: Any) -> Waiting:
    given = {"id": number, "next_at": NOON + 10 * SECOND, "attempts": 0}
    return Waiting(marks={one.fingerprint: known for one, known in about}, **given | changed)


def settled(of: Group, instances: Sequence[Instance], *, quiet: Sequence[Instance] = (), **how: Any) -> Settled:
    def flags(one: Instance) -> Flags:
        return Flags(muted=one in quiet)

    outlook = Outlook(flags=flags, wishes=lambda _one: Wishes(repeat=4 * HOUR))
    return settle(of, instances, outlook, NOON, **how)


def events(of: Settled) -> dict[str, str]:
    return {one.instance.labels["what"]: f"{one.event}/{one.decision.status}" for one in of.sayings}


A, B = an_instance("a"), an_instance("b")
CRITICAL = an_instance("a", level="critical")
OVER = an_instance("a", state="resolved", resolved_at=NOON)


def test_a_new_group_waits_for_what_comes_with_the_first() -> None:
    found = settled(group(), [A, B])
    assert events(found) == {"a": "firing/firing", "b": "firing/firing"}
    assert found.send_at == NOON + 30 * SECOND
    assert found.group.version == 1


def test_a_critical_first_message_does_not_wait() -> None:
    assert settled(group(), [CRITICAL, B]).send_at == NOON


@pytest.mark.parametrize(("sent", "wait"), [(MINUTE, 4 * MINUTE), (5 * MINUTE, 0 * MINUTE), (HOUR, 0 * MINUTE)])
def test_a_group_gets_a_message_every_five_minutes_at_most(sent: timedelta, wait: timedelta) -> None:
    assert settled(group({"a": mark()}, sent), [A, B]).send_at == NOON + wait


def test_a_clock_that_was_set_back_by_an_hour_delays_a_message_by_five_minutes_and_a_critical_one_not_at_all() -> None:
    later = -HOUR
    assert settled(group({"a": mark(ago=later)}, later), [A, B]).send_at == NOON + 5 * MINUTE
    critical = an_instance("b", level="critical")
    known = group({"a": mark("critical", ago=later)}, later)
    assert settled(known, [CRITICAL, critical]).send_at == NOON


@pytest.mark.parametrize("level", ["error", "critical"])
def test_what_became_worse_is_told_at_once(level: Any) -> None:
    worse = an_instance("a", level=level)
    found = settled(group({"a": mark()}, MINUTE), [worse])
    assert (events(found), found.send_at, found.level) == ({"a": "escalated/firing"}, NOON, level)


def test_a_thousand_critical_alerts_one_by_one_are_not_a_thousand_messages() -> None:
    late = an_instance("b", level="critical")
    just_told = group({"a": mark("critical", ago=MINUTE)}, MINUTE)
    assert settled(just_told, [CRITICAL, late]).send_at == NOON + 4 * MINUTE
    told_before = group({"a": mark("critical", ago=5 * MINUTE)}, 5 * MINUTE)
    assert settled(told_before, [CRITICAL, late]).send_at == NOON


def test_what_waits_is_made_anew_with_what_came_since_and_waits_no_longer() -> None:
    found = settled(group(), [A, B], waiting=[waiting((A, mark()))])
    assert events(found) == {"a": "firing/firing", "b": "firing/firing"}
    assert (found.replaced, found.send_at) == ([1], NOON + 10 * SECOND)


def test_what_waits_and_still_says_all_is_left_alone() -> None:
    found = settled(group(), [A], waiting=[waiting((A, mark()))])
    assert (found.sayings, found.replaced, found.group.version) == ((), (), 0)


def test_what_was_tried_keeps_its_patience_and_its_reason() -> None:
    tried = waiting((A, mark()), next_at=NOON + 7 * MINUTE, attempts=4, last_error="500")
    found = settled(group(), [A, B], waiting=[tried])
    assert (found.send_at, found.attempts, found.last_error) == (NOON + 7 * MINUTE, 4, "500")


def test_what_is_over_before_it_got_through_is_told_in_one() -> None:
    found = settled(group(), [OVER], waiting=[waiting((A, mark()))])
    assert events(found) == {"a": "firing/resolved"}
    assert found.replaced == [1]
    # And it is still told in one when the message is made anew once more.
    later = settled(group(), [OVER, B], waiting=[waiting((OVER, None), number=2)])
    assert events(later) == {"a": "firing/resolved", "b": "firing/firing"}


def test_what_is_silenced_before_it_got_through_is_not_sent() -> None:
    found = settled(group(), [A], quiet=[A], waiting=[waiting((A, mark()))])
    assert (found.sayings, found.replaced) == ((), [1])
    assert found.group.next_at == NOON + 5 * MINUTE


def test_what_is_in_flight_counts_as_told_and_is_not_replaced() -> None:
    found = settled(group(), [OVER, B], in_flight=[waiting((A, mark()))])
    assert events(found) == {"a": "resolved/resolved", "b": "firing/firing"}
    assert found.replaced == []
    assert settled(group(), [A], in_flight=[waiting((A, mark()))]).sayings == ()


def test_the_end_is_told_to_whoever_knows_the_beginning_also_in_silence() -> None:
    found = settled(group({"a": mark()}, HOUR), [OVER], quiet=[OVER])
    assert events(found) == {"a": "resolved/resolved"}
    assert not found.still_firing


def test_the_end_of_one_is_not_the_end_of_the_group() -> None:
    assert settled(group({"a": mark(), "b": mark()}, HOUR), [OVER, B]).still_firing


def test_what_is_not_there_any_more_is_forgotten() -> None:
    found = settled(group({"a": mark()}, HOUR), [])
    assert (found.sayings, found.group.told) == ((), {})


def test_a_group_is_looked_at_again_when_a_repeat_is_due() -> None:
    known = {"a": mark(ago=HOUR), "b": mark(ago=3 * HOUR)}
    assert settled(group(known, HOUR), [A, B]).group.next_at == NOON + HOUR


def test_only_what_has_something_new_to_say_is_told() -> None:
    found = settled(group({"a": mark()}, HOUR), [A, B])
    assert events(found) == {"b": "firing/firing"}
    assert found.still_firing


def test_the_end_of_a_critical_alert_is_as_important_as_its_beginning() -> None:
    assert settled(group({"a": mark("critical")}, HOUR), [OVER]).level == "critical"


def test_after_a_message_the_target_knows_what_it_said() -> None:
    sent = got(group({"a": mark()}, HOUR), {A.fingerprint: None, B.fingerprint: mark()}, NOON)
    assert sent.told == {B.fingerprint: mark(ago=timedelta(0))}
    assert (sent.last_sent_at, sent.next_at) == (NOON, NOON)


def test_a_message_that_was_given_up_leaves_known_what_was_known() -> None:
    lost = given_up(group({"a": mark()}, HOUR), {A.fingerprint: mark("critical"), B.fingerprint: mark()}, NOON)
    assert not lost.told[A.fingerprint].lost
    assert lost.told[B.fingerprint].lost


def test_what_was_sent_later_counts() -> None:
    rows = [waiting((A, mark("critical")), number=1), waiting((A, None), (B, mark()), number=2)]
    assert known_after({A.fingerprint: mark()}, rows) == {B.fingerprint: mark()}


def message(*instances: Instance, told: dict[str, Mark]) -> Any:
    made = settled(group(told, HOUR), instances)
    return compose(made.group, made.sayings, NOON, ZONE, kind="group", idempotency_key="x")


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({A.fingerprint: mark()}, "resolved"),
        ({}, "firing"),
        ({A.fingerprint: mark(lost=True)}, "firing"),
    ],
)
def test_an_end_whose_beginning_was_given_up_meanwhile_is_told_in_one(known: Any, expected: str) -> None:
    (told,) = as_known(message(OVER, told={"a": mark()}), known).alerts
    assert (told.event, told.status) == (expected, "resolved")


@pytest.mark.parametrize(("known", "expected"), [({A.fingerprint: mark()}, "escalated"), ({}, "firing")])
def test_what_became_worse_is_simply_bad_to_whom_it_is_new(known: Any, expected: str) -> None:
    (told,) = as_known(message(CRITICAL, told={"a": mark()}), known).alerts
    assert (told.event, told.status) == (expected, "firing")


def test_a_look_at_nothing_says_nothing() -> None:
    found = settled(group(), [])
    assert (found.sayings, found.group.next_at) == ((), None)
