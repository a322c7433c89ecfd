"""Renews the messages a living worker holds, so that the visibility time-out may be short.

The Redis transport gives a message to another worker when it was not acknowledged for `visibility_timeout`; a job
longer than that would run twice at once. Renewed four times within it, only what a dead worker held is given away.
"""

import time
from typing import Any

import structlog
from celery import bootsteps
from celery.worker import state
from redis.exceptions import RedisError

log = structlog.get_logger("gengfu.tasks")


class RenewVisibility(bootsteps.StartStopStep):  # type: ignore[misc] # Celery ships no types
    """A step of the worker's consumer."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, parent: Any, **_options: Any) -> None:
        super().__init__(parent)
        self._timer: Any = None

    def start(self, parent: Any) -> None:
        timeout = parent.app.conf.broker_transport_options["visibility_timeout"]
        self._timer = parent.timer.call_repeatedly(timeout / 4, renew, (parent,))

    def stop(self, parent: Any) -> None:  # noqa: ARG002 - Celery's signature
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def renew(consumer: Any) -> int:
    """Renew every message this worker holds; return how many. A broker that is away is left to the consumer."""
    tags = [request.message.delivery_tag for request in state.reserved_requests if not request.acknowledged]
    if not tags:
        return 0
    channel = consumer.task_consumer.channel
    try:
        with channel.conn_or_acquire() as client:
            # XX: a message acknowledged meanwhile must not come back into the index.
            client.zadd(channel.unacked_index_key, dict.fromkeys(tags, time.time()), xx=True)
    except (RedisError, OSError) as error:
        log.warning("visibility_not_renewed", error=str(error), messages=len(tags))
        return 0
    return len(tags)
