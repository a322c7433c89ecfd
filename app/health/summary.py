"""All checks in one answer."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import structlog

from app.core.clock import Clock
from app.core.database import Database
from app.core.redaction import redact
from app.core.source_tables import SourceTables
from app.health.checks.database import check_database
from app.health.checks.disk import check_disks
from app.health.checks.system import check_system
from app.health.settings import HealthSettings

_log = structlog.get_logger("gengfu.health")
_RANK = {"ok": 0, "unknown": 1, "warning": 2, "critical": 3}

Check = Callable[[], dict[str, Any]]


def system_health(
    *,
    database: Database,
    source: SourceTables,
    settings: HealthSettings,
    clock: Clock,
    paths: Iterable[Path],
    broker: Check,
    more: Mapping[str, Check] | None = None,
) -> dict[str, Any]:
    """Run every check and return `status` (the worst) and `checks` {name: {status, detail, figures...}}; never raises.

    Statuses: ok, warning, critical, unknown (what could not be seen). `broker` asks the
    broker (`check_broker`, or what a Celery process measures); `more` adds checks by name.
    `success` says that the checks ran, not that all is well.
    """
    checks: dict[str, Check] = {
        "disk": lambda: disk_health(check_disks(paths, settings.disk)),
        "system": lambda: check_system(settings, clock),
        "database": lambda: check_database(database, source, clock),
        "broker": broker,
        **(more or {}),
    }
    results = {name: _guarded(name, check) for name, check in checks.items()}
    overall = max((result["status"] for result in results.values()), key=lambda status: _RANK.get(status, 1))
    return {"success": True, "status": overall, "checked_at": clock.now().isoformat(), "checks": results}


def disk_health(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result of `check_disks` with a health status and a detail in words."""
    if not result["success"]:
        return {**result, "status": "unknown", "detail": result["error"]}
    fullest = result["disk_info"]
    unseen = "".join(f"; {error['path']}: {error['why']}" for error in result["errors"])
    locked = "".join(f"; {mount['mount']} is mounted read-only" for mount in result["mounts"] if mount["read_only"])
    status = "ok" if result["status"] == "normal" else result["status"]
    return {
        **result,
        "status": "unknown" if unseen and status == "ok" else status,
        "detail": f"{fullest['mount']} is {fullest['usage_percent']:g} % full{locked}{unseen}",
    }


def _guarded(name: str, check: Check) -> dict[str, Any]:
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - one check that breaks must not hide what the others see
        _log.error("health_check_failed", check=name, error=redact(str(error)))
        return {"status": "unknown", "detail": redact(f"the check itself failed: {type(error).__name__}: {error}")}
