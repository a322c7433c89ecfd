"""Messages that wait: `{"depths": {queue: messages}, "wait_p95_s": seconds or None, "wait_samples": runs}`."""

from app.alerts.facts.fact import Document, Fact, Source, count, label, number


def _depth(document: Document) -> list[Fact]:
    return [
        Fact(value=count(depth), labels={"queue": label(queue)}, words={"queue": queue})
        for queue, depth in document["depths"].items()
    ]


def _wait(document: Document) -> list[Fact]:
    if document["wait_p95_s"] is None:
        return []
    return [Fact(value=number(document["wait_p95_s"]), samples=count(document["wait_samples"]))]


SOURCES = {
    "queues.depth": Source(
        read=_depth,
        tells="messages that wait in a queue",
        unit="messages",
        kind="queue",
        labels=frozenset({"queue"}),
        words=frozenset({"queue"}),
    ),
    "queues.wait_p95_s": Source(
        read=_wait,
        tells="seconds that 95 % of the latest messages waited at most",
        unit="s",
        kind="queue",
        # Nothing was delivered lately: nothing waits, or the depth tells.
        absent="ok",
    ),
}
