"""Priority 9 is served first on every broker; one conformance test for Valkey and RabbitMQ."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.context import make_context
from app.service.embedded_broker import EmbeddedBroker
from tasks.celery_app import make_app
from tasks.registry import find_job


@pytest.fixture(params=["valkey", "rabbitmq"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "valkey":
        with EmbeddedBroker(tmp_path / "var", tmp_path / "broker.log") as embedded:
            yield embedded.url
    else:
        yield request.getfixturevalue("rabbitmq_url")


def test_nine_is_served_first_and_one_last(broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", broker)
    context = make_context()
    app = make_app(context)
    name = f"test-{secrets.token_hex(6)}"
    declared = app.tasks[find_job("disk-space-check").spec.task_name]
    queue = app.conf.task_queues[0]
    queue.name = queue.routing_key = name
    with app.connection_for_write() as connection:
        bound = queue(connection.default_channel)
        bound.declare()
        try:
            for priority in (1, 9, 5):
                declared.apply_async(
                    exchange=queue.exchange, routing_key=name, priority=priority, headers={"given": priority}
                )
            # A second connection sees what the broker kept, not what the first one buffered.
            with app.connection_for_read() as reading:
                order = []
                inbox = queue(reading.default_channel)
                while (message := inbox.get(no_ack=True)) is not None:
                    order.append(message.headers["given"])
        finally:
            bound.delete()
    app.close()
    context.database.dispose()
    assert order == [9, 5, 1]


def test_the_ten_jobs_of_the_seed_have_its_priorities_and_queues() -> None:
    from tasks.registry import all_jobs

    specs = {name: declared.spec for name, declared in all_jobs().items()}
    assert {name: spec.priority for name, spec in specs.items() if spec.cron and spec.enabled} == {
        "check-pending-tasks": 9,
        "update-all-pending-tracking": 8,
        "system-health-check": 7,
        "check-timeout-tasks": 6,
        "disk-space-check": 5,
        "cleanup-temp-files": 4,
        "generate-daily-statistics": 3,
        "cleanup-expired-tasks": 2,
        "backup-database": 2,
        "cleanup-logs": 1,
    }
    assert (specs["generate-daily-statistics"].cron, specs["generate-daily-statistics"].queue) == (
        "0 2 * * *",
        "receipt",
    )
    assert (specs["cleanup-expired-tasks"].cron, specs["cleanup-expired-tasks"].queue) == ("0 4 * * *", "low_priority")
    assert (specs["disk-space-check"].cron, specs["disk-space-check"].queue) == ("15 * * * *", "file")
    assert specs["send-alert-notification"].queue == "high_priority"
