"""Workers that signed and did not sign off: `{"workers": [{"name": ..., "silent_s": ..., "deaths": ...}]}`."""

from collections.abc import Callable

from app.alerts.facts.fact import Document, Fact, Source, label, number


def _each(figure: str) -> Callable[[Document], list[Fact]]:
    def read(document: Document) -> list[Fact]:
        return [
            Fact(
                value=number(worker[figure]),
                labels={"worker": label(worker["name"])},
                words={"worker": worker["name"]},
            )
            for worker in document["workers"]
        ]

    return read


SOURCES = {
    "workers.silent_s": Source(
        read=_each("silent_s"),
        tells="seconds since a worker last signed; one that ended cleanly is not counted",
        unit="s",
        kind="seconds",
        absent="ok",
        labels=frozenset({"worker"}),
        words=frozenset({"worker"}),
    ),
    "workers.deaths": Source(
        read=_each("deaths"),
        tells="how often a worker died within an hour, not signed off, and was started again",
        unit="deaths",
        absent="ok",
        labels=frozenset({"worker"}),
        words=frozenset({"worker"}),
    ),
}
