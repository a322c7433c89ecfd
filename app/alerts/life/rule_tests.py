"""Tests of alert rules, in the manner of promtool: figures over time, and the alerts that are to come of them."""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from msgspec import Meta
from msgspec import field as key

from app.alerts.alert import Severity
from app.alerts.facts import SOURCES, Fact, family_of
from app.alerts.life.instance import Instance
from app.alerts.life.lifecycle import advance
from app.alerts.rules.readings import Reading, read_fact
from app.alerts.rules.rule import Rule
from app.core.errors import BadArgument, SettingsError
from app.core.measures import Age, age_text
from app.core.settings_file import Check, Section, nearest
from app.core.settings_reader import read

START = datetime(2026, 1, 1, tzinfo=UTC)
"""The first look of every test; a Thursday."""
MOST_LOOKS = 100_000
_NONE = "_"
_NUMBER = r"-?\d+(?:\.\d+)?"
_ITEM = re.compile(rf"(?P<value>{_NUMBER}|{_NONE})(?P<step>[+-]\d+(?:\.\d+)?)?(?:x(?P<times>\d+))?")


def _known_source(value: str) -> str:
    if value not in SOURCES:
        raise ValueError(f"{value!r} is no fact we know{nearest(value, SOURCES)}; known: {', '.join(SOURCES)}")
    return value


def _spelled(value: str) -> str:
    series(value)
    return value


class GivenFigure(Section):
    """`[[tests.figures]]`: one figure over time."""

    source: Annotated[str, Check(_known_source)]
    labels: dict[str, str] = key(default_factory=dict)
    words: dict[str, str] = key(default_factory=dict)
    """What the message may name; a word that is not given here is taken from the labels, or shown as its name."""
    samples: Annotated[int, Meta(ge=0)] = 0
    values: Annotated[str, Check(_spelled)]
    """A value for each look: `70 85x3 90+1x5 _x2`."""


class ExpectedAlert(Section):
    """One alert that fires."""

    rule: str
    level: Severity
    labels: dict[str, str] = key(default_factory=dict)
    message: str = ""
    """Where given, the whole message."""


class Expectation(Section):
    """`[[tests.expect]]`: every alert that fires after the look at `at`, and no other."""

    at: Age
    alerts: tuple[ExpectedAlert, ...] = ()


class RuleTest(Section):
    """`[[tests]]`."""

    name: Annotated[str, Meta(min_length=1)]
    every: Age = timedelta(minutes=1)
    """Time from one look to the next."""
    job: bool = False
    """Whether the figures are those of a job, which do not wait (`for`), or of the monitor."""
    figures: Annotated[tuple[GivenFigure, ...], Meta(min_length=1)]
    expect: Annotated[tuple[Expectation, ...], Meta(min_length=1)]

    def __post_init__(self) -> None:
        if self.every <= timedelta(0):
            raise ValueError("every must be longer than nothing")
        looks = max(len(series(figure.values)) for figure in self.figures)
        for expected in self.expect:
            if expected.at % self.every or not 0 <= expected.at // self.every < looks:
                at, last = age_text(expected.at), age_text(self.every * (looks - 1))
                raise ValueError(f"at {at!r} there is no look; there is one every {age_text(self.every)} up to {last}")


class RuleTests(Section):
    """The content of a file."""

    tests: Annotated[tuple[RuleTest, ...], Meta(min_length=1)]


@dataclass(frozen=True, kw_only=True)
class TestOutcome:
    """What came of one test."""

    __test__ = False  # pytest takes the name for a test's

    name: str
    differences: tuple[str, ...] = field(default=())
    """A line for each alert that was missing, of another level, or not expected."""

    @property
    def passed(self) -> bool:
        return not self.differences


def read_tests(path: Path) -> tuple[RuleTest, ...]:
    """Return the tests of a TOML file. Raises BadArgument with a line for each thing that is wrong with it."""
    try:
        return read(RuleTests, tomllib.loads(path.read_text(encoding="utf-8"))).tests
    except (OSError, UnicodeDecodeError) as error:
        raise BadArgument(f"{path} can't be read: {error}") from error
    except (tomllib.TOMLDecodeError, SettingsError) as error:
        raise BadArgument("\n".join(f"{path}: {line}" for line in str(error).splitlines())) from error


def run_test(test: RuleTest, rules: Mapping[str, Rule]) -> TestOutcome:
    """Play a test through the life cycle that real alerts have, and compare."""
    expected = {one.at: one for one in test.expect}
    differences: list[str] = []
    for at, instances in _played(test, rules):
        if at in expected:
            differences += _compared(expected[at], instances)
    return TestOutcome(name=test.name, differences=tuple(differences))


def series(text: str) -> list[float | None]:
    """Return the values of a series: `85x3` is three times 85, `90+1x5` goes from 90 up to 94, `_` is no figure.

    Raises ValueError that quotes what can't be read.
    """
    values: list[float | None] = []
    for item in text.split():
        found = _ITEM.fullmatch(item)
        if found is None or (found["value"] == _NONE and found["step"]):
            raise ValueError(f"{item!r} is no value; write 85, 85x3 (three looks), 90+1x5 (90 to 94) or _ (no figure)")
        times = int(found["times"] or 1)
        if len(values) + times > MOST_LOOKS:
            raise ValueError(f"{item!r} makes more than {MOST_LOOKS:,} looks")
        step = float(found["step"] or 0)
        first = None if found["value"] == _NONE else float(found["value"])
        values += [None if first is None else round(first + number * step, 9) for number in range(times)]
    if not values:
        raise ValueError("there is no value; write one for each look, such as 70 85x3")
    return values


def _played(test: RuleTest, rules: Mapping[str, Rule]) -> Iterator[tuple[timedelta, list[Instance]]]:
    """Yield the time since the first look, and every alert there is after it."""
    given = [(figure, series(figure.values)) for figure in test.figures]
    families = {family_of(figure.source) for figure in test.figures}
    instances: dict[str, Instance] = {}
    for number in range(max(len(values) for _, values in given)):
        at = START + number * test.every
        readings = list(_readings(given, number, rules, instances))
        step = advance(rules, instances, readings, at, families=families, sparse=test.job)
        instances |= {one.fingerprint: one for one in step.changed}
        yield number * test.every, list(instances.values())


def _readings(
    given: Sequence[tuple[GivenFigure, Sequence[float | None]]],
    number: int,
    rules: Mapping[str, Rule],
    instances: Mapping[str, Instance],
) -> Iterator[Reading]:
    present = {one.fingerprint: one.level for one in instances.values() if one.state != "resolved"}
    for figure, values in given:
        value = values[number] if number < len(values) else None
        if value is None:
            continue
        words = {word: figure.words.get(word, figure.labels.get(word, word)) for word in SOURCES[figure.source].words}
        fact = Fact(value=value, samples=figure.samples, labels=figure.labels, words=words)
        for rule_id, rule in rules.items():
            if rule.enabled and rule.source == figure.source:
                yield read_fact(rule_id, rule, fact, present)


def _compared(expected: Expectation, instances: Sequence[Instance]) -> Iterator[str]:
    at = age_text(expected.at)
    fires = {_identity(one.rule, one.labels): one for one in instances if one.is_open}
    wanted = {_identity(one.rule, one.labels): one for one in expected.alerts}
    for identity, one in wanted.items():
        found = fires.get(identity)
        if found is None:
            yield f"after {at}: {_named(identity)} was to be {one.level}, and does not fire"
        elif found.level != one.level:
            yield f"after {at}: {_named(identity)} was to be {one.level}, and is {found.level}: {found.message}"
        elif one.message and found.message != one.message:
            yield f"after {at}: {_named(identity)} was to say {one.message!r}, and says {found.message!r}"
    for identity, other in fires.items():
        if identity not in wanted:
            yield f"after {at}: {_named(identity)} fires ({other.level}): {other.message}"


_Identity = tuple[str, tuple[tuple[str, str], ...]]


def _identity(rule: str, labels: Mapping[str, str]) -> _Identity:
    return rule, tuple(sorted(labels.items()))


def _named(identity: _Identity) -> str:
    rule, labels = identity
    return rule + (f" ({', '.join(f'{name} {value}' for name, value in labels)})" if labels else "")
