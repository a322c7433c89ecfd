"""The Celery configuration. Why each value is what it is stands beside it; measurements: docs/why/celery.md."""

import math
from typing import Any

from kombu import Exchange, Queue

from app.service.settings import QUEUES
from app.settings import Settings

RESTORE_INTERVAL_S = 10


def celery_settings(settings: Settings, broker_url: str) -> dict[str, Any]:
    """Return Celery's settings for this broker address."""
    redis = is_redis(broker_url)
    return {
        "broker_url": broker_url,
        "broker_connection_retry_on_startup": True,
        # None = for ever: after the last retry beat's control thread would give up for good.
        "broker_connection_max_retries": None,
        "broker_transport_options": _redis_options(settings) if redis else {"confirm_publish": True},
        "result_backend": settings.broker.result_backend.get_secret_value() or None,
        # Every run's result stands in our own run history.
        "task_ignore_result": True,
        # JSON only: a pickled message could run anything.
        "task_serializer": "json",
        "result_serializer": "json",
        "event_serializer": "json",
        "accept_content": ["json"],
        "result_accept_content": ["json"],
        "timezone": str(settings.zone),
        "enable_utc": True,
        # A job that was cut down by a crash is delivered again.
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        # A job that fails or runs out of time has said so in its run record; doing it again at once helps nobody.
        "task_acks_on_failure_or_timeout": True,
        "worker_prefetch_multiplier": 1,
        "worker_soft_shutdown_timeout": float(settings.service.stop_grace_s) * 0.75,
        # A malformed message is refused instead of ending the worker again and again: tasks/admission.py.
        "worker_consumer": "tasks.admission:CarefulConsumer",
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        # Nobody listens: no events, no gossip, no remote control unless somebody asks for them.
        "worker_send_task_events": False,
        "worker_enable_remote_control": False,
        # Children are replaced now and then: leaks of libraries stay bounded.
        "worker_max_tasks_per_child": 500,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "task_queues": [_queue(name, redis=redis) for name in QUEUES],
        "task_default_queue": "low_priority",
        # A misspelt queue is an error, not a new queue that nobody serves.
        "task_create_missing_queues": False,
        "beat_scheduler": "tasks.scheduler:NightWatch",
        "beat_max_loop_interval": 5,
        # Celery's own backend_cleanup wakes at 04:00 too; it is only scheduled where results expire by hand.
        "result_expires": None,
    }


def is_redis(broker_url: str) -> bool:
    """Tell whether the address is served by the Redis transport (Redis or Valkey)."""
    return broker_url.partition(":")[0].partition("+")[0] in {"redis", "rediss", "valkey", "valkeys"}


def transport_priority(priority: int, *, redis: bool) -> int:
    """Return what the transport calls our priority: ours has 9 as the most urgent, Redis serves 0 first."""
    return 9 - priority if redis else priority


def _redis_options(settings: Settings) -> dict[str, Any]:
    return {
        # Short, because a living worker renews its messages (tasks/visibility.py): what a killed one held
        # comes back within this time instead of after the longest job.
        "visibility_timeout": settings.broker.visibility_timeout_s,
        "unacked_restore_interval": RESTORE_INTERVAL_S,
        "unacked_restore_throttle": 1,
        "priority_steps": list(range(10)),
        # A half-open connection is noticed instead of waited on; kombu also takes this as its patience with BRPOP.
        "health_check_interval": min(25, math.ceil(settings.broker.socket_timeout_s)),
        "socket_timeout": settings.broker.socket_timeout_s,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
    }


def _queue(name: str, *, redis: bool) -> Queue:
    # Classic queues: quorum queues of RabbitMQ 3.x deliver first in, first out whatever the priority.
    arguments = None if redis else {"x-max-priority": 9}
    return Queue(name, Exchange(name, type="direct"), routing_key=name, durable=True, queue_arguments=arguments)
