"""Rules that could not be judged. They show while the other families are judged, never in a document."""

from app.alerts.facts.fact import Document, Fact, Source

RULE_FAILED = "alerting.rule_failed"


def _none(_document: Document) -> list[Fact]:
    return []


SOURCES = {
    RULE_FAILED: Source(
        read=_none,
        tells="1 for each rule that could not be judged",
        unit="",
        labels=frozenset({"rule"}),
        words=frozenset({"rule", "source", "why"}),
    )
}
