"""The contract that every file of app/alerts/channels keeps."""

import io
import json
import logging
import socket
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest
from alert_messages import a_notification, an_alert, told
from hostile_texts import PAYLOADS
from receiver import Answer, Receiver, receiving

from app.alerts.channel import Channel, ChannelContext, DeliveryError, Event, Notification
from app.alerts.channels import check_options, known_channels, open_channel, open_target
from app.alerts.targets import TargetSettings
from app.core.secret import Sealed

CANARY = "Geheim4711"
LOCAL = {"log_files", "console"}
CHANNELS = known_channels()
EVENTS: list[Event] = ["firing", "escalated", "eased", "repeat", "resolved", "acked", "silenced", "flapping"]


@dataclass(kw_only=True)
class Sink:
    """A channel and what reaches the other end of it."""

    channel: Channel
    receiver: Receiver
    context: ChannelContext

    def received(self) -> list[str]:
        """Everything that arrived, as it stands there: each request's body, each line of a file or the console."""
        files = sorted(self.context.logs.glob("*.log"))
        lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines(keepends=True)]
        console = cast("io.StringIO", self.context.stderr).getvalue().splitlines(keepends=True)
        return [*lines, *console, *(got.body.decode() for got in self.receiver.got)]


def options_for(name: str, receiver: Receiver) -> TargetSettings:
    if name in LOCAL:
        return TargetSettings()
    url = f"http://user:{CANARY}@127.0.0.1:{receiver.port}/{CANARY}?token={CANARY}"
    if name == "apprise":
        return TargetSettings(url=Sealed(url.replace("http://", "json://")), allow_private=True)
    more: dict[str, Any] = {"hmac_secret": Sealed(CANARY)} if name == "webhook" else {}
    headers = {"X-Key": Sealed(CANARY)}
    return TargetSettings(url=Sealed(url), headers=headers, allow_private=True, **more)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


@pytest.fixture(params=CHANNELS)
def sink(request: pytest.FixtureRequest, receiver: Receiver, tmp_path: Path) -> Sink:
    context = ChannelContext(logs=tmp_path / "logs", stderr=io.StringIO(), target="ops")
    options = options_for(request.param, receiver)
    return Sink(channel=open_channel(request.param, context, options), receiver=receiver, context=context)


def broken(name: str, tmp_path: Path) -> Channel:
    """The channel, with nobody at the other end."""
    (tmp_path / "file").write_text("no folder")
    with receiving() as gone:
        options = options_for(name, gone)
    return open_channel(name, ChannelContext(logs=tmp_path / "file", stderr=None, target="ops"), options)


def test_every_file_of_the_folder_is_a_channel_whose_options_are_checked(receiver: Receiver) -> None:
    assert CHANNELS == ["alertmanager", "apprise", "console", "heartbeat", "log_files", "webhook"]
    for name in CHANNELS:
        check_options(name, options_for(name, receiver))


@pytest.mark.parametrize("name", CHANNELS)
def test_making_a_channel_opens_and_asks_nothing(name: str, receiver: Receiver, tmp_path: Path) -> None:
    channel = open_channel(name, ChannelContext(logs=tmp_path / "logs", stderr=None), options_for(name, receiver))
    assert channel.name == name
    assert list(tmp_path.iterdir()) == []
    assert receiver.got == []


@pytest.mark.parametrize("name", CHANNELS)
def test_only_what_stays_on_this_machine_is_told_one_by_one(name: str, tmp_path: Path) -> None:
    context = ChannelContext(logs=tmp_path, stderr=None)
    assert open_target(name, context, {}).grouped == (name not in LOCAL)


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_arrives(sink: Sink, event: Event) -> None:
    status = "resolved" if event == "resolved" else "firing"
    sink.channel.send(a_notification(told(status=status, event=event)))
    if is_heartbeat(sink.channel) and event == "resolved":
        assert sink.received() == []  # something else may fire: only the sign of life knows
        return
    (received,) = sink.received()
    assert "DiskUsageHigh" in received


@pytest.mark.parametrize("kind", ["event", "group", "test"])
def test_every_kind_arrives(sink: Sink, kind: Any) -> None:
    sink.channel.send(a_notification(kind=kind))
    assert len(sink.received()) == 1


def test_a_digest_is_told_unless_it_would_be_a_signal(sink: Sink) -> None:
    sink.channel.send(a_notification(kind="digest"))
    assert len(sink.received()) == (0 if is_heartbeat(sink.channel) else 1)


def is_heartbeat(channel: Channel) -> bool:
    return type(channel).__module__.endswith(".heartbeat")


def test_an_alert_without_figures_labels_or_annotations_arrives(sink: Sink) -> None:
    bare = told(alert={"value": None, "threshold": None, "labels": {}}, duration_s=None, annotations={})
    sink.channel.send(a_notification(bare, group_labels={}))
    assert len(sink.received()) == 1


def test_what_was_read_back_from_the_outbox_arrives_as_it_was_written(sink: Sink) -> None:
    notification = a_notification(told(), told(status="resolved", alert={"labels": {"mount": "/b"}}))
    payload = json.loads(json.dumps(notification.to_json()))
    sink.channel.send(notification)
    direct = sink.received()
    sink.channel.send(Notification.from_json(payload))
    assert sorted(sink.received()) == sorted(direct * 2)


def test_a_test_says_what_was_done_and_that_it_is_one(sink: Sink) -> None:
    said = sink.channel.test()
    assert "\n" not in said
    assert CANARY not in said
    assert all("test" in received.lower() for received in sink.received())


def test_nothing_is_printed_or_warned_of(sink: Sink, capfd: pytest.CaptureFixture[str]) -> None:
    sink.channel.send(a_notification())
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", CHANNELS)
@pytest.mark.parametrize("act", ["send", "test"])
def test_a_dead_sink_is_a_delivery_error_in_one_line(name: str, act: str, tmp_path: Path) -> None:
    channel = broken(name, tmp_path)
    with pytest.raises(DeliveryError) as caught:
        channel.send(a_notification()) if act == "send" else channel.test()
    assert str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.permanent == (name == "console")


@pytest.mark.parametrize("name", [name for name in CHANNELS if name not in LOCAL])
@pytest.mark.parametrize(("code", "permanent"), [(401, True), (404, True), (429, False), (500, False)])
def test_an_answer_that_says_no_is_told_with_its_code(
    name: str,
    code: int,
    permanent: bool,  # noqa: FBT001 - a parameter
    receiver: Receiver,
    tmp_path: Path,
) -> None:
    receiver.answers(Answer(code=code, body=CANARY.encode()))
    channel = open_channel(name, ChannelContext(logs=tmp_path, stderr=None), options_for(name, receiver))
    with pytest.raises(DeliveryError, match=str(code)) as caught:
        channel.send(a_notification())
    assert caught.value.permanent == permanent
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("name", [name for name in CHANNELS if name not in LOCAL])
def test_private_addresses_need_the_operators_word(name: str, receiver: Receiver, tmp_path: Path) -> None:
    options = options_for(name, receiver)
    shut = TargetSettings(url=options.url, headers=options.headers, hmac_secret=options.hmac_secret)
    channel = open_channel(name, ChannelContext(logs=tmp_path, stderr=None), shut)
    with pytest.raises(DeliveryError, match="allow_private") as caught:
        channel.send(a_notification())
    assert caught.value.permanent
    assert receiver.got == []


@pytest.mark.parametrize("name", [name for name in CHANNELS if name not in LOCAL])
def test_a_redirect_is_not_followed(name: str, receiver: Receiver, tmp_path: Path) -> None:
    with receiving() as other:
        receiver.answers(Answer(code=302, headers={"Location": other.url}))
        channel = open_channel(name, ChannelContext(logs=tmp_path, stderr=None), options_for(name, receiver))
        with pytest.raises(DeliveryError):
            channel.send(a_notification())
        assert other.got == []


# Secrets

TROUBLE: dict[str, Callable[[Receiver], None]] = {
    "none": lambda _receiver: None,
    "refused": lambda receiver: receiver.answers(Answer(code=403, body=CANARY.encode())),
    "moved": lambda receiver: receiver.answers(Answer(code=301, headers={"Location": f"/{CANARY}"})),
    "dies": lambda receiver: receiver.answers(Answer(dies=True)),
    "gone": lambda receiver: receiver.server_close(),
}


@pytest.mark.parametrize("trouble", TROUBLE)
def test_no_secret_of_a_target_turns_up_anywhere(
    sink: Sink, trouble: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    TROUBLE[trouble](sink.receiver)
    told_on: list[str] = []
    with caplog.at_level(logging.NOTSET):
        for act in (lambda: sink.channel.send(a_notification()), sink.channel.test):
            try:
                act()
            except DeliveryError as error:
                told_on += [str(error), repr(error), *traceback.format_exception(error)]
    told_on += [caplog.text, *capfd.readouterr(), repr(sink.channel), repr(options_of(sink))]
    told_on += [body for body in sink.received() if sink.receiver.got]
    assert [text for text in told_on if CANARY in text] == []


def options_of(sink: Sink) -> TargetSettings:
    return options_for(type(sink.channel).__module__.rpartition(".")[2], sink.receiver)


@pytest.mark.parametrize(
    "url",
    [
        f"https://{CANARY}①.example/",
        f"https://h:{CANARY}/",
        f"https://h/{CANARY}\n",
        f"{CANARY}://h/",
        f"https://[{CANARY}/",
        f"json://{CANARY}:x:y@@/",
        f"slack://{CANARY}",
        f"tgram://{CANARY}/",
    ],
)
@pytest.mark.parametrize("name", [name for name in CHANNELS if name not in LOCAL])
def test_an_address_that_can_not_be_used_is_not_named(
    name: str, url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nothing)
    options = TargetSettings(url=Sealed(url))
    with caplog.at_level(logging.NOTSET):
        channel = open_channel(name, ChannelContext(logs=tmp_path, stderr=None), options)
        with pytest.raises(DeliveryError) as caught:
            channel.send(a_notification())
    assert CANARY not in "".join(traceback.format_exception(caught.value)) + caplog.text


# Hostile text: names, messages, labels and annotations come from rows, files and hosts that anybody may have named


def hostile(payload: str) -> Notification:
    alert = an_alert(
        message=f"坏 {payload}", alertname=f"Bad{payload}", type=payload, labels={"mount": payload, payload: "x"}
    )
    annotations = {"summary": payload, "description": payload, "runbook_url": payload}
    return a_notification(
        told(alert=alert, annotations=annotations),
        told(alert=replace(alert, severity="warning"), status="resolved", annotations=annotations),
        group_key=payload,
        group_labels={"alertname": payload},
        idempotency_key=payload,
        left_out=3,
    )


@pytest.mark.parametrize("name", CHANNELS)
def test_no_hostile_text_acts_where_it_is_shown(name: str, receiver: Receiver, tmp_path: Path) -> None:
    assert len(PAYLOADS) == 60
    context = ChannelContext(logs=tmp_path / "logs", stderr=io.StringIO(), target="ops")
    sink = Sink(channel=open_channel(name, context, options_for(name, receiver)), receiver=receiver, context=context)
    for payload in PAYLOADS:
        sink.channel.send(hostile(payload))
    received = sink.received()
    assert len(received) == len(PAYLOADS) * (2 if name in LOCAL else 1)
    assert all(text.rstrip("\n").replace("\n", "").isprintable() for text in received)
    if name in LOCAL:
        assert all(text.count("\n") == 1 for text in received)
    if name in {"webhook", "alertmanager"}:
        assert not {"<", ">", "&"} & set("".join(received))
        assert all(text.isascii() for text in received)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_receiver_of_json_gets_hostile_text_back_as_it_was(payload: str, receiver: Receiver, tmp_path: Path) -> None:
    channel = open_channel(
        "webhook",
        ChannelContext(logs=tmp_path, stderr=None),
        TargetSettings(url=Sealed(receiver.url), allow_private=True),
    )
    channel.send(hostile(payload))
    document = receiver.got[0].json
    assert document["groupKey"] == payload
    assert document["alerts"][0]["labels"]["mount"] == payload
    assert document["alerts"][0]["annotations"]["message"] == f"坏 {payload}"


# Sizes


def test_the_largest_group_arrives(sink: Sink) -> None:
    labels = {f"name{number:02}": "值" * 256 for number in range(16)}
    alerts = [told(alert={"message": "长" * 2000, "labels": {**labels, "n": str(number)}}) for number in range(20)]
    sink.channel.send(a_notification(*alerts, left_out=9980))
    assert len(sink.received()) == (1 if sink.channel.grouped else 20)
