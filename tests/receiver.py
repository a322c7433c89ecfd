"""A receiver of alerts on loopback that answers as it is told: with a code, slowly, never, or by dying."""

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import trustme


@dataclass(frozen=True, kw_only=True)
class Got:
    """One request as it came in."""

    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the receiver does with one request."""

    code: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"ok"
    hangs: bool = False
    """It takes the request and never answers."""
    dies: bool = False
    """It takes the request and closes the connection."""
    trickles: bool = False
    """It sends header lines one by one, for ever."""


class Receiver(ThreadingHTTPServer):
    """`got` holds the requests; `answer` decides on each, given how many came before it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[Got] = []
        self.answer: Callable[[int], Answer] = lambda _number: Answer()
        self.ending = threading.Event()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answers(self, *answers: Answer) -> None:
        """Give these answers in turn, the last one again and again."""
        self.answer = lambda number: answers[min(number, len(answers) - 1)]

    def speak_tls(self) -> trustme.CA:
        """Answer over TLS from now on, with a certificate for h.example; return who vouches for it."""
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("h.example").configure_cert(context)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        return authority

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Be quiet: clients that hang up are what is tested."""


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        number = len(self.server.got)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.got.append(Got(path=self.path, headers=headers, body=body))
        answer = self.server.answer(number)
        if answer.hangs:
            self.server.ending.wait()
        if answer.trickles:
            self._trickle(answer.code)
        if not (answer.hangs or answer.dies or answer.trickles):
            self._say(answer)

    def _trickle(self, code: int) -> None:
        with suppress(OSError):
            self.wfile.write(f"HTTP/1.1 {code} So\r\n".encode())
            while not self.server.ending.is_set():
                self.wfile.write(b"X-More: yes\r\n")
                time.sleep(0.01)

    def _say(self, answer: Answer) -> None:
        with suppress(OSError):  # the client had enough
            self.send_response(answer.code)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

    def log_message(self, *_: Any) -> None:
        """Be quiet."""


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver for the time of the block."""
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.ending.set()
            server.shutdown()
            thread.join()
