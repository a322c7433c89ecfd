"""Celery as it comes: as many scheduled tasks as we have jobs, its own beat, its own settings."""

import os

from celery import Celery
from celery.schedules import crontab

app = Celery("stock_celery", broker=os.environ.get("STOCK_BROKER_URL"))
app.conf.beat_schedule = {
    f"job-{number}": {"task": "stock_celery.nothing", "schedule": crontab(minute="7", hour=str(number))}
    for number in range(10)
}


@app.task  # type: ignore[untyped-decorator] # Celery ships no types
def nothing() -> None:
    """Do nothing."""
