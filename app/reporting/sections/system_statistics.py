"""The machine and the queues at the time of the report."""

from typing import Any

from app.reporting.facts import Facts


def build(facts: Facts) -> dict[str, Any]:
    """Return what the caller measured: disk usage, queues, resources."""
    return dict(facts.system)
