"""Charts as SVG that stands inside a page: no script, no style and no address of its own, the page's CSS colours it.

Drawn by pygal: importing it and drawing six charts took 0.6 s and 8 MB; with matplotlib 5 s and 61 MB, which a worker's
child would keep.
"""

import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from types import ModuleType
from typing import Any

WIDTH, HEIGHT = 520, 240
"""Units of the drawing: small, so that its letters can still be read on a screen 390 pixels wide."""
_FONT = 13
_LABEL_CELLS = 20
_ROW = 30
"""Height of a bar that lies."""
_STEPS = 5
"""Most lines across a chart."""


@dataclass(frozen=True, kw_only=True)
class Caption:
    """What a chart is called, for those who don't see it."""

    key: str
    """Letters and hyphens, once in a page."""
    title: str
    description: str


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar. `role` becomes its CSS class."""

    label: str
    value: float
    told: str
    """The value with its unit."""
    role: str = "usual"


@dataclass(frozen=True, kw_only=True)
class Point:
    """One point of a timeline; None where nothing is known."""

    label: str
    value: float | None
    told: str = ""
    expected: float | None = None
    lower: float | None = None
    upper: float | None = None
    odd: bool = False


def standing_bars(caption: Caption, bars: Sequence[Bar], *, every: int = 1) -> str:
    """Return the SVG of bars side by side, each `every`-th with its label."""
    chart = _pygal().Bar(
        x_labels_major_every=every,
        show_minor_x_labels=every == 1,
        **_scaled([bar.value for bar in bars]),
        **_look(),
    )
    chart.x_labels = [bar.label for bar in bars]
    chart.add("", [_marked(bar) for bar in bars])
    return _svg(chart, caption)


def lying_bars(caption: Caption, bars: Sequence[Bar]) -> str:
    """Return the SVG of bars below each other, the first on top, with their labels in full as far as there is room."""
    labels = [_cut(bar.label) for bar in bars]
    height = 45 + _ROW * len(bars)
    # pygal reserves 0.6 em for a letter; a Chinese one needs a whole em.
    wider = max(_cells(label) * 0.55 - len(label) * 0.6 for label in labels) * _FONT
    chart = _pygal().HorizontalBar(
        **_scaled([bar.value for bar in bars]), **_look(height=height, margin_left=10 + max(0, round(wider)))
    )
    chart.x_labels = list(reversed(labels))
    chart.add("", [_marked(bar) for bar in reversed(bars)])
    return _svg(chart, caption)


def timeline(caption: Caption, points: Sequence[Point], *, every: int = 1, most: float | None = None) -> str:
    """Return the SVG of a line with its expected band; unknown points leave a gap, odd ones stand out.

    `most` is the upper end of the scale where it is given (100 for percent).
    """
    points = _clipped(points)
    numbered = list(enumerate(points))
    values = [value for point in points for value in (point.value, point.upper, point.expected) if value is not None]
    chart = _pygal().XY(**_scaled([most] if most else values), **_look(), xrange=(0, max(1, len(points) - 1)))
    chart.x_labels = [{"label": point.label, "value": at} for at, point in numbered if at % every == 0]
    roles = []
    for stretch in _stretches(points):
        chart.add("", _outline(stretch), fill=True, show_dots=False)
        roles.append("band")
    chart.add("", [(at, point.expected) for at, point in numbered], show_dots=False, allow_interruptions=True)
    dots = 2.5 if every == 1 else 1.5
    chart.add("", [_dot(at, point) for at, point in numbered], dots_size=dots, allow_interruptions=True)
    chart.add("", [_dot(at, point) for at, point in numbered if point.odd], stroke=False, dots_size=5)
    return _svg(chart, caption, [*roles, "expected", "actual", "odd"])


def _clipped(points: Sequence[Point]) -> list[Point]:
    """Return the points with their bands cut off at twice the highest value.

    A band out of few days may be so wide that nothing else could be seen beside it.
    """
    highest = 2 * max((point.value for point in points if point.value is not None), default=0.0)
    if not highest:
        return list(points)
    return [
        replace(
            point,
            expected=_at_most(highest, point.expected),
            lower=_at_most(highest, point.lower),
            upper=_at_most(highest, point.upper),
        )
        for point in points
    ]


def _at_most(limit: float, value: float | None) -> float | None:
    return None if value is None else min(limit, value)


def _stretches(points: Sequence[Point]) -> list[list[tuple[int, float, float]]]:
    """Return the parts of the line that have a band, as (place, lower, upper)."""
    found: list[list[tuple[int, float, float]]] = []
    for at, point in enumerate(points):
        if point.lower is None or point.upper is None:
            continue
        if not found or found[-1][-1][0] != at - 1:
            found.append([])
        found[-1].append((at, point.lower, point.upper))
    return [_widened(stretch) for stretch in found]


def _widened(stretch: list[tuple[int, float, float]]) -> list[tuple[int, float, float]]:
    """A single day has no width to fill."""
    if len(stretch) > 1:
        return stretch
    at, lower, upper = stretch[0]
    return [(at - 0.2, lower, upper), (at + 0.2, lower, upper)]  # type: ignore[list-item]  # places between two days


def _outline(stretch: list[tuple[int, float, float]]) -> list[tuple[float, float]]:
    # There along the upper edge and back along the lower one: what pygal fills then is the band alone.
    forth = [(at, upper) for at, _, upper in stretch]
    return [*forth, *((at, lower) for at, lower, _ in reversed(stretch))]


def _dot(at: int, point: Point) -> Any:
    return {"value": (at, point.value), "tooltip": f"{point.label}: {point.told}"}


def _marked(bar: Bar) -> dict[str, Any]:
    return {"value": bar.value, "tooltip": f"{bar.label}: {bar.told}", "node": {"class": f"rect {bar.role}"}}


def _scaled(values: Sequence[float]) -> dict[str, Any]:
    top = max(values, default=0.0)
    return {"range": (0, top if top > 0 else 1), "min_scale": 2, "max_scale": _STEPS, "value_formatter": _short}


def _short(value: float) -> str:
    for size, letter in ((1_000_000_000, "G"), (1_000_000, "M"), (10_000, "k")):
        if abs(value) >= size:
            return f"{value / (1000 if letter == 'k' else size):g}{letter}"
    return f"{value:,.10g}"


def _look(**more: Any) -> dict[str, Any]:
    style = _pygal().style.Style(label_font_size=_FONT, major_label_font_size=_FONT, value_font_size=_FONT)
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "style": style,
        "css": [],
        "js": [],
        "no_prefix": True,
        "show_legend": False,
        "include_x_axis": True,
        "margin": 10,
        "spacing": 8,
        "truncate_label": -1,
    } | more


def _svg(chart: Any, caption: Caption, roles: Sequence[str] = ()) -> str:
    etree = _pygal().etree.etree
    root = chart.render_tree()
    for parent in list(root.iter()):
        for child in list(parent):
            if not _kept(child):
                parent.remove(child)
    for number, role in enumerate(roles):
        for group in root.iter("g"):
            if f"serie-{number}" in group.get("class", "").split():
                group.set("class", f"series {role}")
    title, description = f"{caption.key}-title", f"{caption.key}-description"
    root.set("id", caption.key)
    root.set("role", "img")
    root.set("aria-labelledby", f"{title} {description}")
    root.attrib.pop("xmlns", None)
    told = (("title", title, caption.title), ("desc", description, caption.description))
    for place, (tag, name, words) in enumerate(told):
        element = etree.Element(tag, {"id": name})
        element.text = words
        root.insert(place, element)
    text: str = etree.tostring(root, encoding="unicode")
    return text


def _kept(element: Any) -> bool:
    """Comments, style, script, and what only a script would read, are of no use in a page."""
    if not isinstance(element.tag, str) or element.tag in {"defs", "desc"}:
        return False
    # The drawing's own title and those of axes repeat what can be read; those of bars and dots are their tooltips.
    if element.tag == "title":
        return ": " in (element.text or "")
    return "tooltip" not in element.get("class", "").split()


def _cut(label: str) -> str:
    kept, cells = "", 0
    for char in label:
        cells += _cells(char)
        if cells > _LABEL_CELLS:
            return f"{kept}…"
        kept += char
    return kept


def _cells(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


@cache
def _pygal() -> ModuleType:
    """Import the library when the first chart is drawn: most processes draw none."""
    import pygal  # noqa: PLC0415 - see above
    import pygal.style  # noqa: PLC0415 - see above

    # It leaves a finder of the old kind behind, of which Python warns at every later import.
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, pygal.PluginImportFixer)]
    pygal.etree.etree.to_etree()
    module: ModuleType = pygal
    return module
