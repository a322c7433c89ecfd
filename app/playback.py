"""Plays the last nights of a failing sample application: one alert rises, rises on, and ends, before one's eyes.

Everything is real but the clock: reports, rules, life cycle, outbox and channels, a webhook on this machine among them.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TextIO

import msgspec

from app.alerts.notices.grouping import GROUP_WAIT
from app.alerts.targets import TargetSettings
from app.context import Context
from app.core.clock import ManualClock, local_date
from app.core.secret import Sealed
from app.demo.create import FAILING_DAYS
from app.jobs import generate_daily_statistics
from app.watch.desk import AlertDesk

_AT = time(2, 0)
_TARGET = "demo"
_CHANNELS = ("log_files", "console", _TARGET)
"""Not those of the settings: nobody is to be woken by a play."""


@dataclass(frozen=True, kw_only=True)
class Night:
    """What one night brought."""

    at: datetime
    day: str
    """The day that its statistics are about."""
    tasks: int
    failed_percent: float
    events: tuple[str, ...]
    """What happened to alerts: firing, escalated, resolved ..."""
    received: tuple[dict[str, Any], ...]
    """What the webhook got: bodies as Alertmanager sends them."""


def play(context: Context, stderr: TextIO | None = None) -> Iterator[Night]:
    """Play the nights from that of the first bad day up to the last one, and yield each."""
    with _webhook() as receiver:
        today = local_date(context.clock.now(), context.zone)
        for back in range(max(FAILING_DAYS), 0, -1):
            at = datetime.combine(today - timedelta(days=back - 1), _AT, context.zone)
            yield _night(_as_of(context, at, receiver.url), receiver, stderr)


def _night(context: Context, receiver: "_Receiver", stderr: TextIO | None) -> Night:
    outcome = generate_daily_statistics(context)
    desk = AlertDesk(context, stderr=stderr)
    taken = desk.observe(outcome.observed)
    at = context.clock.now().astimezone(context.zone)
    # The clock stands still otherwise: what waits for others of its group would wait for ever.
    assert isinstance(context.clock, ManualClock)  # noqa: S101 - see _as_of
    context.clock.advance(GROUP_WAIT)
    desk.watch_pass()
    figures = outcome.result["task_statistics"]
    return Night(
        at=at,
        day=outcome.result["date"],
        tasks=figures["total_tasks"],
        failed_percent=figures["failure_rate"],
        events=tuple(taken.events),
        received=tuple(receiver.taken()),
    )


def _as_of(context: Context, at: datetime, url: str) -> Context:
    """The same context at another time, telling a webhook of this machine instead of the configured targets."""
    target = TargetSettings(channel="webhook", url=Sealed(url), allow_private=True)
    alerts = msgspec.structs.replace(
        context.settings.alerts, enabled=True, channels=_CHANNELS, targets={_TARGET: target}
    )
    settings = msgspec.structs.replace(context.settings, alerts=alerts)
    return replace(context, settings=settings, clock=ManualClock(at))


class _Receiver(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/alerts"

    def taken(self) -> list[dict[str, Any]]:
        """Return what came in since it was asked last."""
        new, self.bodies = self.bodies, []
        return new


class _Handler(BaseHTTPRequestHandler):
    server: _Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.bodies.append(json.loads(body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing: what came in is shown."""


@contextmanager
def _webhook() -> Iterator[_Receiver]:
    with _Receiver() as receiver:
        thread = threading.Thread(target=receiver.serve_forever, name="demo-webhook", daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            receiver.shutdown()
            thread.join()
