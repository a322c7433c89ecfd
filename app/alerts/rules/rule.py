"""One row of config/alert_rules.toml: which figure is too high, for how long, and who is to be bothered how often."""

import hashlib
import json
import re
import string
from collections.abc import Iterable
from datetime import timedelta
from functools import cached_property
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from app.alerts.alert import RANK, SEVERITIES, Severity
from app.alerts.facts import SOURCES, Source
from app.alerts.rules.rule_parts import Annotations, Level, MuteWindow, Repeat, level_tables
from app.core.measures import Age
from app.core.settings_file import Before, Check, Section, nearest

Operator = Literal[">", ">=", "<", "<=", "=="]

_ALWAYS = frozenset({"value", "threshold", "samples"})
_HUNDRED = 100.0
_MOST_REMEMBERED = 60
_ID = re.compile(r"[A-Za-z0-9_.\-]{1,100}")
_N_OF_M = re.compile(r"\s*(\d{1,3})\s*of\s*(\d{1,3})\s*")
_OWN_GROUPS = frozenset({"alertname", "severity", "type", "rule", "component"})
_POINTS, _RATE_SHARE, _QUEUE_SHARE = 3.0, 0.75, 0.7


class Threshold(Struct, frozen=True, kw_only=True):
    """One level of a rule."""

    level: Severity
    raise_at: float
    clear_at: float
    """As long as the figure is beyond this, an alert of this level stays."""


class Inhibitor(Struct, frozen=True, kw_only=True):
    """A rule whose open alert explains others."""

    rule: str
    level: Severity | None
    """It does so from this level on; at any where None."""


def _known_source(value: str) -> str:
    if value not in SOURCES:
        raise ValueError(f"{value!r} is no fact we know{nearest(value, SOURCES)}; known: {', '.join(SOURCES)}")
    return value


def _n_of_m(value: str) -> str:
    if value and _pair(value) is None:
        raise ValueError(
            f"{value!r} counts no evaluations; write it like '3 of 5', n from 1 to m, m up to {_MOST_REMEMBERED}"
        )
    return value


def _pair(text: str) -> tuple[int, int] | None:
    found = _N_OF_M.fullmatch(text)
    n, m = (int(found.group(1)), int(found.group(2))) if found else (0, 0)
    return (n, m) if 1 <= n <= m <= _MOST_REMEMBERED else None


def _label_texts(value: dict[str, str]) -> dict[str, str]:
    for name, text in value.items():
        if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}", name):
            raise ValueError(f"label {name!r} is no name; use letters, digits and _")
        if name in _OWN_GROUPS - {"component"}:
            raise ValueError(f"label {name!r} is one that every alert has by itself; choose another name")
        if not 0 < len(text) <= 256:  # noqa: PLR2004 - what an alert of another source may have as well
            raise ValueError(f"label {name} has {len(text)} characters; 1 to 256 are taken")
    return value


def _inhibitors(value: tuple[str, ...]) -> tuple[str, ...]:
    for text in value:
        _, _, level = text.partition(" ")
        if level and level not in RANK:
            raise ValueError(f"{text!r} ends with none of critical, warning, error{nearest(level, RANK)}")
    return value


Name = Annotated[str, Meta(min_length=1, max_length=100)]


class Rule(Section, dict=True):
    """`[alerts.rules.<id>]`: one condition; at most one alert per set of labels, at the highest level reached."""

    enabled: bool = True
    alertname: Name
    """CamelCase name shown to people and other tools."""
    type: Name
    """Slug shown as the alert's `type`."""
    source: Annotated[str, Check(_known_source)]
    """The fact that is compared, such as `daily.failure_rate`."""
    op: Operator = ">"
    levels: Annotated[dict[Severity, Level], Before(level_tables), Meta(min_length=1)]
    """Severity -> threshold, in the fact's own unit."""
    min_samples: Annotated[int, Meta(ge=0)] = 0
    """Quiet when the fact rests on fewer rows than this."""
    message: Annotated[str, Meta(min_length=1, max_length=500)]
    """One line; `{value}`, `{threshold}`, `{samples}` and the source's own words are filled in."""
    for_: Age = field(name="for", default=timedelta(0))
    """How long the condition must hold before anybody is told; a job's own figures do not wait."""
    n_of_m: Annotated[str, Check(_n_of_m)] = ""
    """Instead of `for`: `3 of 5` evaluations must be bad."""
    keep_firing_for: Age = timedelta(minutes=5)
    """It is over only when the condition has not held for this long; a job's own figures do not wait."""
    clear_for: Annotated[int, Meta(ge=1, le=1000)] | None = None
    """Good evaluations in a row that end it or lower its level: 2, or 1 of a job's figures, unless set here."""
    no_data: Literal["keep", "ok", "alert"] = "keep"
    """What a figure that is not there means: the alert stays, ends, or there is one because of that."""
    labels: Annotated[dict[str, str], Check(_label_texts)] = field(default_factory=dict)
    """Added to the fact's own: part of the alert's identity."""
    annotations: Annotations = field(default_factory=Annotations)
    group_by: tuple[str, ...] = ("alertname", "component")
    """Labels of which alerts must have the same values to be told in one message."""
    repeat: Repeat = field(default_factory=Repeat)
    inhibited_by: Annotated[tuple[str, ...], Check(_inhibitors)] = ()
    """Rules, such as `broker_down` or `disk_usage_high critical`, whose open alert explains this one."""
    mute_windows: tuple[MuteWindow, ...] = ()

    def __post_init__(self) -> None:
        self._check_words("message", self.message)
        for name in self.annotations.__struct_fields__:
            self._check_words(f"annotations.{name}", getattr(self.annotations, name))
        self._check_levels()
        self._check_labels()
        if self.n_of_m and self.for_:
            raise ValueError(f"n_of_m {self.n_of_m!r} stands beside for; one of them is enough")

    @cached_property
    def about(self) -> Source:
        """What is known of the source."""
        return SOURCES[self.source]

    @cached_property
    def thresholds(self) -> tuple[Threshold, ...]:
        """The levels, the most severe first."""
        ranked = sorted(self.levels.items(), key=lambda item: -RANK[item[0]])
        return tuple(
            Threshold(level=name, raise_at=level.raise_, clear_at=self._clear_at(level)) for name, level in ranked
        )

    @cached_property
    def n_of_m_pair(self) -> tuple[int, int] | None:
        """`n_of_m` as numbers; None where it is not used."""
        return _pair(self.n_of_m)

    @cached_property
    def inhibitors(self) -> tuple[Inhibitor, ...]:
        """`inhibited_by`, taken apart."""
        return tuple(_inhibitor(text) for text in self.inhibited_by)

    @cached_property
    def annotation_texts(self) -> dict[str, str]:
        """The annotations that say something."""
        texts = {name: getattr(self.annotations, name) for name in self.annotations.__struct_fields__}
        return {name: text for name, text in texts.items() if text}

    @cached_property
    def hash(self) -> str:
        """16 hex digits of the condition: words, times and recipients may change without ending an alert."""
        condition = [self.source, self.op, self.min_samples, sorted(self.labels.items())]
        levels = [[each.level, each.raise_at, each.clear_at] for each in self.thresholds]
        return hashlib.sha256(json.dumps([condition, levels]).encode()).hexdigest()[:16]

    def _clear_at(self, level: Level) -> float:
        return default_clear(self.about.kind, self.op, level.raise_) if level.clear is None else level.clear

    def _check_words(self, what: str, text: str) -> None:
        known = _ALWAYS | SOURCES[self.source].words
        try:
            parts = list(string.Formatter().parse(text))
        except ValueError as error:
            raise ValueError(f"{what} {text!r}: {error}; write a literal brace twice") from error
        for _, name, form, conversion in parts:
            if name is not None and (name not in known or form or conversion):
                raise ValueError(f"{what} names {{{name}}}; {self.source} fills in {', '.join(sorted(known))}")

    def _check_levels(self) -> None:
        """A higher level that is reached before the lower one would hide it."""
        ranked = [self.levels[name].raise_ for name in sorted(self.levels, key=RANK.__getitem__)]
        down = self.op.startswith("<")
        if self.op != "==" and ranked != sorted(ranked, reverse=down):
            shown = {name: level.raise_ for name, level in self.levels.items()}
            raise ValueError(f"levels {shown}: the more severe must be reached later (op is {self.op!r})")
        for name, level in self.levels.items():
            beyond = level.clear is not None and (level.clear < level.raise_ if down else level.clear > level.raise_)
            if beyond or (level.clear is not None and self.op == "=="):
                raise ValueError(f"levels.{name}.clear {level.clear:g} lies on the wrong side (op is {self.op!r})")

    def _check_labels(self) -> None:
        taken = sorted(SOURCES[self.source].labels & self.labels.keys())
        if taken:
            raise ValueError(f"label {taken[0]!r} is what tells figures of {self.source} apart; choose another name")
        known = sorted(SOURCES[self.source].labels | self.labels.keys() | _OWN_GROUPS)
        for name in self.group_by:
            if name not in known:
                raise ValueError(f"group_by names {name!r}{nearest(name, known)}; known: {', '.join(known)}")


def default_clear(kind: str, op: Operator, raise_at: float) -> float:
    """Return the figure to which one must come back: 3 points, 70 % of a queue, 75 % of a rate, else the threshold.

    A rate that is too low comes back by a quarter of what is missing: 90 clears at 92.5.
    """
    down = op.startswith("<")
    if kind == "points":
        return raise_at + _POINTS if down else raise_at - _POINTS
    if kind == "queue" and raise_at > 0:
        return raise_at / _QUEUE_SHARE if down else raise_at * _QUEUE_SHARE
    if kind in {"rate", "share"}:
        return _HUNDRED - (_HUNDRED - raise_at) * _RATE_SHARE if down else raise_at * _RATE_SHARE
    return raise_at


def consistent(rules: dict[str, Rule]) -> dict[str, Rule]:
    """Return the rules. Raises ValueError for an id that is none, and for `inhibited_by` that names no other rule."""
    for rule_id, rule in rules.items():
        if not _ID.fullmatch(rule_id):
            raise ValueError(f"{rule_id[:100]!r} is no id of a rule; use up to 100 letters, digits and _ - .")
        for inhibitor in rule.inhibitors:
            if inhibitor.rule not in rules or inhibitor.rule == rule_id:
                others: Iterable[str] = (name for name in rules if name != rule_id)
                raise ValueError(
                    f"{rule_id}.inhibited_by names {inhibitor.rule!r}, which is no other rule"
                    f"{nearest(inhibitor.rule, others)}"
                )
    return rules


def _inhibitor(text: str) -> Inhibitor:
    name, _, level = text.partition(" ")
    return Inhibitor(rule=name, level=next((severity for severity in SEVERITIES if severity == level), None))
