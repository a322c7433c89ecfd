"""What goes through Apprise, and what the guard around it lets through."""

import io
import socket
import threading
from collections.abc import Iterator
from email import message_from_string
from email.message import Message
from pathlib import Path
from typing import Any, cast

import pytest
from alert_messages import a_notification, told
from receiver import Answer, Receiver, receiving

from app.alerts.channel import ChannelContext, DeliveryError, Notification
from app.alerts.channels import apprise as module
from app.alerts.channels import open_channel
from app.alerts.targets import TargetSettings
from app.alerts.wire.connect_guard import guarded
from app.core.secret import Sealed


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


def send(url: str, tmp_path: Path, notification: Notification | None = None, *, allow_private: bool = True) -> None:
    context = ChannelContext(logs=tmp_path, stderr=io.StringIO(), target="ops")
    options = TargetSettings(url=Sealed(url), allow_private=allow_private)
    open_channel("apprise", context, options).send(notification or a_notification())


def address(receiver: Receiver, query: str = "") -> str:
    return f"json://127.0.0.1:{receiver.port}/{query}"


def message(receiver: Receiver, tmp_path: Path, *alerts: Any, **changed: Any) -> dict[str, Any]:
    send(address(receiver), tmp_path, a_notification(*alerts, **changed))
    found: dict[str, Any] = receiver.got[-1].json
    return found


@pytest.mark.parametrize(
    ("changed", "kind", "title"),
    [
        ({}, "failure", "[CRITICAL] DiskUsageHigh"),
        ({"alert": {"severity": "warning"}}, "warning", "[WARNING] DiskUsageHigh"),
        ({"alert": {"severity": "error"}}, "warning", "[ERROR] DiskUsageHigh"),
        ({"status": "resolved"}, "success", "[RESOLVED] DiskUsageHigh"),
    ],
)
def test_title_and_kind_say_how_bad_it_is(
    receiver: Receiver, tmp_path: Path, changed: dict[str, Any], kind: str, title: str
) -> None:
    found = message(receiver, tmp_path, told(**changed))
    assert (found["type"], found["title"]) == (kind, title)


@pytest.mark.parametrize(("kind", "title"), [("digest", "[STILL OPEN] Disk"), ("test", "[TEST] Disk")])
def test_what_is_no_alarm_does_not_look_like_one(receiver: Receiver, tmp_path: Path, kind: str, title: str) -> None:
    found = message(receiver, tmp_path, kind=kind)
    assert found["type"] == "info"
    assert found["title"].startswith(title)


def test_text_from_outside_calls_nobody(receiver: Receiver, tmp_path: Path) -> None:
    text = "@everyone @Here <!channel> <@U123> @channel @all @所有人 worker@host a < b @allen"
    found = message(receiver, tmp_path, told(alert={"message": text, "alertname": "@everyone"}))
    shown = "＠everyone ＠Here ‹!channel> ‹＠U123> ＠channel ＠all ＠所有人 worker@host a < b @allen"
    assert found["message"].splitlines()[0] == shown.replace("‹＠U123", "‹@U123")
    assert found["title"] == "[CRITICAL] ＠everyone"


@pytest.fixture
def mails(monkeypatch: pytest.MonkeyPatch) -> list[Message]:
    """What was handed to a mail server."""
    taken: list[Message] = []

    class Server:
        def __init__(self, *_: Any, **__: Any) -> None:
            self.esmtp_features: dict[str, str] = {}

        def __getattr__(self, _name: str) -> Any:
            return lambda *_, **__: (250, b"ok")

        def sendmail(self, _sender: str, _to: Any, content: str) -> None:
            taken.append(message_from_string(content))

    monkeypatch.setattr("smtplib.SMTP", Server)
    return taken


def text_parts(mail: Message) -> dict[str, str]:
    parts = [part for part in mail.walk() if part.get_content_maintype() == "text"]
    return {part.get_content_type(): cast("bytes", part.get_payload(decode=True)).decode() for part in parts}


@pytest.mark.parametrize("form", ["", "&format=html"])
def test_a_mail_has_only_our_headers_and_shows_markup_as_text(mails: list[Message], tmp_path: Path, form: str) -> None:
    alert = told(alert={"message": "<script>alert(1)</script>\r\nBcc: evil@x", "alertname": "A\r\nBcc: evil@x"})
    send(f"mailto://user:geheim@mail.example?to=ops@mail.example{form}", tmp_path, a_notification(alert))
    (mail,) = mails
    assert "Bcc" not in mail
    parts = text_parts(mail)
    assert "<script>alert(1)</script>\\x0d\\x0aBcc: evil@x" in parts["text/plain"]
    assert ("text/html" in parts) == bool(form)
    assert "<script" not in parts.get("text/html", "")


@pytest.mark.parametrize("url", ["nothing://here", "json://", "slack://x", "text", "mailto://"])
def test_an_address_that_apprise_can_not_use_is_refused_for_good(url: str, tmp_path: Path) -> None:
    with pytest.raises(DeliveryError) as caught:
        send(url, tmp_path)
    assert caught.value.permanent


@pytest.mark.parametrize("answer", [Answer(hangs=True), Answer(code=500, trickles=True)], ids=["hangs", "trickles"])
def test_a_service_that_does_not_come_to_an_end_is_cut(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Answer
) -> None:
    monkeypatch.setattr(module, "WHOLE_S", 0.2)
    receiver.answers(answer)
    with pytest.raises(DeliveryError, match=r"took longer than 0\.2 s") as caught:
        send(address(receiver), tmp_path)
    assert not caught.value.permanent


def test_a_name_that_leads_to_this_machine_is_refused(receiver: Receiver, tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match="allow_private = true"):
        send(f"json://localhost:{receiver.port}/", tmp_path, allow_private=False)
    assert receiver.got == []


def test_what_a_name_server_says_later_does_not_count(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check is made at the connection, so that rebinding a name gets nowhere."""
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", receiver.port))],
    )
    with pytest.raises(DeliveryError, match="allow_private = true"):
        send(f"json://public.example:{receiver.port}/", tmp_path, allow_private=False)
    assert receiver.got == []


def test_a_redirect_to_this_machine_is_refused_even_where_redirects_are_followed(
    receiver: Receiver, tmp_path: Path
) -> None:
    with receiving() as other:
        receiver.answers(Answer(code=302, headers={"Location": other.url}))
        with pytest.raises(DeliveryError):
            send(address(receiver, "?redirect=yes"), tmp_path, allow_private=False)
        assert (receiver.got, other.got) == ([], [])


# The guard itself


def connect(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), timeout=5).close()


def test_the_guard_holds_this_thread_and_no_other(receiver: Receiver) -> None:
    with guarded(allow_private=False, whole_s=60) as guard:
        with pytest.raises(PermissionError):
            connect(receiver.port)
        other = threading.Thread(target=connect, args=(receiver.port,))
        other.start()
        other.join()
        assert guard.refused is not None
    connect(receiver.port)


def test_datagrams_are_guarded_like_connections() -> None:
    with guarded(allow_private=False, whole_s=60), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        with pytest.raises(PermissionError):
            wire.sendto(b"x", ("127.0.0.1", 9))
        with pytest.raises(PermissionError):
            wire.connect(("localhost", 9))


def test_sockets_of_this_machine_are_private(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as wire:
        server.bind(path)
        server.listen()
        with guarded(allow_private=False, whole_s=60), pytest.raises(PermissionError):
            wire.connect(path)
        with guarded(allow_private=True, whole_s=60):
            wire.connect(path)


def test_no_connection_is_begun_once_the_time_is_over(receiver: Receiver) -> None:
    with guarded(allow_private=True, whole_s=60) as guard:
        guard.cut()
        with pytest.raises(TimeoutError):
            connect(receiver.port)
