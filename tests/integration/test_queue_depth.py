"""Waiting messages are counted on RabbitMQ, where one answers; a dead one is told."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from amqp.exceptions import ConnectionForced
from celery import Celery
from network import Proxy, proxied, tcp

from tasks import queue_depth


def test_queues_that_are_there_and_queues_that_are_not_yet_are_counted(
    rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Celery("counter", broker=rabbitmq_url, set_as_current=False) as counter:
        monkeypatch.setattr(queue_depth, "current_app", counter)
        monkeypatch.setattr(queue_depth, "QUEUES", ("gengfu-test-depth", "gengfu-test-not-declared"))
        with counter.connection_for_write() as connection, connection.SimpleQueue("gengfu-test-depth") as queue:
            try:
                for _ in range(3):
                    queue.put({"任务": 1})
                facts = queue_depth.measure()
            finally:
                queue.queue.delete()
    assert facts["queues"] == {"gengfu-test-depth": 3, "gengfu-test-not-declared": 0}
    assert facts["total"] == 3


def test_a_dead_broker_is_told_and_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with Celery("counter", broker="amqp://guest:geheim@127.0.0.1:1//", set_as_current=False) as counter:
        monkeypatch.setattr(queue_depth, "current_app", counter)
        facts = queue_depth.measure()
    assert facts["status"] == "critical"
    assert "geheim" not in str(facts)


def test_a_broker_that_falls_silent_between_two_answers_is_told_and_not_waited_for(
    rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_depth, "_LIMITS", {"read_timeout": 0.2, "write_timeout": 0.2})
    found: list[dict[str, Any]] = []
    with asked_through_a_proxy(rabbitmq_url, monkeypatch, Proxy.silence):
        thread = threading.Thread(target=lambda: found.append(queue_depth.measure()), daemon=True)
        thread.start()
        thread.join(20)
        # Here: the end of the proxy ends the waiting.
        assert [(facts["status"], facts["available"]) for facts in found] == [("critical", False)]


def shut_down(_proxy: Proxy) -> None:
    """As the RabbitMQ server does it, in words."""
    raise ConnectionForced("CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'")


@pytest.mark.parametrize("break_it", [Proxy.reset, Proxy.hang_up, shut_down])
def test_a_broker_that_breaks_off_between_two_answers_is_told(
    rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch, break_it: Callable[[Proxy], None]
) -> None:
    with asked_through_a_proxy(rabbitmq_url, monkeypatch, break_it):
        facts = queue_depth.measure()
    assert (facts["status"], facts["available"]) == ("critical", False)


@contextmanager
def asked_through_a_proxy(
    url: str, monkeypatch: pytest.MonkeyPatch, break_it: Callable[[Proxy], None]
) -> Iterator[None]:
    """The network breaks once the broker has let us in, before it is asked for its queues."""
    ask = queue_depth._depth
    with proxied(tcp(urlsplit(url).port or 5672)) as proxy:

        def ask_in_vain(connection: Any, name: str) -> int:
            break_it(proxy)
            return ask(connection, name)

        monkeypatch.setattr(queue_depth, "_depth", ask_in_vain)
        with Celery("counter", broker=_through(url, proxy.port), set_as_current=False) as counter:
            monkeypatch.setattr(queue_depth, "current_app", counter)
            yield


def _through(url: str, port: int) -> str:
    """The same address, at a proxy on loopback."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{port}").geturl()
