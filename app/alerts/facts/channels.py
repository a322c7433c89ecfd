"""Channels that refuse for good: `{"broken": [{"target": ..., "why": ...}]}`; what is not listed is well."""

from app.alerts.facts.fact import Document, Fact, Source, label


def _broken(document: Document) -> list[Fact]:
    return [
        Fact(
            value=1,
            labels={"target": label(found["target"])},
            words={"target": found["target"], "why": found["why"]},
        )
        for found in document["broken"]
    ]


SOURCES = {
    "channels.broken": Source(
        read=_broken,
        tells="1 for each channel that refuses every notification",
        unit="",
        absent="ok",
        labels=frozenset({"target"}),
        words=frozenset({"target", "why"}),
    )
}
