"""Workers that signed and did not sign off: `{"workers": [{"name": ..., "silent_s": ...}]}`."""

from app.alerts.facts.fact import Document, Fact, Source, label, number


def _silent(document: Document) -> list[Fact]:
    return [
        Fact(
            value=number(worker["silent_s"]),
            labels={"worker": label(worker["name"])},
            words={"worker": worker["name"]},
        )
        for worker in document["workers"]
    ]


SOURCES = {
    "workers.silent_s": Source(
        read=_silent,
        tells="seconds since a worker last signed; one that ended cleanly is not counted",
        unit="s",
        kind="seconds",
        absent="ok",
        labels=frozenset({"worker"}),
        words=frozenset({"worker"}),
    )
}
