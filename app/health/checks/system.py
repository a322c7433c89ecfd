"""Processors and memory of this machine."""

import os
from typing import Any

import psutil

from app.core.clock import Clock
from app.health.settings import HealthSettings

_GIB = 1024**3
_CPU_SAMPLE_S = 0.2


def check_system(settings: HealthSettings, clock: Clock) -> dict[str, Any]:
    """Return `resources` with the status `ok` or `warning` and a detail in words."""
    measured = resources(clock)
    high = [
        f"{name} at {measured[key]:g} %, above {limit:g} %"
        for name, key, limit in (
            ("processors", "cpu_percent", settings.cpu_percent),
            ("memory", "memory_percent", settings.memory_percent),
        )
        if measured[key] > limit
    ]
    detail = "; ".join(high) or f"processors {measured['cpu_percent']:g} %, memory {measured['memory_percent']:g} %"
    return {"status": "warning" if high else "ok", "detail": detail, **measured}


def resources(clock: Clock) -> dict[str, Any]:
    """Return cpu_percent (over 0.2 s), memory figures (1 GB = 1024^3 bytes), load_average (1, 5, 15 min), uptime_s."""
    memory = psutil.virtual_memory()
    return {
        "cpu_percent": psutil.cpu_percent(interval=_CPU_SAMPLE_S),
        "cpu_count": psutil.cpu_count() or 1,
        "memory_percent": memory.percent,
        "memory_total_gb": round(memory.total / _GIB, 2),
        "memory_used_gb": round((memory.total - memory.available) / _GIB, 2),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "uptime_s": max(0, int(clock.now().timestamp() - psutil.boot_time())),
    }
