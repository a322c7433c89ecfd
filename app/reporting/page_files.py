"""The HTML pages beside the stored reports, each linked with its neighbours."""

import json
import re
from collections.abc import Iterator
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import structlog

from app.core.atomic_json import write_bytes
from app.core.errors import GengfuError
from app.health.disk_report import disk_report_path
from app.reporting.page import Links, Neighbour, report_page
from app.reporting.page_values import entries
from app.reporting.report_files import read_report
from app.reporting.words import Language

_NAME = re.compile(r"(daily|weekly|monthly)_report_(\d{8}|\d{4}-W\d{2}|\d{4}-\d{2})", re.ASCII)
_DAY = re.compile(r"(\d{4})(\d{2})(\d{2})", re.ASCII)
_log = structlog.get_logger("gengfu.reporting")


def page_path(report: Path) -> Path:
    """Return where the page of a stored report stands: beside it."""
    return report.with_suffix(".html")


def write_page(report: Path, language: Language) -> Path:
    """Draw the page of a stored daily, weekly or monthly report and return where it stands.

    The pages before and after it are drawn again where this one is new, so that they lead to it; one whose report can't
    be read stays as it is. Raises OutputUnwritable, and GengfuError where the report can't be read.
    """
    new = not page_path(report).exists()
    _write(report, language)
    for other in _neighbours(report) if new else ():
        if other is not None:
            try:
                _write(other, language)
            except GengfuError as error:
                _log.warning("page_not_linked", page=str(page_path(other)), error=str(error))
    return page_path(report)


def disk_samples(report: Path) -> list[dict[str, Any]]:
    """Return the samples of the day's disk checks; none where there are none that can be read."""
    found = _DAY.fullmatch(report.stem.rpartition("_")[2])
    if found is None:
        return []
    day = date(*map(int, found.groups()))
    path = disk_report_path(report.parent, datetime.combine(day, time()))
    try:
        return entries(json.loads(path.read_bytes()), "samples")
    except (OSError, ValueError):
        return []


def _write(report: Path, language: Language) -> None:
    document = read_report(report)
    before, after = _neighbours(report)
    links = Links(json=report.name, previous=_neighbour(before), next=_neighbour(after))
    html = report_page(document, language, links, disk_samples(report))
    write_bytes(page_path(report), html.encode("utf-8", "backslashreplace"))


def _neighbours(report: Path) -> tuple[Path | None, Path | None]:
    """Return the reports of the same kind right before and after this one that have a page."""
    pages = list(_pages(report.parent, report.stem.partition("_")[0]))
    before = max((name for name in pages if name < report.stem), default=None)
    after = min((name for name in pages if name > report.stem), default=None)
    return _report(report, before), _report(report, after)


def _report(beside: Path, name: str | None) -> Path | None:
    return None if name is None else beside.with_name(f"{name}.json")


def _pages(folder: Path, kind: str) -> Iterator[str]:
    # Their names sort as their days do.
    return (path.stem for path in folder.glob(f"{kind}_report_*.html") if _NAME.fullmatch(path.stem))


def _neighbour(report: Path | None) -> Neighbour | None:
    if report is None:
        return None
    name = _DAY.sub(r"\1-\2-\3", report.stem.rpartition("_")[2])
    return Neighbour(name=name, file=page_path(report).name)
