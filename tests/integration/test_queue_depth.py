"""Waiting messages are counted on RabbitMQ, where one answers; a dead one is told."""

import pytest
from celery import Celery

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
