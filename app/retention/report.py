"""The result of a clean-up: the document that becomes `cleanup_report_YYYYMMDD.json`."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.retention.problems import Problems
from app.retention.rows import RuleFacts
from app.retention.tally import REFUSED, rule_key, without_rules

_MIB = 1 << 20
_STATES = ("done", "budget", "contended", "partial", "refused", "held", "failed")  # the later, the worse


@dataclass(kw_only=True)
class Facts:
    """What a run, or its preview, found; filled in as the phases end."""

    run_id: str
    dry_run: bool
    cutoffs: dict[str, datetime] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    """tasks, receipts, files, temp, logs, folder_files, bytes, trashed, missing, already_gone, referenced, batches,
    refused.REASON, rule.NAME.WHAT."""
    states: list[str] = field(default_factory=list)
    problems: Problems = field(default_factory=Problems)
    held: Mapping[str, str] = field(default_factory=dict)
    rules: list[RuleFacts] = field(default_factory=list)
    folders: list[dict[str, object]] = field(default_factory=list)
    order: str = "rows_first"
    unknown_statuses: int = 0
    stuck_files: int | None = None
    pending_files: int | None = None
    space: Mapping[str, Any] = field(default_factory=dict)
    carried: Mapping[str, int] = field(default_factory=dict)
    interrupted_runs: tuple[str, ...] = ()
    carried_forward: bool = False
    seconds: float = 0.0

    @property
    def state(self) -> str:
        """The worst state of all phases and rules."""
        return max(self.states, key=_STATES.index, default="done")


@dataclass(frozen=True, kw_only=True)
class CleanupResult:
    """What came of a clean-up."""

    state: str
    """done; budget: time or rows ran out, the next run goes on; contended: others needed a table; partial: something
    could not be done now; refused: a rule can't run as it is; held: a guard or a root holds a rule, of which no row was
    deleted; failed: the database gave up."""
    document: dict[str, Any]
    """The seed's keys and more, JSON-able."""

    @property
    def success(self) -> bool:
        """False when rows were not cleaned at all, or not to the end for a reason that does not mend itself."""
        return _succeeded(self.state)


def result_of(facts: Facts) -> CleanupResult:
    """Return the result for the collected facts."""
    return CleanupResult(state=facts.state, document=_document(facts))


def _document(facts: Facts) -> dict[str, Any]:
    counts = facts.counts
    return {
        "success": _succeeded(facts.state),
        "state": facts.state,
        "dry_run": facts.dry_run,
        "run_id": facts.run_id,
        "tasks_cleaned": counts["tasks"],
        # Files of rows and temporary files; logs are told apart.
        "files_cleaned": counts["files"] + counts["temp"] + counts["folder_files"],
        "receipts_cleaned": counts["receipts"],
        "logs_cleaned": counts["logs"],
        "disk_space_freed_mb": round(counts["bytes"] / _MIB, 2),
        "errors": facts.problems.lines(),
        "error_count": facts.problems.count,
        "bytes_freed": counts["bytes"],
        "temp_files_cleaned": counts["temp"],
        "folder_files_cleaned": counts["folder_files"],
        "files_set_aside": counts["trashed"],
        "archived_rows_purged": counts["purged_rows"],
        "files_missing": counts["missing"],
        "files_already_gone": counts["already_gone"],
        "files_kept_referenced": counts["referenced"],
        "refused_paths": refusals(counts),
        "rows_kept": _rows_kept(facts),
        "rules": [_rule(rule, facts) for rule in facts.rules],
        "folders": facts.folders,
        "order": facts.order,
        "pending_files": facts.pending_files,
        "stuck_files": facts.stuck_files,
        "held_roots": [{"root": name, "why": why} for name, why in sorted(facts.held.items())],
        # Exact, and therefore only of SQLite; the estimate for PostgreSQL stands below.
        "database_reusable_bytes": None if facts.space.get("estimated") else facts.space.get("reusable_bytes"),
        "space": dict(facts.space),
        "cutoffs": {name: cutoff.isoformat() for name, cutoff in facts.cutoffs.items()},
        "batches": counts["batches"],
        "lag_hours": max((rule.lag_hours for rule in facts.rules), default=0.0),
        "seconds": round(facts.seconds, 3),
        "carried_over": _carried_over(facts),
        "carried_forward": facts.carried_forward,
    }


def refusals(counts: Mapping[str, int]) -> dict[str, int]:
    """Return reason -> refused paths."""
    return {key.removeprefix(REFUSED): count for key, count in sorted(counts.items()) if key.startswith(REFUSED)}


def _rows_kept(facts: Facts) -> dict[str, int]:
    kept = sum((rule.kept for rule in facts.rules), Counter[str]())
    if facts.unknown_statuses:
        kept["unknown_status"] = facts.unknown_statuses
    return dict(kept)


def _rule(rule: RuleFacts, facts: Facts) -> dict[str, Any]:
    """What went by one rule in this run; what killed runs did stands in the totals only."""

    def counted(what: str) -> int:
        key = rule_key(rule.rule.name, what)
        return int(facts.counts[key] - facts.carried.get(key, 0))

    return {
        "name": rule.rule.name,
        "table": rule.rule.table_name,
        "state": rule.state,
        "reasons": list(rule.reasons),
        "cutoff": rule.cutoff.isoformat(),
        **{what: counted(what) for what in ("rows", "children", "files", "bytes", "batches")},
        "seconds": round(rule.seconds, 3),
        "rate": round(rule.rows / rule.seconds, 1) if rule.seconds else None,
        "batch_ms": _percentiles(rule.batch_s),
        "lag_hours": rule.lag_hours,
        "lag_growing": rule.lag_growing,
        "usual_rows": rule.usual,
        "kept": dict(rule.kept),
    }


def _percentiles(seconds: list[float]) -> dict[str, float] | None:
    """Return p50, p95 and max in ms (nearest rank)."""
    if not seconds:
        return None
    ordered = sorted(seconds)
    ranks = {"p50": (len(ordered) - 1) // 2, "p95": -(-95 * len(ordered) // 100) - 1, "max": len(ordered) - 1}
    return {name: round(1000 * ordered[rank], 1) for name, rank in ranks.items()}


def _carried_over(facts: Facts) -> dict[str, Any] | None:
    """Figures of killed runs, which wrote no report; they are contained in the others."""
    if not facts.interrupted_runs:
        return None
    return {"run_ids": list(facts.interrupted_runs), "counts": without_rules(Counter(facts.carried))}


def _succeeded(state: str) -> bool:
    return state not in {"refused", "held", "failed"}
