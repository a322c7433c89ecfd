"""Keeps a worker serving after a message that it could not acknowledge.

kombu 5.7.0 counts a delivery whose acknowledgement met a dead connection to Redis as in work for ever. A worker whose
deliveries are all counted so - one is enough with one child - asks its broker for nothing, and so never finds out that
the connection is dead: it lives and is deaf. tests/faults/test_silent_broker.py shows it.
The message itself stays with the broker and is delivered again after the visibility time-out; the ledger knows it.
"""

from typing import Any

from kombu.transport import redis as transport
from kombu.transport import virtual
from redis.exceptions import RedisError


class ForgivingQoS(transport.QoS):  # type: ignore[misc] # kombu ships no types
    """kombu's count of deliveries in work; one that could not be given back counts no longer."""

    def ack(self, delivery_tag: Any) -> None:
        """Acknowledge. Raises what the connection raises."""
        try:
            super().ack(delivery_tag)
        except (RedisError, OSError):
            virtual.QoS.ack(self, delivery_tag)
            raise

    def reject(self, delivery_tag: Any, requeue: bool = False) -> None:  # noqa: FBT001, FBT002 - kombu's signature
        """Refuse, or give back with `requeue`. Raises what the connection raises."""
        try:
            super().reject(delivery_tag, requeue=requeue)
        except (RedisError, OSError):
            virtual.QoS.ack(self, delivery_tag)
            raise


def install() -> None:
    """Have every channel to Redis count so."""
    transport.Channel.QoS = ForgivingQoS
