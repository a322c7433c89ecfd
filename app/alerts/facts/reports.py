"""Daily reports that are due and not there: `{"missing": [{"date": ..., "late_h": ...}]}`; no others are listed."""

from app.alerts.facts.fact import Document, Fact, Source, label, number


def _missing(document: Document) -> list[Fact]:
    return [
        Fact(value=number(one["late_h"]), labels={"date": label(one["date"])}, words={"date": one["date"]})
        for one in document["missing"]
    ]


SOURCES = {
    "reports.missing_h": Source(
        read=_missing,
        tells="hours since a daily report was due that is not there; of the last seven days",
        unit="h",
        kind="hours",
        absent="ok",
        labels=frozenset({"date"}),
        words=frozenset({"date"}),
    )
}
