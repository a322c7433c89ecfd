"""Both of Celery's loops say that they turn, also where there is nothing to do."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker
from celery.worker import loops
from processes import wait_until

from app.service.embedded_broker import EmbeddedBroker


@pytest.fixture(params=["asynloop", "synloop"])
def worker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """An idle worker in a thread, with our consumer in front of the loop."""
    if request.param == "synloop":
        yield from _idle("memory://", loops.synloop)
        return
    with EmbeddedBroker(tmp_path / "var", tmp_path / "broker.log") as broker:
        yield from _idle(broker.url, loops.asynloop)


def _idle(url: str, loop: object) -> Iterator[Any]:
    with Celery("idle", broker=url, set_as_current=False) as app:
        app.conf.update(worker_consumer="tasks.admission:CarefulConsumer", worker_enable_remote_control=False)
        with start_worker(app, pool="solo", perform_ping_check=False, loglevel="critical") as worker:
            assert worker.consumer.loop is loop
            yield worker


def test_an_idle_loop_turns_again_and_again(worker: Any) -> None:
    loop = worker.consumer.main_loop
    for _ in range(2):
        before = loop._turned_at
        wait_until(lambda before=before: loop._turned_at > before, "the loop turns")  # type: ignore[misc]
