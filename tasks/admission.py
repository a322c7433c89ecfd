"""What a worker takes off a queue: messages of our own jobs in their full form; all else is refused once and told.

Celery itself ends the worker on many a hand-made message, gets it back from the broker and ends again, for ever; and it
serves its built-in tasks (chords, groups) to anybody who can publish.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from celery.utils.log import get_logger
from celery.worker.consumer import Consumer

from tasks import worker_sign
from tasks.base import instant_of
from tasks.main_loop import MainLoop

_ID = re.compile(r"[A-Za-z0-9._\-]{1,64}")
_BODY_PARTS = 3
_LIMITS = 2  # hard and soft
_LONGEST_LIMIT_S = 86_400
LARGEST_BODY = 8 << 20
"""Bytes: some ten thousand alerts; a body is read whole, more than once, by this process and its child."""
_celery_log = get_logger(__name__)

log = structlog.get_logger("gengfu.tasks")


class CarefulConsumer(Consumer):  # type: ignore[misc] # Celery ships no types
    """Celery's consumer behind a check of every message, with a main loop that says when it turned."""

    messages_refused = 0
    """By this worker since it began."""

    def __init__(self, *args: Any, **options: Any) -> None:
        # With remote control and events off nobody listens to any of them; and where the broker goes away while one
        # of them speaks, the worker waits for it without a word in its log (Celery 5.7.0).
        super().__init__(*args, **options, without_mingle=True, without_gossip=True, without_heartbeat=True)
        self.main_loop = MainLoop(self)

    def on_ready(self) -> None:
        """Begin to count here: to come so far may have taken long."""
        self.main_loop.turned()
        super().on_ready()

    def register_with_event_loop(self, hub: Any) -> None:
        """Have each turn of Celery's event loop noted."""
        super().register_with_event_loop(hub)
        hub.on_tick.add(self.main_loop.turned)

    def perform_pending_operations(self) -> None:
        """Have each turn noted of the loop that serves brokers and pools without event loop."""
        self.main_loop.turned()
        super().perform_pending_operations()

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:
        """Return the handler of one message; whatever it meets, it comes back."""
        handle = super().create_task_handler(*args, **kwargs)
        known = frozenset(name for name in self.app.tasks if not name.startswith("celery."))

        def handled(message: Any) -> None:
            try:
                why = refusal(message, known)
                if why is None:
                    handle(message)
                    return
            except (*self.connection_errors, *self.channel_errors):
                raise
            except Exception as error:  # noqa: BLE001 - this message is no reason to serve no other
                why = f"{type(error).__name__}: {error}"
            self._refuse(message, why)

        return handled

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Refuse a message that kombu could not unpack, as any other."""
        self._refuse(message, f"{type(exc).__name__}: {exc}")

    def on_invalid_task(self, _body: Any, message: Any, exc: Exception, **_facts: Any) -> None:
        """Refuse a message of which Celery can make no request, as any other."""
        self._refuse(message, f"{type(exc).__name__}: {exc}")

    def _refuse(self, message: Any, why: str) -> None:
        self.messages_refused += 1
        size = getattr(message, "size", len(message.body or b""))
        log.error("message_refused", why=why[:500], bytes=size, messages_refused=self.messages_refused)
        worker_sign.note(messages_refused=self.messages_refused)
        message.reject_log_error(_celery_log, self.connection_errors)


def _is_pair_of_limits(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == _LIMITS
        and all(limit is None or (type(limit) in {int, float} and 0 < limit <= _LONGEST_LIMIT_S) for limit in value)
    )


def refusal(message: Any, known: frozenset[str]) -> str | None:
    """Return why a message can't be a job of ours, or None where it can. May raise what decoding its body raises."""
    if (fault := getattr(message, "fault", None)) is not None:
        return str(fault)
    if len(message.body or b"") > LARGEST_BODY:
        return f"its body is larger than {LARGEST_BODY} bytes"
    headers = message.headers or {}
    return _wrong_headers(headers, known) or _wrong_body(message.decode(), of_slot=headers.get("slot") is not None)


def _wrong_headers(headers: Mapping[str, Any], known: frozenset[str]) -> str | None:
    number, retries = headers.get("id"), headers.get("retries", 0)
    if headers.get("task") not in known:
        return f"it names no job of ours: {str(headers.get('task'))[:100]!r}"
    if not isinstance(number, str) or not _ID.fullmatch(number):
        return f"its id is {str(number)[:100]!r}"
    if type(retries) is not int or retries < 0:
        return f"retries is {str(retries)[:100]!r}"
    if not _is_pair_of_limits(headers.get("timelimit", [None, None])):
        return f"timelimit is {str(headers['timelimit'])[:100]!r}"
    # Without a slot it would be a run by hand, which nobody asked for.
    if headers.get("slot") is not None and instant_of(headers["slot"]) is None:
        return f"its slot is {str(headers['slot'])[:100]!r}"
    return None


def _wrong_body(body: Any, *, of_slot: bool) -> str | None:
    if not isinstance(body, list) or len(body) != _BODY_PARTS:
        return "its body is not [args, kwargs, embed]"
    args, kwargs, embed = body
    if not isinstance(args, list) or not isinstance(kwargs, dict) or not isinstance(embed, dict | None):
        return "its body does not hold a list, a table and a table"
    if of_slot and (args or kwargs):
        return "it has a slot and arguments; a slot of the schedule takes none"
    return "it wants other tasks to follow" if any((embed or {}).values()) else None
