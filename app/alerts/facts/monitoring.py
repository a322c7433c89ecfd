"""The monitor loop itself: `{"silent_s": seconds since its last pass}`."""

from app.alerts.facts.fact import Document, Fact, Source, number


def _silent(document: Document) -> list[Fact]:
    return [Fact(value=number(document["silent_s"]))]


SOURCES = {
    "monitoring.silent_s": Source(
        read=_silent, tells="seconds since the monitor loop last ended a pass", unit="s", kind="seconds"
    )
}
