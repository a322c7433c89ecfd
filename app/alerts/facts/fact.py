"""What a figure is, and what is known of each source of figures."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct, field

from app.core.storable import storable_text

Document = Mapping[str, Any]
Kind = Literal["points", "share", "rate", "queue", "count", "hours", "seconds"]
Absent = Literal["ok", "keep"]

LABEL_CHARACTERS = 256
_FARTHEST = 1e18


class Fact(Struct, frozen=True, kw_only=True):
    """One figure of one source."""

    value: float | None
    """None where it was looked at and there is nothing to compare: a disk that does not fill has no hours left."""
    samples: int = 0
    """Rows the figure rests on; 0 where that means nothing."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Identity: facts of one source that differ in labels give alerts of their own."""
    words: Mapping[str, Any] = field(default_factory=dict)
    """What the message may name."""


class Source(Struct, frozen=True, kw_only=True):
    """A figure that rules may compare, and how it is read from its family's document."""

    read: Callable[[Document], Sequence[Fact]]
    """Raises LookupError, TypeError, ValueError or AttributeError for a document that is not what was promised."""
    tells: str
    """What the figure is, in a few words."""
    unit: str
    kind: Kind = "count"
    """Decides how far the figure must come back before an alert ends, and whether it is judged as a sample."""
    absent: Absent = "keep"
    """What it means that a good document lacks a figure that was there before: `ok` where only what is broken is
    listed, `keep` where it was not measured."""
    labels: frozenset[str] = frozenset()
    words: frozenset[str] = frozenset()
    """What its message may use besides value, threshold and samples."""


def counted(found: Any) -> Fact:
    """Count a number, a list of things or a dict of counts by reason; the word `first` shows what there is."""
    if isinstance(found, Mapping):
        number = sum(count(inner) for inner in found.values())
        return Fact(value=number, words={"first": ", ".join(f"{reason} {inner}" for reason, inner in found.items())})
    if isinstance(found, list | tuple):
        return Fact(value=len(found), words={"first": _shown(found[0]) if found else ""})
    return Fact(value=count(found), words={"first": "see the report"})


def label(value: Any) -> str:
    """Return `value` as a label's text: at most 256 characters, and only such as every database takes."""
    return storable_text(str(value))[:LABEL_CHARACTERS]


def count(value: Any) -> int:
    """Return a whole number from 0 on. Raises ValueError for anything else, and for one that no database keeps."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _FARTHEST:
        raise ValueError(f"{value!r} is no count")
    return value


def number(value: Any) -> float:
    """Return a number. Raises ValueError for anything else, NaN, and what no database keeps."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _FARTHEST:
        raise ValueError(f"{value!r} is no number")
    return value


def _shown(thing: Any) -> str:
    return thing if isinstance(thing, str) else json.dumps(thing, ensure_ascii=False, default=str)
