"""A delivery that could not be given back keeps no worker from asking for the next one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection, Queue
from redis.exceptions import ConnectionError as RedisConnectionError

from app.service.embedded_broker import EmbeddedBroker
from tasks import ack_guard


@pytest.mark.parametrize("give_back", [lambda m: m.ack(), lambda m: m.reject(), lambda m: m.requeue()])
def test_a_delivery_whose_broker_is_gone_counts_no_longer(tmp_path: Path, give_back: Callable[[Any], None]) -> None:
    ack_guard.install()
    with EmbeddedBroker(tmp_path / "var", tmp_path / "broker.log") as broker, Connection(broker.url) as connection:
        channel = connection.channel()
        channel.basic_qos(0, 1, False)  # noqa: FBT003 - kombu's signature
        queue = Queue("确认", channel=channel)
        queue.declare()
        with connection.Producer() as producer:
            producer.publish({"n": 1}, routing_key="确认", exchange="")
        message = queue.get()
        assert not channel.qos.can_consume()
        broker.stop()
        with pytest.raises(RedisConnectionError):
            give_back(message)
        assert channel.qos.can_consume()
