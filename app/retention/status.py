"""Where retention stands between two runs: what has expired, what expires next, which files are still to go."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError

from app.core.database import Database
from app.core.errors import DatabaseRefused, SchemaMismatch
from app.core.own_tables import file_outbox
from app.core.own_tables import run as job_run
from app.core.redaction import redact
from app.core.safe_files import show
from app.core.source_tables import SourceTables
from app.retention.expiry import expired, frozen_now
from app.retention.folder_rules import directory_rules
from app.retention.outbox import pending_files, stuck_files, stuck_paths
from app.retention.presence import why_refused
from app.retention.remaining import kept_by
from app.retention.rule_runs import RuleRun, last_runs
from app.retention.rules import RowRule, row_rules
from app.retention.settings import RetentionSettings
from app.retention.waiting import waiting

_SCAN_S = 120.0
_SHOWN = 20
_DAY = timedelta(days=1)
_RUNS = 100
_SILENT = timedelta(minutes=2)
"""For as long the job of a silent run is taken by no other."""
_SUCCESS = ("done", "budget")


def retention_status(
    database: Database, source: SourceTables, settings: RetentionSettings, folders: Mapping[str, Path]
) -> dict[str, Any]:
    """Return expired rows by rule, those of the next day, the age of the oldest (hours) and the files still to go.

    `held` lists what waits for somebody (see `waiting`). `stuck` shows at most twenty of the files that could not be
    removed in five attempts; `refused` tells of rules that don't fit the tables. Of each rule `last` is its last run,
    and `last_success` when one last went to its end.
    """
    with database.read() as connection:
        now = frozen_now(connection)
    rules = row_rules(source, settings, folders)
    refused = {rule.name: why for rule in rules if (why := why_refused(database, rule)) is not None}
    looked = {rule.name: _looked_at(database, rule, now) for rule in rules if rule.name not in refused}
    states = [state for state in looked.values() if not isinstance(state, str)]
    refused |= {name: why for name, why in looked.items() if isinstance(why, str)}
    held = waiting(database, rules, directory_rules(settings, frozenset(), now), folders)
    with database.read(deadline_s=_SCAN_S) as connection:
        return {
            "expired": {state["rule"]: state["expired"] for state in states},
            "expires_within_24_h": {state["rule"]: state["next"] for state in states},
            "lag_hours": max((state["lag_hours"] for state in states), default=0.0),
            "rules": states,
            "refused": refused,
            "held": [one.told() for one in held],
            "pending_files": pending_files(connection),
            "next_retry_at": _iso(connection.execute(_NEXT).scalar()),
            "stuck_files": stuck_files(connection),
            "stuck": [
                {"root": file.root, "path": show(file.relative), "reason": file.reason}
                for file in islice(stuck_paths(connection, _SHOWN), _SHOWN)
            ],
        }


_NEXT = select(func.min(file_outbox.c.next_at)).where(file_outbox.c.state == "pending")


def _looked_at(database: Database, rule: RowRule, now: datetime) -> dict[str, Any] | str:
    """Return how a rule stands, or why it can't be told: a column of another type can't even be counted by."""
    try:
        return _state(database, rule, now)
    except (SchemaMismatch, DatabaseRefused) as error:
        return str(error)
    except DBAPIError as error:
        return f"{redact(' '.join(str(error.orig).split()))}; `gengfu retention check` tells what does not fit"


def _state(database: Database, rule: RowRule, now: datetime) -> dict[str, Any]:
    kept = kept_by(database, rule, now - rule.keep)
    with database.read(deadline_s=_SCAN_S) as connection:
        within = _count(connection, rule, now - rule.keep + _DAY)
        runs = last_runs(connection, rule.name, _RUNS)
        is_killed = bool(runs) and runs[0].state == "running" and not _is_at_work(connection, runs[0].run_id, now)
    ended = next((run for run in runs if run.state in _SUCCESS), None)
    return {
        "rule": rule.name,
        "last": _run(replace(runs[0], state="interrupted") if is_killed else runs[0]) if runs else None,
        "last_success": _iso(ended.started_at) if ended is not None else None,
        "table": rule.table_name,
        "expired": kept.expired,
        "next": within - kept.expired,
        "lag_hours": kept.lag_hours,
    }


def _is_at_work(connection: Connection, run_id: str, now: datetime) -> bool:
    """A killed run can't say so: its job's record tells, or the silence of its heart. Without one nobody knows."""
    found = connection.execute(select(job_run.c.state, job_run.c.heartbeat_at).where(job_run.c.id == run_id)).first()
    return found is None or (found.state == "running" and found.heartbeat_at > now - _SILENT)


def _run(run: RuleRun) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "state": run.state,
        "started_at": _iso(run.started_at),
        "rows": run.rows,
        "reasons": [reason.text for reason in run.reasons],
        "approved_by": run.approved_by,
    }


def _count(connection: Connection, rule: RowRule, cutoff: datetime) -> int:
    condition = expired(rule, cutoff, connection.dialect.name)
    return int(connection.execute(select(func.count()).select_from(rule.table).where(condition)).scalar_one())


def _iso(instant: datetime | None) -> str | None:
    return instant.isoformat(timespec="seconds") if instant else None
