"""What a silence is about: `mount=/data`, `alertname=~Disk.*`, `severity!=critical`, as in Alertmanager."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Literal, Protocol, cast

Operator = Literal["=", "!=", "=~", "!~"]
LONGEST_VALUE = 256
"""Characters of a value or pattern: no label is longer, and what a pattern compiles to stays small."""
_LONGEST_NAME = 64
_MEMORY = 1 << 20

_WRITTEN = re.compile(r"\s*(?P<name>[^\s=!~]+)\s*(?P<op>=~|!~|!=|=)\s*(?P<value>.*?)\s*", re.DOTALL)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)


class _Pattern(Protocol):
    def fullmatch(self, text: str) -> object: ...


@dataclass(frozen=True, kw_only=True)
class Matcher:
    """A condition on one label. A label that an alert does not have counts as an empty one."""

    name: str
    op: Operator
    value: str
    """The text, or for =~ and !~ an RE2 pattern of the whole label."""

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether an alert with these labels is meant."""
        found = labels.get(self.name, "")
        same = self._pattern.fullmatch(found) is not None if self.op.endswith("~") else found == self.value
        return same is not self.op.startswith("!")

    @cached_property
    def _pattern(self) -> _Pattern:
        return compile_pattern(self.value)

    def __str__(self) -> str:
        value = self.value.replace("\\", "\\\\").replace('"', '\\"')
        return f'{self.name}{self.op}"{value}"'

    def to_json(self) -> dict[str, str]:
        """Return plain JSON values, readable by `from_json`."""
        return {"name": self.name, "op": self.op, "value": self.value}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Matcher":
        """Return what `to_json` wrote."""
        return cls(name=document["name"], op=document["op"], value=document["value"])


def parse_matcher(text: str) -> Matcher:
    """Return the matcher written as `name=value`, the value in quotes where it begins or ends with a space.

    Raises ValueError that quotes what can't be used.
    """
    found = _WRITTEN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no matcher; write it like mount=/data, alertname=~Disk.* or severity!=critical")
    name, value = found["name"], _unquoted(found["value"])
    if len(name) > _LONGEST_NAME or len(value) > LONGEST_VALUE:
        raise ValueError(f"the matcher {text[:40]!r}... is too long; {LONGEST_VALUE} characters are allowed")
    matcher = Matcher(name=name, op=cast("Operator", found["op"]), value=value)
    if matcher.op.endswith("~"):
        compile_pattern(value)
    return matcher


def parse_matchers(texts: Iterable[str]) -> tuple[Matcher, ...]:
    """Return all matchers of a silence. Raises ValueError where they would silence every alert there is."""
    matchers = tuple(parse_matcher(text) for text in texts)
    # Alertmanager's rule: what also matches an alert without any of these labels was hardly meant.
    if all(matcher.matches({}) for matcher in matchers):
        raise ValueError("these matchers fit every alert; name what is to be silent, such as alertname=DiskUsageHigh")
    return matchers


@cache
def compile_pattern(pattern: str) -> _Pattern:
    """Return a pattern that has to fit the whole text, in RE2: its time grows with the text and with nothing else.

    Raises ValueError that quotes what RE2 can't take.
    """
    import re2  # noqa: PLC0415 - 2.5 MB that only silences with patterns need

    options = re2.Options()
    options.never_capture = True
    options.log_errors = False
    options.max_mem = _MEMORY
    try:
        compiled: _Pattern = re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else str(error)
        raise ValueError(f"the pattern {pattern!r} is none that RE2 takes: {reason}") from error
    return compiled


def _unquoted(value: str) -> str:
    found = _QUOTED.fullmatch(value)
    return re.sub(r"\\(.)", r"\1", found[1], flags=re.DOTALL) if found else value
