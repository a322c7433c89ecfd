"""The figures that rules compare, read from what jobs and samples found: one file per family of sources.

A family is the first word of a source, such as `disk` of `disk.usage_percent`, and has one document.
"""

from app.alerts.facts import (
    alerting,
    channels,
    cleanup,
    daily,
    disk,
    monitoring,
    queues,
    reports,
    runs,
    schedule,
    services,
    system,
    workers,
)
from app.alerts.facts.fact import Absent, Document, Fact, Kind, Source

__all__ = ["FAMILIES", "SOURCES", "Absent", "Document", "Fact", "Kind", "Source", "facts_of", "family_of"]

SOURCES: dict[str, Source] = {
    **daily.SOURCES,
    **reports.SOURCES,
    **runs.SOURCES,
    **disk.SOURCES,
    **cleanup.SOURCES,
    **schedule.SOURCES,
    **system.SOURCES,
    **queues.SOURCES,
    **workers.SOURCES,
    **services.SOURCES,
    **monitoring.SOURCES,
    **channels.SOURCES,
    **alerting.SOURCES,
}
"""Fact path -> what is known of it."""


def family_of(source: str) -> str:
    """Return the family of a source."""
    return source.partition(".")[0]


FAMILIES: tuple[str, ...] = tuple(dict.fromkeys(map(family_of, SOURCES)))


def facts_of(source: str, document: Document) -> list[Fact]:
    """Return the facts of `source`; none where there is nothing to judge, such as a rate of no tasks.

    Raises LookupError, TypeError, ValueError or AttributeError where the document is not what its job promises.
    """
    return list(SOURCES[source].read(document))
