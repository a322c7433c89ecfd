"""What services answered to requests that a library made on our behalf and did not tell us of."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, wraps
from typing import Any

import requests

_of_thread = threading.local()


@contextmanager
def overheard() -> Iterator[list[requests.Response]]:
    """Yield a list that fills with the answers to what this thread asks through `requests`."""
    _install()
    answers: list[requests.Response] = []
    _of_thread.answers = answers
    try:
        yield answers
    finally:
        _of_thread.answers = None


@cache
def _install() -> None:
    # The library makes a session for each request, so that the class is the only place where all of them pass.
    really_send = requests.Session.send

    @wraps(really_send)
    def send(self: requests.Session, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        response = really_send(self, request, **options)
        answers = getattr(_of_thread, "answers", None)
        if answers is not None:
            answers.append(response)
        return response

    requests.Session.send = send  # type: ignore[method-assign]
