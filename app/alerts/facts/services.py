"""Services asked again and again: `{"services": [{"name", "failures" in a row, "why", "latency_s" or None}]}`.

Broker and database have sources of their own, so that a rule of one can quieten the rules that need it.
"""

from collections.abc import Callable
from typing import Any

from app.alerts.facts.fact import Document, Fact, Source, count, label, number

_OWN = ("broker", "database")


def _own(name: str) -> Callable[[Document], list[Fact]]:
    def read(document: Document) -> list[Fact]:
        return [
            Fact(value=count(service["failures"]), words=_words(service))
            for service in document["services"]
            if service["name"] == name
        ]

    return read


def _others(document: Document) -> list[Fact]:
    return [
        Fact(value=count(service["failures"]), labels={"service": label(service["name"])}, words=_words(service))
        for service in document["services"]
        if service["name"] not in _OWN
    ]


def _latency(document: Document) -> list[Fact]:
    return [
        Fact(
            value=number(service["latency_s"]),
            labels={"service": label(service["name"])},
            words={"service": service["name"]},
        )
        for service in document["services"]
        if service.get("latency_s") is not None
    ]


def _words(service: Any) -> dict[str, Any]:
    return {"service": service["name"], "why": service.get("why") or "no reason was given"}


_WORDS = frozenset({"service", "why"})
_SERVICE = frozenset({"service"})

SOURCES = {
    "services.broker_failures": Source(
        read=_own("broker"), tells="times in a row that the broker did not answer", unit="failures", words=_WORDS
    ),
    "services.database_failures": Source(
        read=_own("database"), tells="times in a row that the database did not answer", unit="failures", words=_WORDS
    ),
    "services.failures": Source(
        read=_others,
        tells="times in a row that another service did not answer",
        unit="failures",
        labels=_SERVICE,
        words=_WORDS,
    ),
    "services.latency_s": Source(
        read=_latency,
        tells="seconds that a service took to answer",
        unit="s",
        kind="queue",
        labels=_SERVICE,
        words=_SERVICE,
    ),
}
