"""The day's disk checks in one file, `disk_report_YYYYMMDD.json`."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from app.core.shared_json import update_json

SAMPLES = 2000
"""Samples kept of one day, the latest ones: a check each minute makes 1,440."""


def disk_report_path(folder: Path, at: datetime) -> Path:
    """Return where the samples of the local day of `at` stand."""
    return folder / f"disk_report_{at:%Y%m%d}.json"


def append_disk_report(path: Path, result: Mapping[str, Any], at: datetime) -> Path | None:
    """Add a disk check to the day's file {date, samples: [{at, ...result}]}; processes take turns.

    `at` is aware, in the operator's zone. Returns where a damaged file was moved to, None if there was none.
    Raises OutputUnwritable; the file is then as before.
    """
    sample = {"at": at.isoformat(timespec="seconds"), **result}
    return update_json(
        path,
        _samples,
        lambda known: {"date": f"{at:%Y-%m-%d}", "samples": [*(known or ()), sample][-SAMPLES:]},
        at,
    )


def read_disk_report(path: Path) -> list[tuple[datetime, list[Any]]]:
    """Return the instant and the mounts of each check in a day's file; none where there is no file.

    Raises OSError for a file that can't be read, ValueError, KeyError or TypeError for a damaged one.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    return [(_instant(sample["at"]), sample["mounts"]) for sample in _samples(content)]


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return at


def _samples(content: bytes) -> list[Any]:
    samples = json.loads(content)["samples"]
    if not isinstance(samples, list):
        raise ValueError("samples is no list")  # noqa: TRY004 - what `update_json` takes for damage
    return samples
