"""Documents of what jobs and samples found, and what the default rules read in them."""

from typing import Any

from app.alerts.alert import Severity
from app.alerts.facts import family_of
from app.alerts.rules.readings import RULE_FAILED, Reading, read_facts
from app.alerts.rules.rule import Rule
from app.alerts.settings import AlertSettings
from app.core.settings_reader import read

RULES = AlertSettings().rules
NAMES = {rule_id: rule.alertname for rule_id, rule in RULES.items()}


def readings(document: dict[str, Any], family: str, rules: dict[str, Rule] | None = None) -> list[Reading]:
    """Return what is bad in a document."""
    return [one for one in read_facts(family, document, rules or RULES, {}) if one.level is not None]


def names(document: dict[str, Any], family: str) -> list[str]:
    return [NAMES[one.rule_id] for one in readings(document, family)]


def report(
    *, total: int = 100, failure_rate: float | None = 3.6, errors: dict[str, int] | None = None
) -> dict[str, Any]:
    return {
        "date": "2026-03-09",
        "task_statistics": {"total_tasks": total, "failure_rate": failure_rate},
        "error_statistics": {"error_categories": errors or {}},
    }


def mount(
    path: str = "/",
    usage: float = 70.0,
    inodes: float | None = 5.0,
    forecast: dict[str, Any] | None = None,
    inode_forecast: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return {
        "mount": path,
        "usage_percent": usage,
        "inodes_percent": inodes,
        "free_gb": 149.8,
        "forecast": forecast or full_in(None),
        "inode_forecast": inode_forecast if inodes is not None else None,
    }


def full_in(hours: float | None, method: str = "slow") -> dict[str, Any]:
    """A forecast; None hours for what does not fill."""
    at, by = (None, None) if hours is None else ("2026-03-12T08:00+08:00", method)
    return {"hours_left": hours, "full_at": at, "method": by, "verdict": "steady" if hours is None else "filling"}


def disk(*mounts: dict[str, Any], errors: list[Any] | None = None) -> dict[str, Any]:
    return {"success": bool(mounts), "mounts": list(mounts), "errors": errors or []}


def one_rule(**changes: Any) -> dict[str, Rule]:
    row = {"alertname": "Own", "type": "own", "source": "disk.usage_percent", "levels": {"warning": 80}, "message": "m"}
    return {"own": read(Rule, row | changes)}


def level_of(rules: dict[str, Rule], document: dict[str, Any], before: Severity | None = None) -> Severity | None:
    """Return the level of the one figure in a document whose alert had the level `before`."""
    (family,) = {family_of(rule.source) for rule in rules.values()}
    (fresh,) = (one for one in read_facts(family, document, rules, {}) if one.rule_id != RULE_FAILED)
    present = {fresh.fingerprint: before} if before else {}
    (found,) = (one for one in read_facts(family, document, rules, present) if one.rule_id != RULE_FAILED)
    return found.level
