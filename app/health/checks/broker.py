"""Whether the broker answers and how many messages wait, asked without Celery."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from app.core.clock import Clock
from app.core.redaction import redact

TIMEOUT_S = 2.0
_REDIS = frozenset({"redis", "rediss", "redis+socket"})
# kombu keeps one list per priority: the plain name for 0, and name + separator + step for the others.
_SEPARATOR = "\x06\x16"
_STEPS = range(1, 10)
_UNACKED = "unacked"
_TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


def check_broker(
    url: str,
    queues: Sequence[str],
    clock: Clock,
    *,
    measured: Mapping[str, Any] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> dict[str, Any]:
    """Ping the broker and count the waiting messages of each queue; never raises.

    `queues` {name: messages of all priorities}, `total`, `unacked` (delivered and not yet acknowledged, of all
    queues), `ping_ms`. Where only a Celery process can look (AMQP), `available` is false and `why` says so, unless the
    caller hands over what it `measured` under the same keys. Of several addresses (`a;b`) the first to answer counts.
    """
    if measured is not None:
        return {"status": "ok", "detail": "measured by the caller", "available": True, **measured}
    addresses = [address.strip() for address in url.split(";") if address.strip()]
    answer = _unseen("no broker is configured; set CELERY_BROKER_URL or run `gengfu up`")
    for address in addresses:
        answer = _asked(address, queues, clock, timeout_s)
        if answer["status"] != "critical":
            break
    return answer


def _asked(address: str, queues: Sequence[str], clock: Clock, timeout_s: float) -> dict[str, Any]:
    scheme = address.partition("://")[0]
    if scheme not in _REDIS:
        return _unseen(f"{redact(scheme)} brokers can only be asked by a Celery process")
    from redis.exceptions import RedisError  # noqa: PLC0415 - 250 ms that programs without this check need not pay

    try:
        return _measure(_connection_arguments(urlsplit(address), timeout_s), queues, clock)
    except (RedisError, OSError, ValueError) as error:
        detail = redact(f"{address} does not answer: {' '.join(str(error).split())}")
        return {"status": "critical", "detail": detail, "available": False, "why": detail}


def _measure(arguments: dict[str, Any], queues: Sequence[str], clock: Clock) -> dict[str, Any]:
    from redis import Redis  # noqa: PLC0415 - see above

    asked = clock.monotonic()
    with Redis(**arguments) as client:
        client.ping()
        ping_ms = round((clock.monotonic() - asked) * 1000, 2)
        depths = {queue: _depth(client, queue) for queue in queues}
        unacked = int(client.hlen(_UNACKED))
    total = sum(depths.values())
    return {
        "status": "ok",
        "detail": f"{total} messages wait, {unacked} are being worked on",
        "available": True,
        "ping_ms": ping_ms,
        "queues": depths,
        "total": total,
        "unacked": unacked,
    }


def _depth(client: Any, queue: str) -> int:
    pipeline = client.pipeline(transaction=False)
    pipeline.llen(queue)
    for step in _STEPS:
        pipeline.llen(f"{queue}{_SEPARATOR}{step}")
    return sum(pipeline.execute())


def _connection_arguments(parts: SplitResult, timeout_s: float) -> dict[str, Any]:
    """Read the address as kombu does. Raises ValueError for a port or database that is no number."""
    from redis.backoff import NoBackoff  # noqa: PLC0415 - see above
    from redis.retry import Retry  # noqa: PLC0415 - see above

    query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    arguments: dict[str, Any] = {
        "username": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        # The default tries again for some ten seconds.
        "retry": Retry(NoBackoff(), 0),
    }
    if parts.scheme == "redis+socket":
        database = query.get("virtual_host", "0")
        return arguments | {"unix_socket_path": unquote(parts.path), "db": int(database.strip("/") or 0)}
    where = {"host": parts.hostname or "localhost", "port": parts.port or 6379, "db": int(parts.path.strip("/") or 0)}
    return arguments | where | (_tls(query) if parts.scheme == "rediss" else {})


def _tls(query: Mapping[str, str]) -> dict[str, Any]:
    # Celery writes CERT_REQUIRED where the client says required.
    demanded = query.get("ssl_cert_reqs", "required").removeprefix("CERT_").lower()
    return {"ssl": True, "ssl_cert_reqs": demanded, **{key: query[key] for key in _TLS_FILES if key in query}}


def _unseen(why: str) -> dict[str, Any]:
    return {"status": "unknown", "detail": why, "available": False, "why": why}
