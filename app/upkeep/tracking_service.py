"""One question to the parcel service, bounded in time and size."""

import json
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from app.core.clock import Clock
from app.upkeep.settings import UpkeepSettings

LONGEST_ANSWER = 64 * 1024
_LONGEST_NUMBER = 64
_LONGEST_WORD = 50
_OK = 200


class TrackingFailed(Exception):
    """The service gave no usable answer; the message is one line without the address."""


class TrackingService:
    """The service behind `[upkeep] tracking_url`; use it in a `with` statement."""

    def __init__(self, settings: UpkeepSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        # Compressed answers are not asked for: 64 KiB of them may unpack to 64 MiB.
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "gengfu"}
        self._client = httpx.Client(follow_redirects=False, timeout=settings.tracking_timeout_s, headers=headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def status_of(self, tracking_number: str) -> str:
        """Return the application's word for the parcel's state. Raises TrackingFailed."""
        return self._word(self._answer(self._address(tracking_number)))

    def _address(self, number: str) -> str:
        if len(number) > _LONGEST_NUMBER or not number.strip(".") or not number.isprintable():
            raise TrackingFailed(f"{number[:_LONGEST_NUMBER]!r} is no tracking number")
        # Quoted whole: a number must not lead to another path or host.
        return self._settings.tracking_url.get_secret_value().replace("{tracking_number}", quote(number, safe=""))

    def _answer(self, address: str) -> Any:
        try:
            with self._client.stream("GET", address) as response:
                if response.status_code != _OK:
                    raise TrackingFailed(f"the service answered {response.status_code}{_redirected(response)}")
                return json.loads(self._body(response))
        except httpx.InvalidURL as error:
            raise TrackingFailed("the address can't be asked; correct [upkeep] tracking_url") from error
        except httpx.HTTPError as error:
            raise TrackingFailed(f"the service does not answer: {type(error).__name__}") from error
        except (ValueError, RecursionError) as error:
            raise TrackingFailed("the answer is no JSON") from error

    def _body(self, response: httpx.Response) -> bytes:
        """Read the answer; the time-out of each read alone would let a slow sender go on for ever."""
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise TrackingFailed("the answer is compressed though we did not ask for that")
        end = self._clock.monotonic() + self._settings.tracking_timeout_s
        body = bytearray()
        for chunk in response.iter_raw(4096):
            body += chunk
            if len(body) > LONGEST_ANSWER:
                raise TrackingFailed(f"the answer is longer than {LONGEST_ANSWER} bytes")
            if self._clock.monotonic() > end:
                raise TrackingFailed(f"the answer took longer than {self._settings.tracking_timeout_s:g} s")
        return bytes(body)

    def _word(self, answer: Any) -> str:
        field = self._settings.tracking_status_field
        for key in field.split("."):
            answer = answer.get(key) if isinstance(answer, dict) else None
        if not isinstance(answer, str) or not 0 < len(answer) <= _LONGEST_WORD or not answer.isprintable():
            raise TrackingFailed(f"the answer holds no usable {field!r}")
        known = self._settings.tracking_statuses
        if known and answer not in known:
            raise TrackingFailed(f"the service's word {answer!r} is not listed in [upkeep] tracking_statuses")
        return known.get(answer, answer)


def _redirected(response: httpx.Response) -> str:
    return ", a redirect, which is not followed" if response.is_redirect else ""
