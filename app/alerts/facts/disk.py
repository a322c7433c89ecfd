"""Figures of the disks (the result of `check_disks`, with forecasts)."""

from typing import Any

from app.alerts.facts.fact import Document, Fact, Source, counted, label, number


def _usage(document: Document) -> list[Fact]:
    return [
        Fact(
            value=number(mount["usage_percent"]),
            labels={"mount": label(mount["mount"])},
            words={"mount": mount["mount"], "free_gb": mount["free_gb"]},
        )
        for mount in _measured(document)
    ]


def _inodes(document: Document) -> list[Fact]:
    return [
        Fact(
            value=number(mount["inodes_percent"]),
            labels={"mount": label(mount["mount"])},
            words={"mount": mount["mount"]},
        )
        for mount in _measured(document)
        # Some file systems have no fixed number of inodes.
        if mount["inodes_percent"] is not None
    ]


def _will_fill(document: Document) -> list[Fact]:
    return [
        _filling(mount, of, found)
        for mount in _measured(document)
        for of, found in (("space", mount["forecast"]), ("inodes", mount["inode_forecast"]))
        # What can't be told is no figure, and what is full already is a matter of usage.
        if found is not None and (found["method"] is not None or found.get("verdict") == "steady")
    ]


def _filling(mount: Any, of: str, found: Any) -> Fact:
    labels = {"mount": label(mount["mount"]), "of": of}
    if found["method"] is None or found["hours_left"] is None:
        return Fact(value=None, labels=labels)
    words = {"mount": mount["mount"], "of": of, "full_at": found["full_at"], "method": found["method"]}
    return Fact(value=number(found["hours_left"]), labels=labels, words=words)


def _measured(document: Document) -> list[Any]:
    mounts = list(document["mounts"])
    if not mounts:
        raise ValueError("no mount was measured")
    return mounts


def _errors(document: Document) -> list[Fact]:
    return [counted(document["errors"])]


SOURCES = {
    "disk.usage_percent": Source(
        read=_usage,
        tells="percent used, for each mount",
        unit="%",
        kind="points",
        labels=frozenset({"mount"}),
        words=frozenset({"mount", "free_gb"}),
    ),
    "disk.inodes_percent": Source(
        read=_inodes,
        tells="percent of inodes used, for each mount",
        unit="%",
        kind="points",
        labels=frozenset({"mount"}),
        words=frozenset({"mount"}),
    ),
    "disk.will_fill": Source(
        read=_will_fill,
        tells="hours until a mount is full, or has no inode left",
        unit="h",
        kind="hours",
        labels=frozenset({"mount", "of"}),
        words=frozenset({"mount", "of", "full_at", "method"}),
    ),
    "disk.errors": Source(
        read=_errors, tells="mounts that could not be measured", unit="mounts", words=frozenset({"first"})
    ),
}
