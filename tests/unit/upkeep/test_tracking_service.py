import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from app.core.clock import ManualClock, SystemClock
from app.core.settings_reader import read
from app.upkeep.settings import UpkeepSettings
from app.upkeep.tracking_service import LONGEST_ANSWER, TrackingFailed, TrackingService

Answer = tuple[int, dict[str, str], bytes]


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, answer: Callable[[str], Answer]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = answer
        self.asked: list[tuple[str, dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append((self.path, {key.lower(): value for key, value in self.headers.items()}))
        code, headers, body = self.server.answer(self.path)
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(OSError):  # the client had enough
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Be quiet."""


@contextmanager
def serving(answer: Callable[[str], Answer]) -> Iterator[Server]:
    with Server(answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def asked(answer: Answer, number: str = "SF1", **settings: Any) -> str:
    with serving(lambda _path: answer) as server:
        return ask(server.url + "/t/{tracking_number}?key=geheim", number, **settings)


def ask(url: str, number: str = "SF1", **settings: Any) -> str:
    with TrackingService(read(UpkeepSettings, {"tracking_url": url, **settings}), SystemClock()) as service:
        return service.status_of(number)


def failure(answer: Answer, number: str = "SF1", **settings: Any) -> str:
    with pytest.raises(TrackingFailed) as caught:
        asked(answer, number, **settings)
    assert "geheim" not in str(caught.value)
    return str(caught.value)


def test_the_status_of_the_answer_is_returned() -> None:
    assert asked((200, {}, b'{"status": "delivered"}')) == "delivered"


def test_a_nested_field_and_other_words_can_be_configured() -> None:
    body = '{"data": {"state": "已签收"}}'.encode()
    settings: dict[str, Any] = {"tracking_status_field": "data.state", "tracking_statuses": {"已签收": "delivered"}}
    assert asked((200, {}, body), **settings) == "delivered"


@pytest.mark.parametrize(
    ("number", "path"),
    [
        ("SF123", "/t/SF123"),
        ("../../admin", "/t/..%2F..%2Fadmin"),
        ("a?b#c", "/t/a%3Fb%23c"),
        ("单号1", "/t/%E5%8D%95%E5%8F%B71"),
        ("a b\\", "/t/a%20b%5C"),
    ],
)
def test_a_number_never_leads_to_another_address(number: str, path: str) -> None:
    with serving(lambda _path: (200, {}, b'{"status": "x"}')) as server:
        ask(server.url + "/t/{tracking_number}", number)
        assert [asked_path for asked_path, _ in server.asked] == [path]


@pytest.mark.parametrize("number", ["..", ".", "x" * 65, "a\nb", "a\x00", "\x1b"])
def test_what_is_no_tracking_number_is_never_asked_for(number: str) -> None:
    with serving(lambda _path: (200, {}, b'{"status": "x"}')) as server:
        with pytest.raises(TrackingFailed, match="is no tracking number"):
            ask(server.url + "/t/{tracking_number}", number)
        assert server.asked == []


@pytest.mark.parametrize("code", [201, 204, 400, 404, 429, 500, 503])
def test_every_answer_but_200_is_a_failure(code: int) -> None:
    assert f"answered {code}" in failure((code, {}, b"" if code == 204 else b'{"status": "delivered"}'))


@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(code: int) -> None:
    with serving(lambda _path: (200, {}, b'{"status": "stolen"}')) as other:
        why = failure((code, {"Location": f"{other.url}/x"}, b""))
        assert other.asked == []
    assert "redirect, which is not followed" in why


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b'"delivered"', b"{}", b'{"status": null}', b'{"status": 3}', b'{"status": ""}', b"\xff"],
)
def test_an_answer_of_another_shape_is_a_failure(body: bytes) -> None:
    assert "the answer" in failure((200, {}, body))


@pytest.mark.parametrize("word", ["x" * 51, "a\\nb", "\\u001b[31m", "\\ud800"])
def test_a_status_that_is_no_plain_short_word_is_a_failure(word: str) -> None:
    assert "no usable 'status'" in failure((200, {}, f'{{"status": "{word}"}}'.encode()))


def test_a_word_that_is_not_listed_is_a_failure() -> None:
    assert "'lost' is not listed" in failure((200, {}, b'{"status": "lost"}'), tracking_statuses={"ok": "delivered"})


def test_an_answer_of_64_kib_is_read_and_a_longer_one_given_up() -> None:
    frame = b'{"status": "delivered", "more": ""}'
    longest = frame[:-2] + b"x" * (LONGEST_ANSWER - len(frame)) + frame[-2:]
    assert asked((200, {}, longest)) == "delivered"
    assert "longer than 65536 bytes" in failure((200, {}, longest + b" "))


def test_a_deeply_nested_answer_is_a_failure() -> None:
    assert "no JSON" in failure((200, {}, b"[" * 60_000))


def test_a_compressed_answer_is_not_unpacked() -> None:
    body = gzip.compress(b'{"status": "delivered"}')
    assert "compressed" in failure((200, {"Content-Encoding": "gzip"}, body))


def test_a_slow_answer_is_given_up(clock: ManualClock) -> None:
    def answer(_path: str) -> Answer:
        clock.advance(timedelta(seconds=1))
        return 200, {}, b'{"status": "delivered"}'

    class Slow(ManualClock):
        def monotonic(self) -> float:
            self.advance(timedelta(seconds=3))
            return super().monotonic()

    with serving(answer) as server:
        settings = read(UpkeepSettings, {"tracking_url": server.url + "/{tracking_number}", "tracking_timeout_s": 2})
        with (
            TrackingService(settings, Slow(clock.now())) as service,
            pytest.raises(TrackingFailed, match="longer than 2 s"),
        ):
            service.status_of("SF1")


def test_a_service_that_is_silent_or_away_is_a_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/{{tracking_number}}"
        with pytest.raises(TrackingFailed, match="does not answer: ReadTimeout"):
            ask(url, tracking_timeout_s=0.1)
    with pytest.raises(TrackingFailed, match="does not answer: ConnectError"):
        ask(url)
