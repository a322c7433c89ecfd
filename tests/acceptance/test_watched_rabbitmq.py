"""A monitor in a real worker on RabbitMQ: it counts what waits there, and the idle worker is known to live."""

import json
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection, Exchange, Producer, Queue
from processes import environment, run, started, wait_until

_SETTINGS = """
[health]
interval_s = 1

[alerts]
channels = ["log_files"]

[alerts.rules.queue_backlog]
levels = { warning = 2 }
for = "0s"
"""


@pytest.fixture
def prefix(rabbitmq_url: str) -> Iterator[str]:
    """Queues of this test alone, of which the worker serves one; three messages wait in another."""
    made = f"test-{secrets.token_hex(6)}"
    name = f"{made}-receipt"
    with Connection(rabbitmq_url) as connection, closing(connection.channel()) as channel:
        waiting = Queue(name, Exchange(name, type="direct"), name, queue_arguments={"x-max-priority": 9})
        producer = Producer(channel)
        for _ in range(3):
            producer.publish({"任务": 1}, exchange=name, routing_key=name, declare=[waiting])
        try:
            yield made
        finally:
            for queue in (name, f"{made}-file"):
                Queue(queue, channel=channel).delete()
                channel.exchange_delete(queue)


@pytest.fixture
def home(rabbitmq_url: str, prefix: str, tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "settings.toml").write_text(_SETTINGS)
    home, config = tmp_path / "home", str(tmp_path / "config")
    env = environment(home, CELERY_BROKER_URL=rabbitmq_url, QUEUE_PREFIX=prefix, GENGFU_CONFIG=config)
    env["PYTHONPATH"] += f":{Path(__file__).resolve().parent}"
    assert run("-m", "app", "db", "upgrade", env=env).returncode == 0
    command = ("-m", "celery", "-A", "own_queues", "worker", "-c", "1", "-Q", f"{prefix}-file")
    with started(*command, env=env, log=tmp_path / "out"):
        yield home


def told(home: Path) -> list[dict[str, Any]]:
    file = home / "logs" / "warning_alerts.log"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def sign(home: Path) -> str:
    with closing(sqlite3.connect(home / "var" / "gengfu.db", timeout=20)) as database:
        found = database.execute("SELECT updated_at FROM gengfu_service_state WHERE key LIKE 'worker:%'").fetchone()
    return str(found[0]) if found else ""


def test_a_backlog_on_rabbitmq_is_told_and_the_idle_worker_goes_on_signing(home: Path, prefix: str) -> None:
    wait_until(lambda: "QueueBacklog" in {line["alertname"] for line in told(home)}, "the backlog is told")
    (backlog,) = [line for line in told(home) if line["alertname"] == "QueueBacklog"]
    assert backlog["labels"] == {"queue": f"{prefix}-receipt"}
    for _ in range(2):
        before = sign(home)
        wait_until(lambda before=before: sign(home) > before, "the idle worker signs")  # type: ignore[misc]
