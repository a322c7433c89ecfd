"""Figures of a day's report (the document of `generate_daily_statistics`)."""

from app.alerts.facts.fact import Document, Fact, Source, count, label, number


def _failure_rate(document: Document) -> list[Fact]:
    statistics = document["task_statistics"]
    total = count(statistics["total_tasks"])
    if not total:
        return []
    return [Fact(value=number(statistics["failure_rate"]), samples=total, words={"date": document["date"]})]


def _total_tasks(document: Document) -> list[Fact]:
    total = count(document["task_statistics"]["total_tasks"])
    return [Fact(value=total, samples=total, words={"date": document["date"]})]


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
    "daily.total_tasks": Source(read=_total_tasks, tells="tasks of the day", unit="tasks", words=frozenset({"date"})),
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
