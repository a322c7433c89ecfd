"""What use cases have in common at their end: a report written or not, alerts judged, folders that may be missing."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import structlog

from app.alerts.alert import Alert
from app.context import Context
from app.core.errors import OutputUnwritable
from app.runner import Outcome

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


def judged(
    context: Context, evaluate: Callable[[Any, Any], Iterable[Alert]], document: dict[str, Any]
) -> list[dict[str, Any]]:
    settings = context.settings.alerts
    return [alert.to_dict() for alert in evaluate(document, settings.rules)] if settings.enabled else []


def with_alerts(result: dict[str, Any]) -> Outcome:
    alerts = result.get("alerts", [])
    return Outcome(result={**result, "alerts": len(alerts)}, alerts=alerts)


def nearest_existing(path: Path) -> Path:
    return next((parent for parent in (path, *path.parents) if parent.exists()), path)
