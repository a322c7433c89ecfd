"""What a night did, for people: counts, and where reports and logs stand."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from app.settings import Paths

NIGHT = ("generate-daily-statistics", "disk-space-check", "cleanup-expired-tasks")
"""The jobs of a night, in their order: yesterday is counted before anything of it is deleted."""
_ERRORS = 5
"""Told of a clean-up; the report has more."""


def summary(paths: Paths, results: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of the summary of a night; `results` are the jobs' results by name."""
    yield ""
    for name, result in results.items():
        yield told(name, result)
    yield ""
    yield f"reports   {paths.daily_reports}"
    yield f"alerts    {paths.logs / 'critical_alerts.log'}, warning_alerts.log, error_alerts.log"
    yield f"logs      {paths.logs / 'app.log'}, celery_worker.log, celerybeat.log"
    yield "status    python celery_beat_manager.py status"


def told(name: str, result: Mapping[str, Any]) -> str:
    """Return one job's result in a few lines."""
    if "error_type" in result:
        return f"{name}: FAILED - {result['error']}"
    if "skipped" in result:
        return f"{name}: skipped - {result['skipped']}"
    lines = _LINES.get(name, _plain)
    told_lines = list(lines(result))
    if result.get("alerts"):
        told_lines.append(f"alerts that fire: {result['alerts']:,}; see `gengfu alerts list`")
    if result.get("error") and f"error: {result['error']}" not in told_lines:
        told_lines.append(f"error: {result['error']}")
    return "\n".join((f"{name}: {_word(result)}", *(f"  {line}" for line in told_lines)))


def _word(result: Mapping[str, Any]) -> str:
    return ("done" if result.get("success") else "FAILED") + (" (dry run)" if result.get("dry_run") else "")


def _statistics(result: Mapping[str, Any]) -> Iterator[str]:
    tasks, categories = result["task_statistics"], result["error_statistics"]["error_categories"]
    errors = sorted(((count, name) for name, count in categories.items() if count), reverse=True)
    yield (
        f"{result['date']}: {tasks['total_tasks']:,} tasks, {tasks['completion_rate']} % completed, "
        f"{tasks['failure_rate']} % failed, {tasks['average_processing_time']} s on average"
    )
    yield "errors: " + (", ".join(f"{name} {count}" for count, name in errors) or "none")
    yield from _report(result)


def _period(result: Mapping[str, Any]) -> Iterator[str]:
    tasks = result["task_statistics"]
    yield (
        f"{result['period']} ({result['days_known']} of {result['days_in_period']} days): "
        f"{tasks['total_tasks']:,} tasks, {tasks['completion_rate']} % completed, {tasks['failure_rate']} % failed"
    )
    if result["missing_days"]:
        yield "no figures of: " + ", ".join(result["missing_days"])
    yield from _report(result)


def _cleanup(result: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"{result['tasks_cleaned']:,} tasks, {result['receipts_cleaned']:,} receipts, "
        f"{result['files_cleaned']:,} files, {result['logs_cleaned']:,} logs; "
        f"{result['disk_space_freed_mb']:,} MB freed"
    )
    yield from _own_rules(result)
    refused = result.get("refused_paths") or {}
    if refused:
        yield "paths refused: " + ", ".join(f"{reason} {count}" for reason, count in refused.items())
    held = [root["why"] for root in result.get("held_roots") or []]
    yield from (f"held: {why}" for why in held)
    yield from (f"error: {error}" for error in [error for error in result["errors"] if error not in held][:_ERRORS])
    yield from _report(result)


def _own_rules(result: Mapping[str, Any]) -> Iterator[str]:
    """Rows of other tables than those of `[source]` stand in no sum."""
    from app.retention.rules import DEFAULT_RULES

    for rule in result.get("rules") or []:
        if rule["name"] not in DEFAULT_RULES and (rule["rows"] or rule["state"] != "done"):
            went = f"{rule['rows']:,} rows, {rule['children']:,} children"
            yield f"{rule['name']} ({rule['table']}): {rule['state']}, {went}"
    if aside := result.get("files_set_aside"):
        yield f"{aside:,} files set aside as long as their rows can be brought back (`gengfu retention undo`)"


def _disk(result: Mapping[str, Any]) -> Iterator[str]:
    for mount in result.get("mounts", []):
        yield (
            f"{mount['mount']}: {mount['usage_percent']} % of {mount['total_gb']} GB used, "
            f"{mount['free_gb']} GB free: {mount['status']}"
        )
    yield from _report(result)


def _report(result: Mapping[str, Any]) -> Iterator[str]:
    if result.get("report_path"):
        yield f"report: {result['report_path']}"
    if result.get("page_path"):
        yield f"page: {Path(result['page_path']).as_uri()}"
    if result.get("page_error"):
        yield f"page not drawn: {result['page_error']}"


def _plain(result: Mapping[str, Any]) -> Iterator[str]:
    for key, value in result.items():
        if key != "success" and not isinstance(value, dict | list):
            yield f"{key}: {value}"


_LINES = {
    "generate-daily-statistics": _statistics,
    "generate-weekly-report": _period,
    "generate-monthly-report": _period,
    "cleanup-expired-tasks": _cleanup,
    "cleanup-temp-files": _cleanup,
    "cleanup-logs": _cleanup,
    "disk-space-check": _disk,
}
