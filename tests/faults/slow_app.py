"""A Celery application with the program's own configuration and one slow task, for killing brokers under it."""

import os
import time
from pathlib import Path

from celery import Celery

from app.context import make_context
from config.celery_settings import celery_settings
from tasks import ack_guard, broker_guard, visibility

context = make_context()
app = Celery("slow_app")
app.conf.update(celery_settings(context.settings, context.broker_url))
if os.environ.get("WITHOUT_GUARD") != "1":
    broker_guard.install()
if os.environ.get("CELERYS_CONSUMER") == "1":
    # It talks to its neighbours on a channel of its own, which ours has no need of: there the guard is missed.
    app.conf.worker_consumer = "celery.worker.consumer:Consumer"
ack_guard.install()
app.steps["consumer"].add(visibility.RenewVisibility)


@app.task(name="slow.wait_for", queue="file", acks_late=True)
def wait_for(begun: str, gate: str) -> None:
    """Run until the file `gate` exists."""
    Path(begun).touch()
    while not Path(gate).exists():
        time.sleep(0.05)


@app.task(name="slow.touch", queue="file", acks_late=True)
def touch(path: str) -> None:
    """Leave a file."""
    Path(path).touch()
