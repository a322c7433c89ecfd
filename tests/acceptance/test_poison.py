"""Messages of every wrong kind for a real worker: each is refused once and told, and the next one is served."""

import base64
import json
import pickle
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
import redis
from processes import environment, free_port, run, started, valkey, wait_until

from app.views import worker_statuses


@dataclass(frozen=True, kw_only=True)
class _Broker:
    """A broker with a real worker behind it."""

    home: Path
    client: "redis.Redis[bytes]"
    pid: int

    def publish(self, queue: str, body: bytes, *, content_type: str = "application/json", **headers: object) -> None:
        """Put a message of our own making on a queue, as any client of the broker can."""
        properties = {
            "correlation_id": str(uuid.uuid4()),
            "delivery_mode": 2,
            "delivery_info": {"exchange": queue, "routing_key": queue},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
        }
        envelope = {
            "body": base64.b64encode(body).decode(),
            "content-encoding": "binary" if "python" in content_type else "utf-8",
            "content-type": content_type,
            "headers": {"lang": "py", "id": str(uuid.uuid4()), "retries": 0, "timelimit": [None, None], **headers},
            "properties": properties,
        }
        self.client.lpush(queue, json.dumps(envelope))

    def serves(self, queue: str) -> bool:
        """Publish a good message behind what waits and wait until it was worked off, by the same worker as ever."""
        marker = str(uuid.uuid4())
        self.publish(queue, _body("behind"), task=_ALERTS, id=marker)
        wait_until(lambda: _run(self, marker) is not None, "the message behind it was worked off", within_s=20)
        wait_until(self.holds_nothing, "the broker holds nothing back", within_s=20)
        return [worker.pid for worker in worker_statuses(self.home / "var")] == [self.pid]

    def refused(self) -> tuple[int, int]:
        """How many messages the worker refused, by its sign of life and by its log."""
        (worker,) = worker_statuses(self.home / "var")
        return worker.messages_refused, self.logged("message_refused")

    def logged(self, event: str) -> int:
        lines = (self.home / "logs" / "celery_worker.log").read_text().splitlines()
        return sum(json.loads(line).get("event") == event for line in lines)

    def holds_nothing(self) -> bool:
        lists = [key for key in self.client.keys("*") if self.client.type(key) == b"list"]
        return sum(self.client.llen(key) for key in lists) == 0 and self.client.hlen("unacked") == 0


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Broker]:
    folder = tmp_path_factory.mktemp("poison")
    port = free_port()
    env = environment(folder / "home", CELERY_BROKER_URL=f"redis://127.0.0.1:{port}/0")
    command = ("-m", "celery", "-A", "tasks", "worker", "-c", "1", "-l", "INFO")
    assert run("-m", "app", "db", "upgrade", env=env).returncode == 0
    client = redis.Redis(port=port)
    with closing(client), valkey(folder / "valkey", port), started(*command, env=env, log=folder / "out") as worker:
        lock = folder / "home" / "var" / "run"
        wait_until(lambda: list(lock.glob("worker-*.lock")), "the worker is ready")
        yield _Broker(home=folder / "home", client=client, pid=worker.pid)
        assert worker.poll() is None, "the worker has died"


class _Canary:
    """What unpickling would do."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._path,)


_DISK = "tasks.monitoring_tasks.check_disk_space"
_CLEANUP = "tasks.monitoring_tasks.cleanup_expired_tasks"
_STATISTICS = "tasks.monitoring_tasks.generate_daily_statistics"
_ALERTS = "tasks.monitoring_tasks.send_alert_notification"


def _body(*args: object, **kwargs: object) -> bytes:
    return json.dumps([args, kwargs, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]).encode()


Fate = Literal["refused", "failed", "left"]
"""Refused at the door; a run that failed for its arguments; taken, found to be nobody's slot, and left."""

_YESTERDAY = (datetime.now(UTC) - timedelta(days=1)).isoformat()
_MESSAGES: dict[str, tuple[Fate, str, bytes, dict[str, Any]]] = {
    "unknown task": ("refused", "file", _body(), {"task": "nobody.knows"}),
    "one of Celery's own tasks": ("refused", "file", _body(1), {"task": "celery.accumulate"}),
    "no task": ("refused", "file", _body(), {}),
    "a list for a task": ("refused", "file", _body(), {"task": [_DISK]}),
    "wrong arguments": ("failed", "file", _body("/etc/passwd", path="/etc"), {"task": _DISK}),
    "a root in the message": ("failed", "low_priority", _body(root="/etc"), {"task": _CLEANUP}),
    "a word for a truth value": ("failed", "low_priority", _body("false"), {"task": _CLEANUP}),
    "a path for a day": ("failed", "receipt", _body("../../etc/2026-01-01"), {"task": _STATISTICS}),
    "a slot nobody planned": ("left", "file", _body(), {"task": _DISK, "slot": _YESTERDAY}),
    "a slot of another age": ("refused", "file", _body(), {"task": _DISK, "slot": "0001-01-01T00:00:00+14:00"}),
    "words for a slot": ("refused", "file", _body(), {"task": _DISK, "slot": "凌晨两点"}),
    "a list for a slot": ("refused", "file", _body(), {"task": _DISK, "slot": [1]}),
    "a slot with arguments": ("refused", "low_priority", _body(dry_run=True), {"task": _CLEANUP, "slot": _YESTERDAY}),
    "pickle": ("refused", "file", b"", {"task": _DISK, "content_type": "application/x-python-serialize"}),
    "yaml": ("refused", "file", b"!!python/name:os.system", {"task": _DISK, "content_type": "application/x-yaml"}),
    "no JSON": ("refused", "file", b"{{{{", {"task": _DISK}),
    "no UTF-8": ("refused", "file", b"\xff\xfe\x00", {"task": _DISK}),
    "nested without end": ("refused", "file", b"[" * 100_000 + b"]" * 100_000, {"task": _DISK}),
    "ten megabytes": ("refused", "file", _body("x" * 10_000_000), {"task": _DISK}),
    "packed": ("refused", "file", _body(), {"task": _DISK, "compression": "application/x-gzip"}),
    "a bad time": ("refused", "file", _body(), {"task": _DISK, "eta": "garbage"}),
    "a table for a body": ("refused", "file", b'{"a": 1}', {"task": _DISK}),
    "a short body": ("refused", "file", b"[1]", {"task": _DISK}),
    "a text for a body": ("refused", "file", b'"abc"', {"task": _DISK}),
    "null for a body": ("refused", "file", b"null", {"task": _DISK}),
    "no id": ("refused", "file", _body(), {"task": _DISK, "id": None}),
    "a number for an id": ("refused", "file", _body(), {"task": _DISK, "id": 5}),
    "an id that no database takes": ("refused", "file", _body(), {"task": _DISK, "id": "a\0b\udcff"}),
    "words for retries": ("refused", "file", _body(), {"task": _DISK, "retries": "x"}),
    "words for limits": ("refused", "file", _body(), {"task": _DISK, "timelimit": ["a", "b"]}),
    "limits without end": ("refused", "file", _body(), {"task": _DISK, "timelimit": [10**12, 10**12]}),
}


@pytest.mark.parametrize("kind", _MESSAGES)
def test_a_poisonous_message_is_taken_off_once_and_counted_and_the_worker_lives(broker: _Broker, kind: str) -> None:
    fate, queue, body, headers = _MESSAGES[kind]
    number = headers.get("id", str(uuid.uuid4()))
    before, left = broker.refused(), broker.logged("slot_not_run")
    broker.publish(queue, body or pickle.dumps(_Canary(broker.home / "canary")), **{"id": number, **headers})
    assert broker.serves(queue)
    one = int(fate == "refused")
    assert broker.refused() == (before[0] + one, before[1] + one)
    assert broker.logged("slot_not_run") == left + int(fate == "left")
    found = _run(broker, number) if isinstance(number, str) else None
    assert (found and found["state"]) == ("failed" if fate == "failed" else None)
    assert not (broker.home / "canary").exists()
    assert "Unrecoverable error" not in (broker.home / "logs" / "celery_worker.log").read_text()


_DELIVERY = {"delivery_tag": "1", "delivery_info": {"exchange": "file", "routing_key": "file"}}
_HEADERS = {"id": str(uuid.uuid4()), "task": _DISK, "retries": 0, "timelimit": [None, None]}
_GOOD: dict[str, Any] = {
    "body": _body().decode(),
    "content-type": "application/json",
    "content-encoding": "utf-8",
    "headers": _HEADERS,
    "properties": _DELIVERY,
}


def _envelope(**changes: object) -> str:
    return json.dumps(_GOOD | changes)


def _properties(**changes: object) -> str:
    return _envelope(properties=_DELIVERY | changes)


_ENVELOPES: dict[str, str | bytes] = {
    "nothing": "",
    "a number": "5",
    "a list": "[]",
    "an empty table": "{}",
    "null": "null",
    "a word": '"磁盘"',
    "no JSON": "{{{{",
    "no UTF-8": b"\xff\xfe\x00",
    "nested without end": "[" * 100_000,
    "ten megabytes of it": "[" + "1," * 5_000_000,
    "a date that is none": _envelope(headers={**_HEADERS, "x": {"__type__": "datetime", "__value__": 5}}),
    "headers that are a list": _envelope(headers=["task"]),
    "headers that are a word": _envelope(headers="task"),
    "no properties": json.dumps({key: value for key, value in _GOOD.items() if key != "properties"}),
    "properties that are a list": _envelope(properties=[1]),
    "a body that is a table": _envelope(body={"a": 1}),
    "a body that is a number": _envelope(body=5),
    "no body": json.dumps({key: value for key, value in _GOOD.items() if key != "body"}),
    "a body that is no base64": _properties(body_encoding="base64"),
    "half a character in the body": _envelope(body="\ud83d"),
    "an unknown encoding": _properties(body_encoding="rot13"),
    "an encoding that is a list": _properties(body_encoding=["base64"]),
    "a type that is a list": _envelope(**{"content-type": ["application/json"]}),
    "a character set that is a list": _envelope(**{"content-encoding": ["utf-8"]}),
    "no tag": _properties(delivery_tag=None),
    "a tag that is a list": _properties(delivery_tag=[1]),
    "no way": _properties(delivery_info=None),
    "a way that is a word": _properties(delivery_info="file"),
    "half a way": _properties(delivery_info={"exchange": "file"}),
}


@pytest.mark.parametrize("kind", _ENVELOPES)
def test_a_broken_envelope_is_refused_once_and_costs_neither_the_worker_nor_another_message(
    broker: _Broker, kind: str
) -> None:
    before = broker.refused()
    broker.client.lpush("file", _ENVELOPES[kind])
    assert broker.serves("file")
    assert broker.refused() == (before[0] + 1, before[1] + 1)


def test_the_envelope_that_the_broken_ones_are_made_of_is_served(broker: _Broker) -> None:
    before = broker.refused()
    broker.client.lpush("file", _envelope())
    assert broker.serves("file")
    assert broker.refused() == before
    found = _run(broker, _HEADERS["id"])
    assert found is not None
    assert found["state"] == "succeeded"


def test_malformed_alerts_are_refused_one_by_one_and_the_good_one_is_told(broker: _Broker) -> None:
    good = {"type": "disk", "message": "磁盘将满\x1b[2J", "severity": "critical"}
    bad = [
        1,
        None,
        {},
        {"type": "t", "message": "m", "severity": "fatal"},
        {**good, "value": "much"},
        {**good, "labels": 5},
    ]
    number = str(uuid.uuid4())
    broker.publish("high_priority", _body(alerts=[*bad, good]), task=_ALERTS, id=number)
    wait_until(lambda: _run(broker, number) is not None, "the alerts were worked off", within_s=20)
    found = _run(broker, number) or {}
    assert [refusal["index"] for refusal in found["result"]["refused"]] == list(range(len(bad)))
    assert found["result"]["sent"] == 1
    told = (broker.home / "logs" / "critical_alerts.log").read_text()
    assert "磁盘将满" in told
    assert "\x1b" not in told


def _run(broker: _Broker, number: str) -> dict[str, Any] | None:
    """State and result of a run that came to its end, by the id of its message."""
    query = "SELECT state, result FROM gengfu_run WHERE id = ? AND finished_at IS NOT NULL"
    with closing(sqlite3.connect(broker.home / "var" / "gengfu.db", timeout=10)) as database:
        number = number.encode("utf-8", "replace").decode()  # no database takes half a character
        found = database.execute(query, [number.replace("-", "")]).fetchone()
    return {"state": found[0], "result": json.loads(found[1])} if found else None
