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
    "disk.will_fill": frozenset({"mount", "of", "full_at", "method"}),
    "disk.errors": frozenset({"first"}),
    "cleanup.errors": frozenset({"first"}),
    "cleanup.refused_paths": frozenset({"first"}),
    "cleanup.error_percent": frozenset({"errors", "first"}),
    "cleanup.held": frozenset({"what", "state", "first", "run_id"}),
    "cleanup.deleted_percent": frozenset({"rule", "rows", "usual"}),
    "cleanup.lag_growing": frozenset({"rule", "lag_hours"}),
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


def _will_fill(document: Document) -> list[Fact]:
    return [
        Fact(
            value=_number(found["hours_left"]),
            labels={"mount": _label(mount["mount"]), "of": of},
            words={"mount": mount["mount"], "of": of, "full_at": found["full_at"], "method": found["method"]},
        )
        for mount in _measured_mounts(document)
        for of, found in (("space", mount["forecast"]), ("inodes", mount["inode_forecast"]))
        # What does not fill has no hours, what is full already is a matter of usage.
        if found is not None and found["method"] is not None
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


def _cleanup_error_percent(document: Document) -> list[Fact]:
    errors = _count(document["error_count"]) + bool(document.get("error"))
    done = ("tasks_cleaned", "receipts_cleaned", "files_cleaned", "logs_cleaned")
    tried = errors + sum(_count(document[key]) for key in done)
    if not tried:
        return []
    words = {"errors": errors, **_counted(document["errors"]).words}
    if unwritten := document.get("error"):
        # The report itself could not be written: there nobody will read what went wrong.
        return [Fact(value=100.0, samples=tried, words=words | {"first": str(unwritten)})]
    return [Fact(value=round(100 * errors / tried, 2), samples=tried, words=words)]


def _cleanup_held(document: Document) -> list[Fact]:
    """One for each root that is held and each rule that did not run."""
    run = {"run_id": document["run_id"]}
    roots = [
        Fact(
            value=1,
            labels={"root": _label(root["root"])},
            words={"what": f"the root {root['root']}", "state": "held", "first": root["why"], **run},
        )
        for root in document["held_roots"]
    ]
    rules = [
        Fact(
            value=len(rule["reasons"]),
            labels={"rule": _label(rule["name"])},
            words={"what": f"the rule {rule['name']}", "state": rule["state"], "first": rule["reasons"][0], **run},
        )
        for rule in document["rules"]
        if rule["state"] in {"held", "refused"} and rule["reasons"]
    ]
    folders = [
        Fact(
            value=len(folder["reasons"]),
            labels={"rule": _label(folder["name"]), "root": _label(folder["root"])},
            words={"what": f"the folder rule {folder['name']}", "state": "held", "first": folder["reasons"][0], **run},
        )
        for folder in document.get("folders", ())
        if folder.get("reasons")
    ]
    return [*roots, *rules, *folders]


def _cleanup_deleted(document: Document) -> list[Fact]:
    """How many of the usual rows a rule deleted; without a usual number nothing is unusual."""
    return [
        Fact(
            value=round(100 * _count(rule["rows"]) / _number(rule["usual_rows"]), 1),
            samples=_count(rule["rows"]),
            labels={"rule": _label(rule["name"])},
            words={"rule": rule["name"], "rows": rule["rows"], "usual": f"{rule['usual_rows']:.10g}"},
        )
        for rule in document["rules"]
        if rule["usual_rows"]
    ]


def _cleanup_lag(document: Document) -> list[Fact]:
    return [
        Fact(
            value=_count(rule["lag_growing"]),
            labels={"rule": _label(rule["name"])},
            words={"rule": rule["name"], "lag_hours": rule["lag_hours"]},
        )
        for rule in document["rules"]
    ]


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
    "disk.will_fill": _will_fill,
    "disk.errors": _disk_errors,
    "cleanup.errors": _cleanup_errors,
    "cleanup.refused_paths": _cleanup_refused,
    "cleanup.error_percent": _cleanup_error_percent,
    "cleanup.held": _cleanup_held,
    "cleanup.deleted_percent": _cleanup_deleted,
    "cleanup.lag_growing": _cleanup_lag,
    "schedule.missed": _missed,
    "schedule.run_too_long": _run_too_long,
    "schedule.run_too_short": _run_too_short,
    "schedule.run_too_often": _run_too_often,
    "schedule.beat_down": _beat_down,
}
