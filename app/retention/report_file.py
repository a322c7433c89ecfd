"""The day's clean-ups in one file, `cleanup_report_YYYYMMDD.json`: the sums on top, each run below."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from app.core.shared_json import update_json

RUNS = 200
"""Runs listed of one day, the latest ones; the sums count them all."""
_SUMMED = (
    "tasks_cleaned",
    "files_cleaned",
    "receipts_cleaned",
    "logs_cleaned",
    "temp_files_cleaned",
    "files_missing",
    "bytes_freed",
)
_MIB = 1 << 20


def cleanup_report_path(folder: Path, at: datetime) -> Path:
    """Return where the clean-ups of the local day of `at` stand."""
    return folder / f"cleanup_report_{at:%Y%m%d}.json"


def add_to_report(path: Path, document: Mapping[str, Any], at: datetime) -> Path | None:
    """Add a run to the day's file; a second run of the day must not hide what the first one deleted.

    On top stand the latest run's keys with the counts and errors of the whole day, below them `runs`. Returns where a
    damaged file was moved to, None if there was none. Raises OutputUnwritable; the file is then as before.
    """
    return update_json(path, _read, lambda known: _merged(known, document, at), at)


def _read(content: bytes) -> dict[str, Any]:
    known = json.loads(content)
    if not isinstance(known["runs"], list) or not isinstance(known["errors"], list):
        raise TypeError(known)
    return {**known, **{key: int(known[key]) for key in _SUMMED}}


def _merged(known: Mapping[str, Any] | None, document: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    before: Mapping[str, Any] = known or {}
    # What a run could not book any more is reported again by the next one; counted here too it would stand twice.
    counted: Mapping[str, Any] = {} if document.get("carried_forward") else document
    sums = {key: before.get(key, 0) + counted.get(key, 0) for key in _SUMMED}
    runs = [*before.get("runs", ()), {"at": at.isoformat(timespec="seconds"), **document}]
    return {
        **document,
        **sums,
        "disk_space_freed_mb": round(sums["bytes_freed"] / _MIB, 2),
        "errors": [*before.get("errors", ()), *document["errors"]][-RUNS:],
        "date": f"{at:%Y-%m-%d}",
        "runs_of_the_day": before.get("runs_of_the_day", 0) + 1,
        "runs": runs[-RUNS:],
    }
