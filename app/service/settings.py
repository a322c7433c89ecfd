"""`[broker]` and `[service]`: where messages go, and what `gengfu up` keeps running."""

from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta

from app.core.redaction import redact
from app.core.secret import Secret
from app.core.settings_file import Check, Section, nearest

QUEUES = ("receipt", "file", "high_priority", "low_priority")
"""The four queues, in the order in which a worker is usually told of them."""

_TRANSPORTS = ("redis", "rediss", "redis+socket", "valkey", "valkeys", "amqp", "amqps", "pyamqp")


def _broker_address(value: Secret) -> Secret:
    text = value.get_secret_value()
    if text and urlsplit(text).scheme not in _TRANSPORTS:
        raise ValueError(f"{redact(text)!r} is no broker we know; use redis://, rediss://, redis+socket:// or amqp://")
    _ = urlsplit(text).port  # a port that is no number raises ValueError here instead of in the middle of a job
    return value


def _served_queues(value: tuple[str, ...]) -> tuple[str, ...]:
    for name in value:
        if name not in QUEUES:
            raise ValueError(f"there is no queue {name!r}{nearest(name, QUEUES)}; there are {', '.join(QUEUES)}")
    return value


class BrokerSettings(Section):
    """`[broker]`."""

    url: Annotated[Secret, Check(_broker_address)] = Secret()
    """Empty means the embedded Valkey server that `gengfu up` starts."""
    result_backend: Secret = Secret()
    """Celery's result store; empty keeps none: every run's result stands in our own run history."""
    visibility_timeout_s: Annotated[int, Meta(ge=60, le=86_400)] = 300
    """Redis only: a message not acknowledged or renewed for this long goes to another worker. A living
    worker renews its messages four times within it, so a long job is not given away."""
    socket_timeout_s: Annotated[float, Meta(ge=1, le=300)] = 30.0


class WorkerPool(Section):
    """`[[service.workers]]`: one worker process and the queues it serves."""

    name: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_\-]{0,30}\Z")]
    queues: Annotated[tuple[str, ...], Meta(min_length=1), Check(_served_queues)]
    concurrency: Annotated[int, Meta(ge=1, le=64)] = 1


def _named_once(value: tuple[WorkerPool, ...]) -> tuple[WorkerPool, ...]:
    names = [pool.name for pool in value]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two workers are named {', '.join(twice)}; give each its own name")
    return value


class ServiceSettings(Section):
    """`[service]`: the children of `gengfu up`."""

    workers: Annotated[tuple[WorkerPool, ...], Check(_named_once)] = (
        WorkerPool(name="night", queues=("receipt", "file", "low_priority"), concurrency=2),
        # Its own process: a busy pool can't be pre-empted, and an alert must not wait behind a clean-up.
        WorkerPool(name="urgent", queues=("high_priority",), concurrency=1),
    )
    stop_grace_s: Annotated[int, Meta(ge=1, le=3600)] = 40
    """Seconds that a worker may finish its job after a stop was asked for; then the job is offered again."""
