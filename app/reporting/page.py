"""A report as one HTML page: opens without a network or a script, and shows text from rows as text."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.reporting.page_charts import charts_of
from app.reporting.page_disks import disk_table
from app.reporting.page_figures import (
    change_table,
    failed_table,
    figures,
    quality_lines,
    slowest_table,
    state_table,
    system_lines,
    verdict_lines,
    verdict_table,
)
from app.reporting.page_values import instant, number, shown, table
from app.reporting.words import Language, Words

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup

_UNIT = re.compile(r"(?<=\d) (?=%|s\b|GB\b)")
_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """Another page of the same folder."""

    name: str
    file: str


@dataclass(frozen=True, kw_only=True)
class Links:
    """Where the page leads to; names of files of its own folder."""

    json: str
    previous: Neighbour | None = None
    next: Neighbour | None = None


@dataclass(frozen=True, kw_only=True)
class Head:
    """What stands at the top."""

    title: str
    kind: str
    name: str
    facts: tuple[str, ...]
    notices: tuple[str, ...]
    daily: bool
    before: str = ""
    """The name of the period before."""


def report_page(document: dict[str, Any], language: Language, links: Links, disk: Sequence[dict[str, Any]] = ()) -> str:
    """Return the page of a daily, weekly or monthly report; what the document does not hold is left out.

    `disk` are the samples of the day's disk checks.
    """
    words = Words(language)
    failed = failed_table(document, words)
    return _template().render(
        words=words,
        head=_head(document, words),
        links=links,
        figures=list(figures(document, words)),
        states=state_table(document, words),
        verdicts=list(verdict_lines(document, words)),
        verdict_table=verdict_table(document, words),
        changes=change_table(document, words),
        charts=list(charts_of(document, words, disk)),
        failed=failed,
        failed_total=number(table(document, "error_statistics").get("total_errors")) or 0,
        slowest=slowest_table(document, words),
        quality=list(quality_lines(document, words)),
        disks=disk_table(document, disk, words),
        disks_measured=bool(disk),
        system=list(system_lines(document, words)),
    )


def unbroken(text: str) -> "Markup":
    """Return text as HTML in which no line ends between a number and its unit."""
    from markupsafe import Markup, escape  # noqa: PLC0415 - comes with Jinja

    return Markup(_UNIT.sub("&#160;", str(escape(text))))  # noqa: S704 - escaped just there


@cache
def _template() -> "Template":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - most processes draw no page

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["unbroken"] = unbroken
    return environment.get_template("report.html")


def _head(document: dict[str, Any], words: Words) -> Head:
    kind = document.get("kind", "daily")
    return _period_head(document, str(kind), words) if kind in {"weekly", "monthly"} else _day_head(document, words)


def _day_head(document: dict[str, Any], words: Words) -> Head:
    name = shown(document.get("date"))
    notices = (words("not_over"),) if document.get("day_over") is False else ()
    return Head(
        title=f"{words('daily')} {name}",
        kind=words("daily"),
        name=f"{name} {_weekday(name, words)}".strip(),
        facts=(_facts("facts", document, words),),
        notices=notices,
        daily=True,
    )


def _period_head(document: dict[str, Any], kind: str, words: Words) -> Head:
    name = shown(document.get("period"))
    missing = [shown(day) for day in document.get("missing_days") or ()]
    known, days = number(document.get("days_known")) or 0, number(document.get("days_in_period")) or 0
    notices = [words("days_known", known=known, all=days)] if known < days else []
    if missing:
        notices.append(words("missing_days", days=", ".join(missing)))
    if document.get("period_over") is False:
        notices.append(words("period_not_over", days=shown(document.get("days_to_come"))))
    if notice := _before_known(document, words):
        notices.append(notice)
    span = words("window", first=shown(document.get("first_day")), last=shown(document.get("last_day")))
    return Head(
        title=f"{words(kind)} {name}",
        kind=words(kind),
        name=name,
        facts=(span, _facts("period_facts", document, words)),
        notices=tuple(notices),
        daily=False,
        before=shown(table(document, "comparison").get("period") or ""),
    )


def _before_known(document: dict[str, Any], words: Words) -> str:
    compared = table(document, "comparison")
    known, days = number(compared.get("days_known")), number(compared.get("days_in_period"))
    if known is None or days is None or known >= days:
        return ""
    return words("before_known", name=shown(compared.get("period")), known=known, all=days)


def _facts(key: str, document: dict[str, Any], words: Words) -> str:
    return words(
        key,
        zone=shown(document.get("timezone")),
        revision=shown(document.get("revision")),
        at=instant(document.get("generated_at")),
    )


def _weekday(text: str, words: Words) -> str:
    try:
        return words.weekday(date.fromisoformat(text).weekday())
    except ValueError:
        return ""
