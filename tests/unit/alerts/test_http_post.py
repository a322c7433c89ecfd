import base64
import contextlib
import logging
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from receiver import Answer, Receiver, receiving

from app.alerts.channel import DeliveryError
from app.alerts.wire import http_post
from app.alerts.wire.answers import retry_after
from app.alerts.wire.http_post import LONGEST_ANSWER, Limits
from app.core.clock import ManualClock, SystemClock

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
SOON = Limits(connect_s=0.2, whole_s=0.2)
CANARY = "CANARY"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


def post(url: str, body: bytes = b"{}", *, below: str = "", **options: Any) -> None:
    given: dict[str, Any] = {"clock": SystemClock(), "allow_private": True}
    http_post.Receiver(url, **given | options).post(body, {"Content-Type": "text/plain"}, below=below)


def failure(url: str, **options: Any) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        post(url, **options)
    assert CANARY not in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


def test_the_body_arrives_whole_with_our_headers_and_the_configured_ones(receiver: Receiver) -> None:
    body = "一".encode() * 100_000
    post(f"{receiver.url}/hook/x?key=1", body, headers={"Authorization": "Bearer t", "Host": "wrong"})
    (got,) = receiver.got
    assert (got.path, got.body) == ("/hook/x?key=1", body)
    assert got.headers["authorization"] == "Bearer t"
    assert got.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert got.headers["content-type"] == "text/plain"
    assert got.headers["user-agent"].startswith("gengfu/")


def test_user_and_password_of_the_address_become_a_header(receiver: Receiver) -> None:
    post(f"http://me:p%40ss@127.0.0.1:{receiver.port}/")
    assert receiver.got[0].headers["authorization"] == f"Basic {base64.b64encode(b'me:p@ss').decode()}"


@pytest.mark.parametrize(
    ("address", "asked"),
    [("/ping/ID", "/ping/ID/fail"), ("/ping/ID/", "/ping/ID/fail"), ("/p/ID?rid=a", "/p/ID/fail?rid=a"), ("", "/fail")],
)
def test_a_path_below_the_address_keeps_its_query(receiver: Receiver, address: str, asked: str) -> None:
    post(receiver.url + address, below="/fail")
    assert receiver.got[0].path == asked


@pytest.mark.parametrize("code", [200, 201, 202, 204])
def test_every_2xx_is_a_yes(receiver: Receiver, code: int) -> None:
    receiver.answers(Answer(code=code, body=b""))
    post(receiver.url)
    assert len(receiver.got) == 1


@pytest.mark.parametrize("code", [301, 308, 400, 401, 403, 404, 410])
def test_what_needs_a_person_is_permanent(receiver: Receiver, code: int) -> None:
    receiver.answers(Answer(code=code, body=f"no, {CANARY}".encode()))
    error = failure(f"{receiver.url}/{CANARY}")
    assert error.permanent
    assert str(code) in str(error)


@pytest.mark.parametrize("code", [302, 307, 405, 408, 409, 413, 422, 429, 500, 502, 503, 504, 599])
def test_what_may_pass_is_not_permanent(receiver: Receiver, code: int) -> None:
    receiver.answers(Answer(code=code))
    error = failure(receiver.url)
    assert (error.permanent, error.retry_after_s) == (False, None)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(receiver: Receiver, code: int) -> None:
    with receiving() as other:
        receiver.answers(Answer(code=code, headers={"Location": f"{other.url}/{CANARY}"}))
        failure(receiver.url)
        assert other.got == []


def test_the_pause_that_a_receiver_asks_for_is_handed_on(receiver: Receiver) -> None:
    receiver.answers(Answer(code=429, headers={"Retry-After": "17"}))
    assert failure(receiver.url).retry_after_s == 17


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("0", 0),
        (" 120 ", 120),
        ("3600", 3600),
        ("3601", 3600),
        ("9" * 400, 3600),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("Tue, 10 Mar 2026 12:00:30 GMT", 30),
        ("Tue, 10 Mar 2026 11:00:00 GMT", 0),
        ("Tue, 10 Mar 2099 12:00:00 GMT", 3600),
        ("Tue, 10 Mar 2026 12:00:30", None),
    ],
)
def test_a_pause_is_read_and_bounded(text: str | None, seconds: float | None) -> None:
    assert retry_after(text, NOON) == seconds


def test_a_receiver_that_hangs_is_given_up(receiver: Receiver) -> None:
    receiver.answers(Answer(hangs=True))
    error = failure(receiver.url, limits=SOON)
    assert not error.permanent
    assert len(receiver.got) == 1, "what was taken and not answered is not sent again by the same attempt"


def test_a_receiver_that_sends_a_little_for_ever_is_given_up(receiver: Receiver) -> None:
    receiver.answers(Answer(trickles=True))
    assert "took longer than 0.2 s" in str(failure(receiver.url, limits=SOON))


def test_a_receiver_that_dies_is_a_failure_that_may_pass(receiver: Receiver) -> None:
    receiver.answers(Answer(dies=True))
    assert not failure(receiver.url).permanent


def test_a_yes_whose_text_is_endless_is_a_yes(receiver: Receiver) -> None:
    receiver.answers(Answer(body=b"x" * (LONGEST_ANSWER * 3)))
    post(receiver.url)


def test_nobody_there_is_a_failure_that_may_pass() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    error = failure(f"http://127.0.0.1:{port}/{CANARY}")
    assert (error.permanent, str(error)) == (False, "the receiver can't be reached: Connection refused")


def test_silence_during_the_tls_handshake_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = failure(f"https://127.0.0.1:{silent.getsockname()[1]}/{CANARY}", limits=SOON)
    assert not error.permanent


def test_what_speaks_no_tls_is_told() -> None:
    with receiving() as server:
        assert "can't be reached" in str(failure(f"https://127.0.0.1:{server.port}/{CANARY}"))


def test_a_name_that_is_not_found_is_a_failure_that_may_pass() -> None:
    def unknown(_host: str, _port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    error = failure(f"http://{CANARY}.example/", resolve=unknown)
    assert (error.permanent, "not known" in str(error)) == (False, True)


# Addresses that are none of ours

NOT_HTTP = [
    "", "x", "//127.0.0.1/", "/path", "http://", "http:///path", "https://:80/", "http://[::1", "http://h:0/",
    "http://h:99999/", "http://h:x/", "http://127.0.0.1:80:80/", "file:///etc/passwd", "ftp://h/", "gopher://h/",
    "dict://h:11211/", "ldap://h/", "unix:///run/x.sock", "data:text/plain,x", "javascript:alert(1)", "ws://h/",
    "http://h/\r\nX: y", "http://h/\x00", "http://①②⑦.⓪.⓪.①/", "http://0177.0.0.1/",
]  # fmt: skip
TO_THIS_MACHINE = [
    "http://127.0.0.1/", "http://127.1/", "http://127.0.1/", "http://0x7f.1/", "http://0x7f000001/",
    "http://2130706433/", "http://017700000001/", "http://localhost/", "http://LOCALHOST/",
    "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://[0:0:0:0:0:ffff:7f00:1]/", "http://8.8.8.8@127.0.0.1/",
    "http://127.0.0.1#@8.8.8.8/", "http://127.0.0.1?@8.8.8.8/", "http://user:8.8.8.8@127.0.0.1:80/",
    "http://10.0.0.1/", "http://192.168.0.1/", "http://169.254.169.254/latest/meta-data/", "http://[fe80::1]/",
    "http://[fd00:ec2::254]/", "http://100.64.0.1/", "http://0.0.0.0/", "http://0/", "http://[::]/",
]  # fmt: skip


@pytest.fixture
def no_connections(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What anybody tried to connect to; nothing gets through."""
    tried: list[Any] = []

    def connect(address: Any, *_: Any, **__: Any) -> Any:
        tried.append(address)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "create_connection", connect)
    return tried


@pytest.mark.parametrize("url", NOT_HTTP)
def test_what_is_no_http_address_is_refused_for_good(url: str, no_connections: list[Any]) -> None:
    error = failure(url, resolve=lambda _host, _port: ["8.8.8.8"])
    assert (error.permanent, no_connections) == (True, [])


@pytest.mark.parametrize("url", TO_THIS_MACHINE)
def test_no_spelling_leads_to_a_private_address(url: str, no_connections: list[Any]) -> None:
    error = failure(url, allow_private=False)
    assert (error.permanent, no_connections) == (True, [])
    assert "not sent" in str(error)


def test_a_name_with_one_private_address_among_public_ones_is_refused(no_connections: list[Any]) -> None:
    error = failure("http://h.example/", allow_private=False, resolve=lambda *_: ["8.8.8.8", "10.0.0.1"])
    assert (error.permanent, no_connections) == (True, [])


def test_a_name_is_asked_for_once_and_the_answer_used(no_connections: list[Any]) -> None:
    """A name server that answers differently the second time (DNS rebinding) is not asked a second time."""
    answers = iter([["8.8.8.8"], ["127.0.0.1"]])
    failure("http://h.example:8080/", allow_private=False, resolve=lambda *_: next(answers))
    assert no_connections == [("8.8.8.8", 8080)]
    assert next(answers) == ["127.0.0.1"]


def test_every_address_is_tried_until_one_takes_it(receiver: Receiver) -> None:
    addresses = ["127.0.0.2", "127.0.0.1"]  # the receiver listens on the second one only
    post(f"http://h.example:{receiver.port}/x", resolve=lambda *_: addresses)
    (got,) = receiver.got
    assert got.headers["host"] == f"h.example:{receiver.port}"


def test_at_most_three_addresses_are_tried(no_connections: list[Any]) -> None:
    failure("http://h.example/", resolve=lambda *_: [f"8.8.8.{last}" for last in range(9)])
    assert [address for address, _ in no_connections] == ["8.8.8.0", "8.8.8.1", "8.8.8.2"]


def test_what_was_answered_is_not_sent_to_another_address(receiver: Receiver) -> None:
    receiver.answers(Answer(code=500))
    failure(f"http://h.example:{receiver.port}/", resolve=lambda *_: ["127.0.0.1", "127.0.0.2"])
    assert len(receiver.got) == 1


def test_no_proxy_of_the_environment_is_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        post(receiver.url)
        assert (len(receiver.got), proxy.got) == (1, [])


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "中文", "\x00"])
def test_a_header_that_can_not_be_sent_is_refused_for_good(receiver: Receiver, value: str) -> None:
    error = failure(receiver.url, headers={"X-Own": value})
    assert error.permanent
    assert receiver.got == []


# TLS: the receiver's own certificate is for h.example


@pytest.fixture
def tls_receiver(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Receiver:
    """One whose authority is trusted."""
    trusted = ssl.create_default_context()
    receiver.speak_tls().configure_trust(trusted)
    monkeypatch.setattr(http_post, "_trust", lambda _scheme: trusted)
    return receiver


def test_the_certificate_is_checked_for_the_name_though_the_connection_goes_to_an_address(
    tls_receiver: Receiver,
) -> None:
    post(f"https://h.example:{tls_receiver.port}/x", resolve=lambda *_: ["127.0.0.1"])
    assert tls_receiver.got[0].headers["host"] == f"h.example:{tls_receiver.port}"


def test_the_certificate_of_another_name_is_not_taken(tls_receiver: Receiver) -> None:
    error = failure(f"https://{CANARY}.example:{tls_receiver.port}/", resolve=lambda *_: ["127.0.0.1"])
    assert "its certificate is for another host" in str(error)
    assert tls_receiver.got == []


def test_a_certificate_of_an_unknown_authority_is_not_taken(receiver: Receiver) -> None:
    receiver.speak_tls()
    error = failure(f"https://h.example:{receiver.port}/{CANARY}", resolve=lambda *_: ["127.0.0.1"])
    assert "no trust: " in str(error)
    assert receiver.got == []


def test_a_receiver_that_hangs_within_tls_is_given_up(tls_receiver: Receiver) -> None:
    tls_receiver.answers(Answer(trickles=True))
    error = failure(f"https://h.example:{tls_receiver.port}/", resolve=lambda *_: ["127.0.0.1"], limits=SOON)
    assert "took longer" in str(error)


def test_no_library_logs_the_address(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        for answer in (Answer(), Answer(code=500), Answer(code=302, headers={"Location": f"/{CANARY}"})):
            receiver.answers(answer)
            with contextlib.suppress(DeliveryError):
                post(f"http://u:{CANARY}@127.0.0.1:{receiver.port}/{CANARY}?k={CANARY}", headers={"X-K": CANARY})
    assert len(receiver.got) == 3
    assert CANARY not in caplog.text


def test_the_date_of_a_pause_is_judged_by_our_clock(receiver: Receiver) -> None:
    receiver.answers(Answer(code=503, headers={"Retry-After": "Tue, 10 Mar 2026 12:01:00 GMT"}))
    assert failure(receiver.url, clock=ManualClock(NOON)).retry_after_s == 60
