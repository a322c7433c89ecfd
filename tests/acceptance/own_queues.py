"""The program's own Celery application on queues of a test's own: a RabbitMQ may be shared with others."""

import os

from tasks import queue_depth
from tasks.celery_app import app

for queue in app.conf.task_queues:
    name = f"{os.environ['QUEUE_PREFIX']}-{queue.name}"
    queue.name = queue.routing_key = queue.exchange.name = name
queue_depth.QUEUES = tuple(queue.name for queue in app.conf.task_queues)

__all__ = ["app"]
