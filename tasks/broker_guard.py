"""Keeps a worker alive when Redis restarts while a message is not yet acknowledged, and on a broken message.

kombu 5.7.0 closes the transport and then the channel, whose close wants to give messages back and asks the transport
for its address: an AttributeError that ends the worker (reproduced with Celery 5.7.0 and redis-py 8.1). Raised as the
connection error it is, the worker reconnects. tests/faults/test_broker_restart.py kills the broker to see whether the
guard is still needed.

It also reads whatever stands in a list as a message and ends on what is none; see tasks/envelope.py.
"""

from importlib.metadata import version

import structlog
from kombu.transport import redis as transport
from packaging.version import Version
from redis.exceptions import ConnectionError as RedisConnectionError

from tasks import envelope

# Versions known to need the guard; a later one is first looked at.
_FROM, _BEFORE = Version("5.7.0"), Version("5.8")

log = structlog.get_logger("gengfu.tasks")


def install() -> bool:
    """Install the guard if this kombu needs it; return whether it is in place."""
    if not _FROM <= Version(version("kombu")) < _BEFORE:
        log.warning("broker_guard_not_installed", kombu=version("kombu"))
        return False
    original = transport.Channel._connparams  # noqa: SLF001 - the very method that fails
    if getattr(original, "guarded", False):
        return True

    def guarded(self: transport.Channel, asynchronous: bool = False) -> dict[str, object]:  # noqa: FBT001, FBT002 - kombu's signature
        if self.connection is None or self.connection.client is None:
            raise RedisConnectionError("the connection to the broker is closed")
        parameters: dict[str, object] = original(self, asynchronous=asynchronous)
        return parameters

    guarded.guarded = True  # type: ignore[attr-defined]
    transport.Channel._connparams = guarded  # noqa: SLF001
    transport.Channel.Message = envelope.CheckedMessage
    transport.loads = envelope.read
    return True
