"""Figures of a clean-up (the result of `cleanup_expired_tasks`)."""

from app.alerts.facts.fact import Document, Fact, Source, count, counted, label, number

_CLEANED = ("tasks_cleaned", "receipts_cleaned", "files_cleaned", "logs_cleaned")


def _errors(document: Document) -> list[Fact]:
    return [counted(document["errors"])]


def _refused(document: Document) -> list[Fact]:
    return [counted(document.get("refused_paths", 0))]


def _error_percent(document: Document) -> list[Fact]:
    errors = count(document["error_count"]) + bool(document.get("error"))
    tried = errors + sum(count(document[key]) for key in _CLEANED)
    if not tried:
        return []
    words = {"errors": errors, **counted(document["errors"]).words}
    if unwritten := document.get("error"):
        # The report itself could not be written: there nobody will read what went wrong.
        return [Fact(value=100.0, samples=tried, words=words | {"first": str(unwritten)})]
    return [Fact(value=round(100 * errors / tried, 2), samples=tried, words=words)]


def _held(document: Document) -> list[Fact]:
    """One for each root that is held and each rule that did not run."""
    run = {"run_id": document["run_id"]}
    roots = [
        Fact(
            value=1,
            labels={"root": label(root["root"])},
            words={"what": f"the root {root['root']}", "state": "held", "first": root["why"], **run},
        )
        for root in document["held_roots"]
    ]
    rules = [
        Fact(
            value=len(rule["reasons"]),
            labels={"rule": label(rule["name"])},
            words={"what": f"the rule {rule['name']}", "state": rule["state"], "first": rule["reasons"][0], **run},
        )
        for rule in document["rules"]
        if rule["state"] in {"held", "refused"} and rule["reasons"]
    ]
    folders = [
        Fact(
            value=len(folder["reasons"]),
            labels={"rule": label(folder["name"]), "root": label(folder["root"])},
            words={"what": f"the folder rule {folder['name']}", "state": "held", "first": folder["reasons"][0], **run},
        )
        for folder in document.get("folders", ())
        if folder.get("reasons")
    ]
    return [*roots, *rules, *folders]


def _deleted(document: Document) -> list[Fact]:
    """How many of the usual rows a rule deleted; without a usual number nothing is unusual."""
    return [
        Fact(
            value=round(100 * count(rule["rows"]) / number(rule["usual_rows"]), 1),
            samples=count(rule["rows"]),
            labels={"rule": label(rule["name"])},
            words={"rule": rule["name"], "rows": rule["rows"], "usual": f"{rule['usual_rows']:.10g}"},
        )
        for rule in document["rules"]
        if rule["usual_rows"]
    ]


def _lag(document: Document) -> list[Fact]:
    return [
        Fact(
            value=count(rule["lag_growing"]),
            labels={"rule": label(rule["name"])},
            words={"rule": rule["name"], "lag_hours": rule["lag_hours"]},
        )
        for rule in document["rules"]
    ]


SOURCES = {
    "cleanup.errors": Source(read=_errors, tells="errors of a clean-up", unit="errors", words=frozenset({"first"})),
    "cleanup.refused_paths": Source(
        read=_refused, tells="stored paths a clean-up would not touch", unit="paths", words=frozenset({"first"})
    ),
    "cleanup.error_percent": Source(
        read=_error_percent,
        tells="percent of what a clean-up tried that ended in an error",
        unit="%",
        kind="share",
        absent="ok",
        words=frozenset({"errors", "first"}),
    ),
    "cleanup.held": Source(
        read=_held,
        tells="reasons for which a rule was held or refused, or a root is held",
        unit="reasons",
        absent="ok",
        labels=frozenset({"rule", "root"}),
        words=frozenset({"what", "state", "first", "run_id"}),
    ),
    "cleanup.deleted_percent": Source(
        read=_deleted,
        tells="percent of the rows a rule usually deletes; samples are its rows",
        unit="%",
        absent="ok",
        labels=frozenset({"rule"}),
        words=frozenset({"rule", "rows", "usual"}),
    ),
    "cleanup.lag_growing": Source(
        read=_lag,
        tells="runs in a row after which a rule's backlog was older than before",
        unit="runs",
        absent="ok",
        labels=frozenset({"rule"}),
        words=frozenset({"rule", "lag_hours"}),
    ),
}
