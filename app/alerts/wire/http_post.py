"""One POST to a receiver that somebody else runs: bounded in time and size, and only to addresses that are allowed."""

import base64
import logging
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from http import HTTPStatus
from typing import Any

import httpx

from app import __version__
from app.alerts.channel import DeliveryError
from app.alerts.wire.addresses import AddressRefused, Resolve, check_address, resolved
from app.alerts.wire.answers import PERMANENT, retry_after
from app.core.alarms import alarm
from app.core.clock import Clock

LONGEST_ANSWER = 64 * 1024
"""Bytes of an answer that are read; what follows is not waited for."""
_LAST_PORT = 65535
# A time-out of zero would mean none.
_SHORTEST_S = 0.001
# A host with more addresses is tried at these; the whole time would be over before a fourth.
_MOST_ADDRESSES = 3
_OTHER_HOST = frozenset({62, 64})
"""OpenSSL's codes for a certificate of another name or address; its text would name the host."""

# On DEBUG they log hosts, header lines and redirects, which hold what a receiver takes for a password.
for _name in ("httpcore", "httpx"):
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Seconds that one POST may take."""

    connect_s: float = 4.0
    whole_s: float = 10.0


class Receiver:
    """The address of one target. Every POST has a connection of its own, without cookies, proxy or redirects."""

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        allow_private: bool = False,
        headers: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        resolve: Resolve | None = None,
    ) -> None:
        self._url = url
        self._clock = clock
        self._allow_private = allow_private
        self._headers = dict(headers or {})
        self._limits = limits or Limits()
        self._resolve = resolve

    def post(self, body: bytes, headers: Mapping[str, str], *, below: str = "") -> None:
        """Send `body` to the address, or to `below` it, and see it accepted (2xx). Raises DeliveryError.

        The host's name is resolved once, all its addresses are checked, and the connection goes to one of those: a
        name that answers differently the second time (DNS rebinding) leads nowhere else.
        """
        end = self._clock.monotonic() + self._limits.whole_s
        with _told_as_delivery_error():
            url = _address(self._url, below)
            sent = _request_headers(url, self._headers, headers)
            addresses = self._addresses(url)
            for number, address in enumerate(addresses, 1):
                try:
                    self._send(url, address, body, sent, end - self._clock.monotonic())
                except (httpx.ConnectError, httpx.ConnectTimeout):
                    if number == len(addresses):
                        raise
                else:
                    return

    def _addresses(self, url: httpx.URL) -> list[str]:
        port = url.port or (443 if url.scheme == "https" else 80)
        host = url.raw_host.decode("ascii")
        found = resolved(host, port, timeout_s=self._limits.connect_s, resolve=self._resolve)
        for address in found:
            check_address(address, allow_private=self._allow_private)
        return found[:_MOST_ADDRESSES]

    def _send(self, url: httpx.URL, address: str, body: bytes, headers: httpx.Headers, left_s: float) -> None:
        limits = httpx.Timeout(max(left_s, _SHORTEST_S), connect=min(max(left_s, _SHORTEST_S), self._limits.connect_s))
        wires = _Wires()
        extensions = {"timeout": limits.as_dict(), "sni_hostname": url.host, "trace": wires.trace}
        request = httpx.Request(
            "POST", url.copy_with(host=address), headers=headers, content=body, extensions=extensions
        )
        # The transport alone, not a client: that one logs every address in full.
        transport = httpx.HTTPTransport(verify=_trust(url.scheme), trust_env=False, limits=_ONE)
        with wires.cut_after(left_s, self._limits.whole_s), transport:
            response = transport.handle_request(request)
            try:
                _judge(response, self._clock.now())
                _finish(response)
            finally:
                response.close()


_ONE = httpx.Limits(max_connections=1, max_keepalive_connections=0)


class _Wires:
    """The connection of a POST, from which it can be cut off whatever it is doing."""

    def __init__(self) -> None:
        self._is_cut = False
        self._sockets: list[socket.socket] = []

    def trace(self, event: str, facts: Mapping[str, Any]) -> None:
        """Be told by httpcore that it connected."""
        if event == "connection.connect_tcp.complete":
            # A copy: TLS takes the socket over, and shutting down any copy shuts the connection.
            self._sockets.append(facts["return_value"].get_extra_info("socket").dup())
            if self._is_cut:
                self._cut()

    @contextmanager
    def cut_after(self, left_s: float, whole_s: float) -> Iterator[None]:
        """Cut the connection unless the block ends in time, and raise DeliveryError then.

        With a time-out of each read alone a receiver that sends a byte now and then would go on for ever.
        """
        try:
            with alarm(left_s, self._cut):
                yield
        except httpx.HTTPError as error:
            if self._is_cut:
                raise DeliveryError(f"the receiver took longer than {whole_s:g} s") from error
            raise
        finally:
            for wire in self._sockets:
                wire.close()

    def _cut(self) -> None:
        self._is_cut = True
        for wire in self._sockets:
            with suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)


@cache
def _trust(scheme: str) -> ssl.SSLContext | bool:
    """Certificates that count: those of SSL_CERT_FILE or SSL_CERT_DIR, else certifi's; loading them takes 20 ms."""
    return httpx.create_ssl_context() if scheme == "https" else False


def _address(text: str, below: str) -> httpx.URL:
    """Return the address to ask. Raises DeliveryError where it is none."""
    try:
        url = httpx.URL(text)
        host = url.raw_host
    except (httpx.InvalidURL, UnicodeError):
        raise _unusable() from None  # that error may name a part of the address
    if url.scheme not in {"http", "https"} or not host or not 0 < (url.port or 1) <= _LAST_PORT or url.port == 0:
        raise _unusable()
    path, question, query = url.raw_path.partition(b"?")
    return url.copy_with(raw_path=path.rstrip(b"/") + below.encode() + question + query) if below else url


def _unusable() -> DeliveryError:
    return DeliveryError("the url is no http:// or https:// address; correct it", permanent=True)


def _request_headers(url: httpx.URL, configured: Mapping[str, str], own: Mapping[str, str]) -> httpx.Headers:
    headers = httpx.Headers({"User-Agent": f"gengfu/{__version__}"})
    if url.userinfo:
        user = f"{url.username}:{url.password}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(user).decode('ascii')}"
    headers.update(dict(configured))
    headers.update(dict(own))
    # Compressed answers are not asked for: they are small, or meant badly.
    headers.update({"Host": url.netloc.decode("ascii"), "Accept-Encoding": "identity", "Connection": "close"})
    return headers


def _judge(response: httpx.Response, now: datetime) -> None:
    if response.is_success:
        return
    code = response.status_code
    known = f" {HTTPStatus(code).phrase}" if code in set(HTTPStatus) else ""
    raise DeliveryError(
        f"the receiver answered {code}{known}",
        permanent=code in PERMANENT,
        retry_after_s=retry_after(response.headers.get("Retry-After"), now),
    )


def _finish(response: httpx.Response) -> None:
    """Let the receiver finish its answer, so that it sees no broken connection; it has said yes already."""
    size = 0
    with suppress(httpx.HTTPError):
        for chunk in response.iter_raw():
            size += len(chunk)
            if size > LONGEST_ANSWER:
                return


@contextmanager
def _told_as_delivery_error() -> Iterator[None]:
    try:
        yield
    except AddressRefused as refused:
        raise DeliveryError(f"not sent: {refused}", permanent=True) from refused
    except TimeoutError as error:
        raise DeliveryError("the receiver's name is not resolved in time") from error
    except httpx.TimeoutException as error:
        raise DeliveryError(f"the receiver does not answer: {type(error).__name__}") from error
    except (httpx.LocalProtocolError, UnicodeError) as error:
        raise DeliveryError(
            "url or headers hold characters that can't be sent; correct them", permanent=True
        ) from error
    except (httpx.HTTPError, OSError) as error:
        raise DeliveryError(f"the receiver can't be reached: {_why(error)}") from error


def _why(error: BaseException | None) -> str:
    """The innermost reason that names neither address nor headers."""
    told = type(error).__name__
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            other = error.verify_code in _OTHER_HOST
            return "its certificate is for another host" if other else f"no trust: {error.verify_message}"
        if isinstance(error, OSError) and error.strerror:
            told = error.strerror
        error = error.__cause__ or error.__context__
    return told
