"""Figures of a day's report (the document of `generate_daily_statistics`)."""

from app.alerts.facts.fact import Document, Fact, Source, count, label, number

_FEW_TASKS = 5
"""Where no more are expected, as on the Sundays of an office, a day without any is a day like others."""


def _failure_rate(document: Document) -> list[Fact]:
    statistics = document["task_statistics"]
    total = count(statistics["total_tasks"])
    if not total:
        return []
    return [Fact(value=number(statistics["failure_rate"]), samples=total, words={"date": document["date"]})]


def _total_tasks(document: Document) -> list[Fact]:
    total = count(document["task_statistics"]["total_tasks"])
    expected = _expected_tasks(document)
    if not total and expected is not None and expected <= _FEW_TASKS:
        return [Fact(value=None, words={"date": document["date"]})]
    return [Fact(value=total, samples=total, words={"date": document["date"]})]


def _expected_tasks(document: Document) -> float | None:
    """Return what the days before let expect of the report's day; None while they are too few to tell."""
    history = document.get("trend_analysis", {}).get("history", ())
    expected = history[-1]["expected"] if history and history[-1]["date"] == document["date"] else None
    return None if expected is None else number(expected)


def _top_error_share(document: Document) -> list[Fact]:
    found = document["error_statistics"]["error_categories"].items()
    categories = {str(name): count(errors) for name, errors in found}
    errors = sum(categories.values())
    if not errors:
        return []
    # The name decides between equals, so that the same figures always give the same alert.
    top = max(sorted(categories), key=categories.__getitem__)
    share = round(100 * categories[top] / errors, 2)
    words = {"date": document["date"], "category": top}
    return [Fact(value=share, samples=errors, labels={"category": label(top)}, words=words)]


SOURCES = {
    "daily.failure_rate": Source(
        read=_failure_rate,
        tells="percent of the day's tasks that failed",
        unit="%",
        kind="rate",
        words=frozenset({"date"}),
    ),
    "daily.total_tasks": Source(
        read=_total_tasks,
        tells="tasks of the day; none is no figure where no more than five are expected",
        unit="tasks",
        words=frozenset({"date"}),
    ),
    "daily.top_error_share": Source(
        read=_top_error_share,
        tells="percent of the day's errors in the largest category",
        unit="%",
        kind="share",
        absent="ok",
        labels=frozenset({"category"}),
        words=frozenset({"date", "category"}),
    ),
}
