"""Messages of every wrong kind that RabbitMQ can carry, for a real worker: each is refused once, the next is served."""

import json
import pickle
import secrets
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection, Producer, Queue
from processes import environment, run, started, wait_until

from app.views import worker_statuses

_DISK = "tasks.monitoring_tasks.check_disk_space"
_ALERTS = "tasks.monitoring_tasks.send_alert_notification"
_EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
_BODY = json.dumps([[], {}, _EMBED]).encode()


@dataclass(frozen=True, kw_only=True)
class _Broker:
    """A queue of the shared RabbitMQ that nobody else knows, with a real worker behind it."""

    home: Path
    queue: str
    producer: Any
    channel: Any
    pid: int

    def publish(self, body: bytes, headers: dict[str, Any] | None, **properties: Any) -> None:
        kind = {"content_type": "application/json", "content_encoding": "utf-8"} | properties
        self.producer.publish(body, exchange=self.queue, routing_key=self.queue, headers=headers, **kind)

    def serves(self) -> bool:
        """Publish a good message and wait until it was worked off; tell whether the worker is the same as ever."""
        marker, before = str(uuid.uuid4()), self.logged("job_finished")
        body = json.dumps([[[]], {}, _EMBED]).encode()
        self.publish(body, {"task": _ALERTS, "id": marker, "retries": 0, "timelimit": [None, None]})
        wait_until(lambda: self.logged("job_finished") > before, "the message behind it was worked off", within_s=20)
        return [worker.pid for worker in worker_statuses(self.home / "var")] == [self.pid]

    def waiting(self) -> int:
        return int(self.channel.queue_declare(self.queue, passive=True).message_count)

    def refused(self) -> tuple[int, int]:
        (worker,) = worker_statuses(self.home / "var")
        return worker.messages_refused, self.logged("message_refused")

    def logged(self, event: str) -> int:
        lines = (self.home / "logs" / "celery_worker.log").read_text().splitlines()
        return sum(json.loads(line).get("event") == event for line in lines)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[_Broker]:
    url = request.getfixturevalue("rabbitmq_url")
    folder, prefix = tmp_path_factory.mktemp("rabbit"), f"test-{secrets.token_hex(6)}"
    here = Path(__file__).resolve().parent
    env = environment(folder / "home", CELERY_BROKER_URL=url, QUEUE_PREFIX=prefix)
    env["PYTHONPATH"] += f":{here}"
    command = ("-m", "celery", "-A", "own_queues", "worker", "-c", "1", "-Q", f"{prefix}-file")
    assert run("-m", "app", "db", "upgrade", env=env).returncode == 0
    with Connection(url) as connection, closing(connection.channel()) as channel:
        try:
            with started(*command, env=env, log=folder / "out") as worker:
                locks = folder / "home" / "var" / "run"
                wait_until(lambda: list(locks.glob("worker-*.lock")), "the worker is ready")
                producer = Producer(channel)
                made = _Broker(
                    home=folder / "home", queue=f"{prefix}-file", producer=producer, channel=channel, pid=worker.pid
                )
                yield made
                assert worker.poll() is None, "the worker has died"
        finally:
            Queue(f"{prefix}-file", channel=channel).delete()
            channel.exchange_delete(f"{prefix}-file")


_GOOD = {"task": _DISK, "id": "1", "retries": 0, "timelimit": [None, None]}
_KINDS: dict[str, tuple[bytes, dict[str, Any] | None, dict[str, Any]]] = {
    "no JSON": (b"{{{{", _GOOD, {}),
    "no UTF-8": (b"\xff\xfe\x00", _GOOD, {}),
    "nothing": (b"", _GOOD, {}),
    "unknown task": (_BODY, {**_GOOD, "task": "nobody.knows"}, {}),
    "no headers": (_BODY, None, {}),
    "a list for a task": (_BODY, {**_GOOD, "task": [_DISK]}, {}),
    "words for a slot": (_BODY, {**_GOOD, "slot": "凌晨两点"}, {}),
    "a number for an id": (_BODY, {**_GOOD, "id": 5}, {}),
    "ten megabytes": (b'"' + b"x" * 10_000_000 + b'"', _GOOD, {}),
    "pickle": (pickle.dumps([[], {}, {}]), _GOOD, {"content_type": "application/x-python-serialize"}),
    "a type nobody knows": (_BODY, _GOOD, {"content_type": "text/klingon"}),
    "packed by what is not there": (_BODY, {**_GOOD, "compression": "application/x-klingon"}, {}),
    "packed and broken": (_BODY, {**_GOOD, "compression": "application/x-gzip"}, {}),
}


@pytest.mark.parametrize("kind", _KINDS)
def test_a_poisonous_message_on_rabbitmq_is_refused_once_and_counted_and_the_worker_lives(
    broker: _Broker, kind: str
) -> None:
    body, headers, properties = _KINDS[kind]
    before = broker.refused()
    broker.publish(body, headers, **properties)
    assert broker.serves()
    assert broker.refused() == (before[0] + 1, before[1] + 1)
    assert broker.waiting() == 0
