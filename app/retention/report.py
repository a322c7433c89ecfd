"""The result of a clean-up: the document that becomes `cleanup_report_YYYYMMDD.json`."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.retention.problems import Problems
from app.retention.tally import REFUSED

_MIB = 1 << 20
_STATES = ("done", "budget", "partial", "held", "failed")  # the later, the worse


@dataclass(kw_only=True)
class Facts:
    """What a run, or its preview, found; filled in as the phases end."""

    run_id: str
    dry_run: bool
    cutoffs: dict[str, datetime] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    """tasks, receipts, files, temp, logs, bytes, missing, already_gone, referenced, batches, refused.REASON."""
    states: list[str] = field(default_factory=list)
    problems: Problems = field(default_factory=Problems)
    held: Mapping[str, str] = field(default_factory=dict)
    rows_kept: Mapping[str, int] = field(default_factory=dict)
    stuck_files: int | None = None
    pending_files: int | None = None
    reusable_bytes: int | None = None
    carried: Mapping[str, int] = field(default_factory=dict)
    interrupted_runs: tuple[str, ...] = ()
    carried_forward: bool = False
    seconds: float = 0.0

    @property
    def state(self) -> str:
        """The worst state of all phases: done | budget | partial | held | failed."""
        return max(self.states, key=_STATES.index, default="done")


@dataclass(frozen=True, kw_only=True)
class CleanupResult:
    """What came of a clean-up."""

    state: str
    """done; budget: time ran out, the next run goes on; partial: something could not be done now; held: a root is not
    what it should be, no row was deleted; failed: the database gave up."""
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
        "files_cleaned": counts["files"] + counts["temp"],
        "receipts_cleaned": counts["receipts"],
        "logs_cleaned": counts["logs"],
        "disk_space_freed_mb": round(counts["bytes"] / _MIB, 2),
        "errors": facts.problems.lines(),
        "bytes_freed": counts["bytes"],
        "temp_files_cleaned": counts["temp"],
        "files_missing": counts["missing"],
        "files_already_gone": counts["already_gone"],
        "files_kept_referenced": counts["referenced"],
        "refused_paths": refusals(counts),
        "rows_kept": dict(facts.rows_kept),
        "pending_files": facts.pending_files,
        "stuck_files": facts.stuck_files,
        "held_roots": [{"root": name, "why": why} for name, why in sorted(facts.held.items())],
        "database_reusable_bytes": facts.reusable_bytes,
        "cutoffs": {name: cutoff.isoformat() for name, cutoff in facts.cutoffs.items()},
        "batches": counts["batches"],
        "seconds": round(facts.seconds, 3),
        "carried_over": _carried_over(facts),
        "carried_forward": facts.carried_forward,
    }


def refusals(counts: Mapping[str, int]) -> dict[str, int]:
    """Return reason -> refused paths."""
    return {key.removeprefix(REFUSED): count for key, count in sorted(counts.items()) if key.startswith(REFUSED)}


def _carried_over(facts: Facts) -> dict[str, Any] | None:
    """Figures of killed runs, which wrote no report; they are contained in the others."""
    if not facts.interrupted_runs:
        return None
    return {"run_ids": list(facts.interrupted_runs), "counts": dict(facts.carried)}


def _succeeded(state: str) -> bool:
    return state not in {"held", "failed"}
