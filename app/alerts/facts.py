"""The figures that rules compare, read from the documents the jobs return."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

SOURCES: dict[str, frozenset[str]] = {
    "daily.failure_rate": frozenset({"date"}),
    "daily.total_tasks": frozenset({"date"}),
    "daily.top_error_share": frozenset({"date", "category"}),
    "disk.usage_percent": frozenset({"mount", "free_gb"}),
    "disk.inodes_percent": frozenset({"mount"}),
    "disk.errors": frozenset({"first"}),
    "cleanup.errors": frozenset({"first"}),
    "cleanup.refused_paths": frozenset({"first"}),
    "schedule.missed": frozenset({"job", "slot"}),
    "schedule.run_too_long": frozenset({"job", "seconds", "allowed_s"}),
    "schedule.run_too_short": frozenset({"job", "seconds", "minimum_s"}),
    "schedule.run_too_often": frozenset({"job", "runs", "expected"}),
    "schedule.beat_down": frozenset({"since"}),
}
"""Fact path -> the words its message may use besides value, threshold and samples."""


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One figure of one source."""

    value: float
    samples: int = 0
    """Rows the figure rests on; 0 where that means nothing."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Identity: facts of one source that differ in labels give alerts of their own."""
    words: Mapping[str, Any] = field(default_factory=dict)
    """What the message may name."""


Document = Mapping[str, Any]


def facts_of(source: str, document: Document) -> list[Fact]:
    """Return the facts of `source`; none where there is nothing to judge, such as a rate of no tasks.

    Raises KeyError, TypeError or ValueError where the document is not what its job promises.
    """
    return _READERS[source](document)


def _failure_rate(document: Document) -> list[Fact]:
    statistics = document["task_statistics"]
    total = _count(statistics["total_tasks"])
    if not total:
        return []
    return [Fact(value=_number(statistics["failure_rate"]), samples=total, words={"date": document["date"]})]


def _total_tasks(document: Document) -> list[Fact]:
    total = _count(document["task_statistics"]["total_tasks"])
    return [Fact(value=total, samples=total, words={"date": document["date"]})]


def _top_error_share(document: Document) -> list[Fact]:
    categories = {str(name): _count(count) for name, count in document["error_statistics"]["error_categories"].items()}
    errors = sum(categories.values())
    if not errors:
        return []
    # The name decides between equals, so that the same figures always give the same alert.
    top = max(sorted(categories), key=categories.__getitem__)
    return [
        Fact(
            value=round(100 * categories[top] / errors, 2),
            samples=errors,
            labels={"category": top[:256]},
            words={"date": document["date"], "category": top},
        )
    ]


def _disk_usage(document: Document) -> list[Fact]:
    return [
        Fact(
            value=_number(mount["usage_percent"]),
            labels={"mount": _label(mount["mount"])},
            words={"mount": mount["mount"], "free_gb": mount["free_gb"]},
        )
        for mount in _measured_mounts(document)
    ]


def _inode_usage(document: Document) -> list[Fact]:
    return [
        Fact(
            value=_number(mount["inodes_percent"]),
            labels={"mount": _label(mount["mount"])},
            words={"mount": mount["mount"]},
        )
        for mount in _measured_mounts(document)
        # Some file systems have no fixed number of inodes.
        if mount["inodes_percent"] is not None
    ]


def _measured_mounts(document: Document) -> list[Any]:
    mounts = list(document["mounts"])
    if not mounts:
        raise ValueError("no mount was measured")
    return mounts


def _disk_errors(document: Document) -> list[Fact]:
    return [_counted(document["errors"])]


def _cleanup_errors(document: Document) -> list[Fact]:
    return [_counted(document["errors"])]


def _cleanup_refused(document: Document) -> list[Fact]:
    return [_counted(document.get("refused_paths", 0))]


def _missed(document: Document) -> list[Fact]:
    return [_of_job(fact, _count(fact["count"]), "slot") for fact in _broken(document, "ScheduleMissed")]


def _run_too_long(document: Document) -> list[Fact]:
    found = _broken(document, "RunTooLong")
    return [_of_job(fact, _percent(fact, "seconds", "allowed_s"), "seconds", "allowed_s") for fact in found]


def _run_too_short(document: Document) -> list[Fact]:
    found = _broken(document, "RunTooShort")
    return [_of_job(fact, _percent(fact, "seconds", "minimum_s"), "seconds", "minimum_s") for fact in found]


def _run_too_often(document: Document) -> list[Fact]:
    found = _broken(document, "RunTooOften")
    return [_of_job(fact, _percent(fact, "runs", "expected"), "runs", "expected") for fact in found]


def _beat_down(document: Document) -> list[Fact]:
    found = _broken(document, "BeatDown")
    return [Fact(value=_number(fact["seconds"]), words={"since": fact["since"]}) for fact in found]


def _broken(document: Document, name: str) -> list[Any]:
    return [fact for fact in document["facts"] if fact["fact"] == name]


def _of_job(fact: Document, value: float, *words: str) -> Fact:
    shown = {word: fact[word] for word in ("job", *words)}
    return Fact(value=value, labels={"job": _label(fact["job"])}, words=shown)


def _percent(fact: Document, part: str, whole: str) -> float:
    return round(100 * _number(fact[part]) / _number(fact[whole]), 1)


def _counted(found: Any) -> Fact:
    """Count a number, a list of things or a dict of counts by reason, and show the first."""
    if isinstance(found, Mapping):
        number = sum(_count(count) for count in found.values())
        return Fact(value=number, words={"first": ", ".join(f"{reason} {count}" for reason, count in found.items())})
    if isinstance(found, list | tuple):
        return Fact(value=len(found), words={"first": _shown(found[0]) if found else ""})
    return Fact(value=_count(found), words={"first": "see the report"})


def _shown(thing: Any) -> str:
    return thing if isinstance(thing, str) else json.dumps(thing, ensure_ascii=False, default=str)


def _label(value: Any) -> str:
    return str(value)[:256]


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is no number")  # noqa: TRY004 - one error type for a bad document
    return value


_READERS: dict[str, Callable[[Document], list[Fact]]] = {
    "daily.failure_rate": _failure_rate,
    "daily.total_tasks": _total_tasks,
    "daily.top_error_share": _top_error_share,
    "disk.usage_percent": _disk_usage,
    "disk.inodes_percent": _inode_usage,
    "disk.errors": _disk_errors,
    "cleanup.errors": _cleanup_errors,
    "cleanup.refused_paths": _cleanup_refused,
    "schedule.missed": _missed,
    "schedule.run_too_long": _run_too_long,
    "schedule.run_too_short": _run_too_short,
    "schedule.run_too_often": _run_too_often,
    "schedule.beat_down": _beat_down,
}
