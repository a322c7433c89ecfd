"""Celery's side of the program: thin entry points on top of app/.

`celery -A tasks worker` and `celery -A tasks beat` find the instance here; it is made on first use, so that what only
reads the registry (status, list) never imports Celery.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name in {"app", "celery"}:
        from importlib import import_module  # noqa: PLC0415 - see above

        return import_module("tasks.celery_app").app
    raise AttributeError(f"module 'tasks' has no attribute {name!r}")
