"""The notify decision: what a target is told of one alert, for all that it knows and all that holds the alert back."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from alert_lab import NOON, an_instance

from app.alerts.notices.decision import Decision, Mark, Wishes, decide, marked
from app.alerts.notices.suppression import Flags

HOUR = timedelta(hours=1)
REPEAT = timedelta(hours=4)
UNTIL = NOON + timedelta(minutes=5)
SINCE = NOON - timedelta(minutes=20)

FREE = Flags()
SILENCED = Flags(silenced_by=("5e1ec7",))
INHIBITED = Flags(inhibited_by="0123456789abcdef")
MUTED = Flags(muted=True)
ACKED = Flags(acked=True)
FLAPPING = Flags(held_until=UNTIL)
QUIET = [SILENCED, INHIBITED, MUTED]

FIRING: dict[str, Any] = {}
RECOVERING = {"state": "recovering"}
CRITICAL = {"level": "critical"}
RESOLVED = {"state": "resolved", "resolved_at": NOON}
PENDING = {"state": "pending", "fired_at": None}
NEVER = {"state": "resolved", "fired_at": None, "episode": 0}
FLAPS = {"flapping_since": SINCE}


def mark(level: str = "warning", ago: timedelta = HOUR, **changed: Any) -> Mark:
    given: dict[str, Any] = {"level": level, "at": NOON - ago, "episode": 1}
    return Mark(**given | changed)


def decided(instance: dict[str, Any], known: Mark | None, flags: Flags = FREE, **how: Any) -> Decision:
    owed = how.pop("owed", False)
    return decide(an_instance(**instance), known, flags, Wishes(repeat=REPEAT, **how), NOON, owed=owed)


def said(*args: Any, **how: Any) -> str | None:
    """The event; with `-resolved` behind it where it tells of an end and is not `resolved` itself."""
    decision = decided(*args, **how)
    ended = decision.status == "resolved" and decision.event not in {None, "resolved"}
    return f"{decision.event}-resolved" if ended else decision.event


TABLE = [
    # alert, what the target knows, what holds it back -> what is said
    (FIRING, None, FREE, "firing"),
    (RECOVERING, None, FREE, "firing"),
    (CRITICAL, None, FREE, "firing"),
    (FIRING, None, ACKED, "firing"),  # others have not heard of it
    (FIRING, mark(), FREE, None),
    (RECOVERING, mark(), FREE, None),
    (CRITICAL, mark(), FREE, "escalated"),
    (CRITICAL, mark(), ACKED, "escalated"),
    (CRITICAL, mark("critical"), FREE, None),
    (FIRING, mark("critical"), FREE, "eased"),
    (FIRING, mark("critical"), ACKED, "eased"),
    (FIRING, mark(ago=REPEAT - timedelta(microseconds=1)), FREE, None),
    (FIRING, mark(ago=REPEAT), FREE, "repeat"),
    (RECOVERING, mark(ago=REPEAT), FREE, "repeat"),
    (FIRING, mark(ago=REPEAT), ACKED, None),
    (FIRING, mark(lost=True), FREE, None),
    (FIRING, mark(lost=True, ago=REPEAT), FREE, "firing"),
    (CRITICAL, mark(lost=True), FREE, "firing"),
    (FIRING, mark("critical", lost=True), FREE, "firing"),
    # It came again before its end was told: nothing new to whoever was told of its beginning.
    ({"episode": 2}, mark(episode=1), FREE, None),
    # The end is told to whoever was told of the beginning, and to nobody else.
    (RESOLVED, mark(), FREE, "resolved"),
    (RESOLVED, mark(), ACKED, "resolved"),
    (RESOLVED, mark("critical"), FREE, "resolved"),
    (RESOLVED, mark(), SILENCED, "resolved"),
    (RESOLVED, mark(), INHIBITED, "resolved"),
    (RESOLVED, mark(), MUTED, "resolved"),
    (RESOLVED, None, FREE, None),
    (RESOLVED, mark(lost=True), FREE, None),
    (NEVER, None, FREE, None),
    (PENDING, None, FREE, None),
    (PENDING, mark(), FREE, "resolved"),
    # Flapping: one message, then none but of a level higher than any before.
    (FLAPS, None, FLAPPING, "flapping"),
    (FLAPS, mark(), FLAPPING, "flapping"),
    (FLAPS, mark(lost=True), FLAPPING, "flapping"),
    (FLAPS | RESOLVED, mark(), FLAPPING, "flapping-resolved"),
    (FLAPS | RESOLVED, None, FLAPPING, None),
    (FLAPS, mark(flapping_since=SINCE), FLAPPING, None),
    (FLAPS | RESOLVED, mark(flapping_since=SINCE), FLAPPING, None),
    (FLAPS | CRITICAL, mark(flapping_since=SINCE), FLAPPING, "escalated"),
    (FLAPS | CRITICAL, mark("critical", flapping_since=SINCE), FLAPPING, None),
    (FLAPS, mark("critical", flapping_since=SINCE), FLAPPING, None),
    (FLAPS, mark(flapping_since=SINCE - HOUR), FLAPPING, "flapping"),
    (FLAPS, mark(flapping_since=SINCE, ago=REPEAT), FLAPPING, None),
    # It has been calm for long enough.
    (FLAPS, mark(flapping_since=SINCE), FREE, None),
    (FLAPS, mark("critical", flapping_since=SINCE), FREE, "eased"),
    (RESOLVED, mark(flapping_since=SINCE), FREE, "resolved"),
]


@pytest.mark.parametrize(("instance", "known", "flags", "event"), TABLE)
def test_what_is_said(instance: dict[str, Any], known: Mark | None, flags: Flags, event: str | None) -> None:
    assert said(instance, known, flags) == event


@pytest.mark.parametrize("flags", QUIET)
@pytest.mark.parametrize("instance", [FIRING, RECOVERING, CRITICAL, FLAPS])
@pytest.mark.parametrize("known", [None, mark(), mark("critical"), mark(ago=REPEAT), mark(lost=True)])
def test_nothing_is_said_of_what_goes_on_while_it_is_held_back(
    instance: dict[str, Any], known: Mark | None, flags: Flags
) -> None:
    decision = decided(instance, known, flags)
    assert decision.event is None
    assert decision.held_back


@pytest.mark.parametrize(
    ("known", "flags", "event"),
    [
        (None, FREE, "firing-resolved"),
        (mark(lost=True), FREE, "firing-resolved"),
        (mark(), FREE, "resolved"),
        (None, SILENCED, None),
        (None, INHIBITED, None),
        (None, MUTED, None),
        (None, ACKED, "firing-resolved"),
    ],
)
def test_what_ended_before_anybody_heard_of_it_is_told_in_one(
    known: Mark | None, flags: Flags, event: str | None
) -> None:
    assert said(RESOLVED, known, flags, owed=True) == event


@pytest.mark.parametrize("owed", [True, False])
def test_a_target_that_wants_no_ends_forgets_them(*, owed: bool) -> None:
    decision = decided(RESOLVED, mark(), send_resolved=False, owed=owed)
    assert (decision.event, decision.forget) == (None, True)
    assert decided(RESOLVED, None, send_resolved=False, owed=owed).event is None


@pytest.mark.parametrize(
    ("instance", "known", "event"),
    [
        (FIRING, None, None),
        (FIRING, mark("critical"), "eased"),
        (FIRING, mark(ago=REPEAT), None),
        (FLAPS, None, None),
        (RESOLVED, mark("critical"), "resolved"),
        (RESOLVED, mark(), "resolved"),
    ],
)
def test_of_a_level_it_does_not_want_a_target_hears_only_what_became_of_what_it_knows(
    instance: dict[str, Any], known: Mark | None, event: str | None
) -> None:
    assert said(instance, known, wanted=False) == event


@pytest.mark.parametrize(
    ("instance", "known", "flags", "look_again_at"),
    [
        (FIRING, mark(), FREE, NOON - HOUR + REPEAT),
        (FIRING, mark(), ACKED, NOON - HOUR + REPEAT),
        (FLAPS, mark(flapping_since=SINCE), FLAPPING, UNTIL),
        (FLAPS | RESOLVED, mark(flapping_since=SINCE), FLAPPING, UNTIL),
        (FLAPS, None, FLAPPING, UNTIL),
        (RESOLVED, None, FREE, None),
        (FIRING, None, FREE, None),
    ],
)
def test_it_is_known_when_there_may_be_more_to_say(
    instance: dict[str, Any], known: Mark | None, flags: Flags, look_again_at: datetime | None
) -> None:
    assert decided(instance, known, flags).look_again_at == look_again_at


def test_a_repeat_that_an_acknowledgement_holds_back_comes_when_that_ends() -> None:
    assert decided(FIRING, mark(ago=REPEAT), ACKED).held_back


def test_after_a_message_the_target_knows_level_episode_and_how_often_it_was_told() -> None:
    instance = an_instance(level="critical", episode=3)
    first = marked(instance, None, Decision(event="firing"), FREE, NOON)
    assert first == Mark(level="critical", at=NOON, episode=3)
    second = marked(instance, first, Decision(event="repeat"), FREE, NOON + HOUR)
    assert second == Mark(level="critical", at=NOON + HOUR, episode=3, count=2)
    again = marked(an_instance(level="critical", episode=4), second, Decision(event="repeat"), FREE, NOON)
    assert again is not None
    assert again.count == 1


def test_after_an_end_the_target_knows_nothing_but_that_of_what_flaps() -> None:
    ended = an_instance(**RESOLVED)
    assert marked(ended, mark(), Decision(event="resolved", status="resolved"), FREE, NOON) is None
    assert marked(ended, None, Decision(event="firing", status="resolved"), FREE, NOON) is None
    flaps = an_instance(**FLAPS | RESOLVED)
    known = marked(flaps, mark("critical"), Decision(event="flapping", status="resolved"), FLAPPING, NOON)
    assert known == Mark(level="critical", at=NOON, episode=1, count=2, flapping_since=SINCE)


@pytest.mark.parametrize("known", [mark(), mark("critical", count=7, flapping_since=SINCE, lost=True)])
def test_a_mark_is_read_as_it_was_written(known: Mark) -> None:
    assert Mark.from_json(known.to_json()) == known
