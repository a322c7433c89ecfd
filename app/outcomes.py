"""What use cases have in common at their end: reports that can't be written, own alerts, folders that are missing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from app.core.errors import OutputUnwritable
from app.execution.runner import Outcome

log = structlog.get_logger("gengfu.jobs")


def trouble_of(write: Callable[[], object]) -> dict[str, Any]:
    """Write a report; where that fails return what to say of it.

    What was measured or deleted must not be lost with its report: run record, log and alerts still tell it.
    """
    try:
        write()
    except OutputUnwritable as error:
        log.error("report_not_written", error=str(error))  # noqa: TRY400 - told on purpose
        return {"success": False, "error": str(error), "report_path": None}
    return {}


def with_alerts(result: dict[str, Any]) -> Outcome:
    """Return the outcome of a use case that lists under `alerts` all that is wrong; what it does not list is well."""
    alerts = result.get("alerts", [])
    return Outcome(result={**result, "alerts": len(alerts)}, alerts=alerts)


def nearest_existing(path: Path) -> Path:
    return next((parent for parent in (path, *path.parents) if parent.exists()), path)
