"""A living worker's messages are renewed; what was acknowledged meanwhile does not come back."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from celery.worker import state
from kombu import Connection, Queue

from app.service.embedded_broker import EmbeddedBroker
from tasks import visibility


class _Request:
    """What Celery keeps of a message a worker holds."""

    def __init__(self, tag: str, *, acknowledged: bool = False) -> None:
        self.message = SimpleNamespace(delivery_tag=tag)
        self.acknowledged = acknowledged


def test_only_messages_still_held_are_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        EmbeddedBroker(tmp_path / "var", tmp_path / "broker.log") as broker,
        Connection(broker.url, transport_options={"visibility_timeout": 300}) as connection,
    ):
        channel = connection.default_channel
        queue = Queue("续期", channel=channel)
        queue.declare()
        with connection.Producer() as producer:
            for number in range(2):
                producer.publish({"n": number}, routing_key="续期", exchange="")
        held, finished = queue.get(), queue.get()
        with channel.conn_or_acquire() as client:
            client.zadd(channel.unacked_index_key, {held.delivery_tag: 1.0})
        finished.ack()
        requests = {_Request(held.delivery_tag), _Request(finished.delivery_tag), _Request("x", acknowledged=True)}
        monkeypatch.setattr(state, "reserved_requests", requests)
        consumer = SimpleNamespace(task_consumer=SimpleNamespace(channel=channel))
        assert visibility.renew(consumer) == 2
        with channel.conn_or_acquire() as client:
            index = dict(client.zrange(channel.unacked_index_key, 0, -1, withscores=True))
        assert {key.decode() for key in index} == {held.delivery_tag}
        assert next(iter(index.values())) > 1_000_000_000


def test_a_broker_that_is_away_costs_the_worker_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "reserved_requests", {_Request("t")})
    with Connection(f"redis+socket://{tmp_path / 'none.sock'}") as connection:
        channel = SimpleNamespace(
            unacked_index_key="unacked_index", conn_or_acquire=lambda: _away(connection), connection=connection
        )
        assert visibility.renew(SimpleNamespace(task_consumer=SimpleNamespace(channel=channel))) == 0


def _away(_connection: Connection) -> None:
    raise ConnectionRefusedError("away")
