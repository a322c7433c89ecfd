"""Counts the messages that wait in RabbitMQ's queues; Redis is counted without Celery (app.health.checks.broker)."""

import time
from typing import Any

from amqp.exceptions import AMQPError, NotFound
from celery import current_app
from kombu.exceptions import OperationalError

from app.service.settings import QUEUES

_PATIENCE_S = 4.0
# Without them the monitor's thread would wait for ever for an answer that never comes, and nobody be told anything.
_LIMITS = {"read_timeout": _PATIENCE_S, "write_timeout": _PATIENCE_S}


def measure() -> dict[str, Any]:
    """Return `queues` {name: waiting messages}, `total` and `ping_ms`; where nobody answers, `status`, `why`."""
    asked = time.monotonic()
    try:
        with current_app.connection_for_read(connect_timeout=_PATIENCE_S, transport_options=_LIMITS) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=_PATIENCE_S)
            ping_ms = round((time.monotonic() - asked) * 1000, 2)
            depths = {name: _depth(connection, name) for name in QUEUES}
    except (OperationalError, AMQPError, OSError) as error:
        detail = f"the broker does not answer: {error}"
        return {"status": "critical", "available": False, "detail": detail, "why": detail}
    return {"queues": depths, "total": sum(depths.values()), "ping_ms": ping_ms, "detail": "the broker answers"}


def _depth(connection: Any, name: str) -> int:
    # A channel of its own: RabbitMQ closes it when it is asked for a queue that nobody has declared yet.
    channel = connection.channel()
    try:
        waiting = int(channel.queue_declare(name, passive=True).message_count)
    except NotFound:
        return 0
    channel.close()
    return waiting
