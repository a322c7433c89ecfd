"""Celery's side of the program: thin entry points on top of app/.

`celery -A tasks worker` and `celery -A tasks beat` find the instance here; it is made on first use, so that what only
reads the registry (status, list) never imports Celery.
"""

import sys
from pathlib import Path
from typing import Any

_PROJECT = str(Path(__file__).resolve().parent.parent)


def __getattr__(name: str) -> Any:
    if name in {"app", "celery"}:
        from importlib import import_module  # noqa: PLC0415 - see above

        # In a checkout that is not installed, `celery -A tasks` shows Python this package and nothing beside it.
        if _PROJECT not in sys.path:
            sys.path.append(_PROJECT)
        from app.core.errors import GengfuError  # noqa: PLC0415 - same

        try:
            return import_module("tasks.celery_app").app
        except GengfuError as error:  # only the `celery` command comes here: it would show the stack
            sys.stderr.write(f"error: {error}\n")
            raise SystemExit(int(error.exit_code)) from None
    raise AttributeError(f"module 'tasks' has no attribute {name!r}")
