"""Memory and processors of this machine: `{"memory_percent": ..., "cpu_percent": ...}`."""

from app.alerts.facts.fact import Document, Fact, Source, number


def _memory(document: Document) -> list[Fact]:
    return [Fact(value=number(document["memory_percent"]))]


def _cpu(document: Document) -> list[Fact]:
    return [Fact(value=number(document["cpu_percent"]))]


SOURCES = {
    "system.memory_percent": Source(read=_memory, tells="percent of memory in use", unit="%", kind="points"),
    "system.cpu_percent": Source(read=_cpu, tells="percent of all processors in use", unit="%", kind="points"),
}
