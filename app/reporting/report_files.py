"""The stored reports of a folder, read back."""

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

from app.core.errors import BadArgument, GengfuError

_NAME = re.compile(r"daily_report_(\d{4})(\d{2})(\d{2})\.json")


def report_name(day: date) -> str:
    """Return the file name of a day's report."""
    return f"daily_report_{day:%Y%m%d}.json"


def stored_days(folder: Path) -> list[date]:
    """Return the days of which the folder holds a report, oldest first; none where there is no folder."""
    found = [_day_of(path.name) for path in folder.glob("daily_report_*.json")] if folder.is_dir() else []
    return sorted(day for day in found if day is not None)


def load_report(folder: Path, day: date) -> dict[str, Any]:
    """Return the stored report of `day`.

    Raises BadArgument where there is none, and GengfuError where the file can't be read or is no report.
    """
    path = folder / report_name(day)
    if not path.exists():
        raise BadArgument(f"there is no report of {day} in {folder}; `gengfu report list` names those there are")
    return read_report(path)


def read_report(path: Path) -> dict[str, Any]:
    """Return a stored report. Raises GengfuError where the file can't be read or is no report."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GengfuError(f"{path} can't be read: {error}; compute it again") from error
    if not isinstance(document, dict) or not isinstance(document.get("task_statistics"), dict):
        raise GengfuError(f"{path} is no report; compute it again")
    return document


def parse_day(text: str) -> date:
    """Return the day written as YYYY-MM-DD or YYYYMMDD. Raises BadArgument quoting anything else."""
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}|\d{8}", text, re.ASCII):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise BadArgument(f"{text!r} is no day; write it as YYYY-MM-DD")


def _day_of(name: str) -> date | None:
    if match := _NAME.fullmatch(name):
        try:
            return date(*map(int, match.groups()))
        except ValueError:
            return None
    return None
