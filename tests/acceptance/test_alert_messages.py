"""From a figure to a receiver on the network: which messages arrive in which window, whatever the receiver does."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from alert_lab import Lab, Target, alert, settings
from receiver import Answer, Receiver, receiving

from app.alerts.channel import Channel, ChannelContext
from app.alerts.channels import open_target
from app.alerts.wire import http_post
from app.core.clock import ManualClock
from app.core.database import Database

A = alert("a", "critical")
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


@pytest.fixture
def desk(database: Database, clock: ManualClock, receiver: Receiver, tmp_path: Path) -> Lab:
    options = {"ops": {"url": f"{receiver.url}/hook", "allow_private": True}}
    chosen = settings(("log_files", "ops", "boss"), targets=options)
    boss = Target("boss")
    context = ChannelContext(logs=tmp_path / "logs", stderr=None, clock=clock)
    opened = partial(open_target, context=context, targets=chosen.targets)

    def open_or_boss(name: str) -> Channel:
        return boss if name == "boss" else opened(name)

    return Lab(database=database, clock=clock, settings=chosen, targets={"boss": boss}, open_target=open_or_boss)


def bodies(receiver: Receiver) -> list[dict[str, Any]]:
    return [one.json for one in receiver.got]


def states(receiver: Receiver) -> list[str]:
    return [body["status"] for body in bodies(receiver)]


def keys(receiver: Receiver) -> list[str]:
    return [one.headers["idempotency-key"] for one in receiver.got]


def test_an_alert_arrives_at_once_and_its_end_after_five_minutes(desk: Lab, receiver: Receiver) -> None:
    desk.fire(A)
    desk.watch()
    assert states(receiver) == ["firing"]
    (body,) = bodies(receiver)
    assert body["alerts"][0]["labels"]["what"] == "a"
    desk.end(A)
    desk.wait(minutes=4, seconds=59, every=MINUTE)
    assert states(receiver) == ["firing"]
    desk.wait(seconds=1)
    assert states(receiver) == ["firing", "resolved"]
    assert len(set(keys(receiver))) == 2


@pytest.mark.parametrize("answer", [Answer(code=500), Answer(code=503), Answer(dies=True)])
def test_what_fails_is_sent_again_with_the_same_key(desk: Lab, receiver: Receiver, answer: Answer) -> None:
    receiver.answers(answer, answer, Answer())
    desk.fire(A)
    desk.watch()
    assert len(receiver.got) == 1
    desk.wait(seconds=4)
    desk.wait(seconds=1)
    desk.wait(seconds=15)
    desk.wait(minutes=5, every=MINUTE)
    assert len(receiver.got) == 3
    assert len(set(keys(receiver))) == 1
    assert desk.targets["boss"].told() == [("firing", "a")]


def test_a_receiver_that_asks_for_peace_gets_it(desk: Lab, receiver: Receiver) -> None:
    receiver.answers(Answer(code=429, headers={"Retry-After": "120"}), Answer())
    desk.fire(A)
    desk.watch()
    desk.wait(seconds=119, every=MINUTE)
    assert len(receiver.got) == 1
    desk.wait(seconds=1)
    assert len(receiver.got) == 2


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410])
def test_a_receiver_that_refuses_for_good_is_told_of_to_the_others(desk: Lab, receiver: Receiver, code: int) -> None:
    receiver.answers(Answer(code=code))
    desk.fire(A)
    report = desk.watch()
    assert str(code) in report.broken["ops"]
    desk.evaluator.evaluate("channels", report.document(), sparse=True)
    desk.wait(minutes=1)
    assert ("firing", "NotificationChannelBroken") in desk.targets["boss"].told()
    assert len(receiver.got) == 1


def test_a_receiver_that_hangs_costs_nobody_else_a_message(
    desk: Lab, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_post.Limits, "__init__", partial_limits(whole_s=0.3))
    receiver.answers(Answer(hangs=True), Answer())
    desk.fire(A)
    report = desk.watch()
    assert (report.failed, desk.targets["boss"].told()) == (1, [("firing", "a")])
    desk.wait(minutes=1)
    assert len(set(keys(receiver))) == 1
    assert len(receiver.got) == 2


def partial_limits(*, whole_s: float) -> Any:
    """A constructor of shorter limits: a test need not wait ten seconds."""

    def init(self: Any, **_given: float) -> None:
        object.__setattr__(self, "connect_s", whole_s)
        object.__setattr__(self, "whole_s", whole_s)

    return init


def test_a_receiver_that_was_away_for_an_hour_gets_what_is_true(desk: Lab, receiver: Receiver, tmp_path: Path) -> None:
    receiver.answers(Answer(code=502))
    over = alert("over")
    desk.fire(over)
    for number in range(12):
        desk.fire(alert(f"{number}"))
        desk.wait(minutes=5, every=5 * MINUTE)
        if number == 3:
            desk.end(over)
    before = len(receiver.got)
    receiver.answers(Answer())
    desk.wait(minutes=20, every=5 * MINUTE)
    (body,) = bodies(receiver)[before:]
    found = {one["labels"]["what"]: one["status"] for one in body["alerts"]}
    assert found == {f"{number}": "firing" for number in range(12)} | {"over": "resolved"}
    lines = (tmp_path / "logs" / "warning_alerts.log").read_text().splitlines()
    assert len(lines) == 14


def test_nothing_is_sent_where_nobody_allowed_a_private_address(
    database: Database, clock: ManualClock, receiver: Receiver, tmp_path: Path
) -> None:
    chosen = settings(("ops",), targets={"ops": {"url": f"{receiver.url}/hook"}})
    context = ChannelContext(logs=tmp_path / "logs", stderr=None, clock=clock)
    opened = partial(open_target, context=context, targets=chosen.targets)
    desk = Lab(database=database, clock=clock, settings=chosen, targets={}, open_target=opened)
    desk.fire(A)
    assert "allow_private" in desk.watch().broken["ops"]
    assert receiver.got == []
