"""One alert, and reading alerts that somebody else wrote."""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, cast, get_args

from app.core.settings_file import nearest
from app.core.storable import storable_text

Severity = Literal["critical", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
RANK: dict[str, int] = {"warning": 1, "error": 2, "critical": 3}
"""Severity -> urgency; an alert whose rank grows was escalated."""

MESSAGE_CHARACTERS = 2000
_NAME_CHARACTERS = 100
_LABELS = 16
_LABEL_NAME_CHARACTERS = 64
_LABEL_VALUE_CHARACTERS = 256


@dataclass(frozen=True, kw_only=True)
class Alert:
    """A condition that holds. Only `rule` and `labels` are its identity: severity, value and text may change."""

    type: str
    """A slug for machines, such as `failure_rate`."""
    alertname: str
    """The name people and other tools know it by, such as `TaskFailureRateHigh`."""
    message: str
    """One line with value and threshold."""
    severity: Severity
    rule: str
    """Id of the rule it comes from; the type where no rule is known."""
    value: float | None = None
    threshold: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    """What the alert is about, such as the mount: part of its identity."""

    @property
    def fingerprint(self) -> str:
        """16 hex digits that stay the same as long as the alert is about the same thing."""
        return fingerprint_of(self.rule, self.labels)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, readable by `parse_alert`."""
        return {
            "type": self.type,
            "alertname": self.alertname,
            "message": self.message,
            "severity": self.severity,
            "value": self.value,
            "threshold": self.threshold,
            "labels": dict(self.labels),
            "rule": self.rule,
            "fingerprint": self.fingerprint,
        }


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """An alert that can't be sent as it was handed over."""

    index: int | None
    """Its place in the list, from 0; None where the list itself is none."""
    why: str


def fingerprint_of(rule: str, labels: Mapping[str, str]) -> str:
    """Return 16 hex digits that stand for a rule and what its alert is about."""
    return _fingerprint(rule, tuple(sorted(labels.items())))


@lru_cache(maxsize=16_384)  # the same ten thousand are asked for each minute
def _fingerprint(rule: str, labels: tuple[tuple[str, str], ...]) -> str:
    identity = json.dumps([rule, labels], ensure_ascii=True)
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def parse_alerts(items: object) -> tuple[list[Alert], list[Refusal]]:
    """Return the usable alerts of a list and a refusal for each of the others."""
    if not isinstance(items, list | tuple):
        why = f'alerts come as a list such as [{{"type": ..., "message": ..., "severity": ...}}], not {_kind(items)}'
        return [], [Refusal(index=None, why=why)]
    alerts: list[Alert] = []
    refusals: list[Refusal] = []
    for index, item in enumerate(items):
        try:
            alerts.append(parse_alert(item))
        except ValueError as error:
            refusals.append(Refusal(index=index, why=str(error)))
    return alerts, refusals


def parse_alert(item: object) -> Alert:
    """Return the alert that a plain dict describes; it needs `type`, `message` and `severity`.

    A long message is cut to 2,000 characters; keys we don't know are passed over. Raises ValueError naming the bad key.
    """
    if not isinstance(item, Mapping):
        raise ValueError(f"an alert is a dict with type, message and severity, not {_kind(item)}")  # noqa: TRY004 - one error type for all refusals
    kind = _text(item, "type", _NAME_CHARACTERS)
    return Alert(
        type=kind,
        alertname=_text(item, "alertname", _NAME_CHARACTERS, default=_camel_case(kind)),
        message=_message(item),
        severity=_severity(item),
        rule=_text(item, "rule", _NAME_CHARACTERS, default=kind),
        value=_number(item, "value"),
        threshold=_number(item, "threshold"),
        labels=_labels(item.get("labels")),
    )


def shortened(text: str) -> str:
    """Return a message of at most 2,000 characters, its cut marked by an ellipsis."""
    return text if len(text) <= MESSAGE_CHARACTERS else text[: MESSAGE_CHARACTERS - 1] + "…"


def _text(item: Mapping[Any, Any], key: str, longest: int, default: str | None = None) -> str:
    value = item.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or not value.strip():
        found = "is missing" if value is None else f"is {_kind(value)}" if value else "is empty"
        raise ValueError(f"{key} {found}; give it a text")
    if len(value) > longest:
        raise ValueError(f"{key} has {len(value)} characters; at most {longest} are taken")
    return storable_text(value)


def _message(item: Mapping[Any, Any]) -> str:
    return shortened(_text(item, "message", longest=10**9))


def _severity(item: Mapping[Any, Any]) -> Severity:
    value = item.get("severity")
    if value in SEVERITIES:
        return cast("Severity", value)
    shown = repr(value)[:_NAME_CHARACTERS]
    hint = nearest(value.lower()[:_NAME_CHARACTERS], SEVERITIES) if isinstance(value, str) else ""
    raise ValueError(f"severity {shown} is none of critical, warning, error{hint}")


def _number(item: Mapping[Any, Any], key: str) -> float | None:
    value = item.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
        raise ValueError(f"{key} {repr(value)[:_NAME_CHARACTERS]} is no finite number")
    return value


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False


def _labels(value: object) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(f"labels is {_kind(value)}; give it a dict of texts")  # noqa: TRY004 - one error type for all refusals
    if len(value) > _LABELS:
        raise ValueError(f"labels has {len(value)} entries; at most {_LABELS} are taken")
    return dict(_label(name, content) for name, content in value.items())


def _label(name: object, content: object) -> tuple[str, str]:
    if not isinstance(name, str) or not 0 < len(name) <= _LABEL_NAME_CHARACTERS:
        shown = repr(name)[:_NAME_CHARACTERS]
        raise ValueError(f"label name {shown} is no text of 1 to {_LABEL_NAME_CHARACTERS} characters")
    if not isinstance(content, str | int | float):
        raise ValueError(f"label {name!r} is {_kind(content)}; give it a text")  # noqa: TRY004 - one error type for all refusals
    if isinstance(content, str) and len(content) > _LABEL_VALUE_CHARACTERS:
        raise ValueError(f"label {name!r} has {len(content)} characters; at most {_LABEL_VALUE_CHARACTERS} are taken")
    return storable_text(name), storable_text(str(content)[:_LABEL_VALUE_CHARACTERS])


def _camel_case(slug: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[\W_]+", slug)) or slug


def _kind(value: object) -> str:
    return "None" if value is None else f"a value of type {type(value).__name__}"
