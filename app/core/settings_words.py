"""What a setting's type takes, in words, for the line that refuses a value."""

from typing import Any

from msgspec import inspect

from app.core.redaction import redact
from app.core.secret import Secret
from app.core.settings_file import EnvironmentText, nearest

_LONGEST = 80
_NAMES: dict[type[inspect.Type], str] = {
    inspect.IntType: "whole number",
    inspect.FloatType: "number",
    inspect.StrType: "text",
    inspect.ListType: "list",
    inspect.VarTupleType: "list",
    inspect.DictType: "table",
    inspect.StructType: "table",
}
_TABLES = (inspect.DictType, inspect.StructType)
_LIST, _TABLE = '; write it as JSON, like ["a", "b"]', '; write it as JSON, like {"key": 1}'
_AS_JSON: dict[type[inspect.Type], str] = {
    inspect.ListType: _LIST,
    inspect.VarTupleType: _LIST,
    inspect.DictType: _TABLE,
    inspect.StructType: _TABLE,
}


def refusal(kind: Any, value: Any) -> str:
    """Return what is wrong with `value` where `kind` is wanted; the value of a secret is not named."""
    wanted = inspect.type_info(kind)
    if isinstance(wanted, inspect.Metadata):
        wanted = wanted.type
    if isinstance(wanted, inspect.CustomType) and issubclass(wanted.cls, Secret):
        return "needs a text"
    # A text where a table is wanted may be the address of a webhook: it tells nothing, and is not shown.
    shown = "a text" if isinstance(value, str) and type(wanted) in _TABLES else _shown(value)
    told = f"{shown} is {_described(wanted, value)}"
    return told + _AS_JSON.get(type(wanted), "") if isinstance(value, EnvironmentText) else told


def _described(wanted: Any, value: Any) -> str:
    if isinstance(wanted, inspect.UnionType):
        return " and ".join(_described(one, value) for one in wanted.types)
    if isinstance(wanted, inspect.LiteralType):
        known = [str(word) for word in wanted.values]
        return f"none of {', '.join(map(repr, known))}{nearest(value, known) if isinstance(value, str) else ''}"
    if isinstance(wanted, inspect.IntType | inspect.FloatType):
        return f"no {_NAMES[type(wanted)]}{_bounds(wanted)}"
    if isinstance(wanted, inspect.StrType) and isinstance(value, str):
        return f"no text of the form {wanted.pattern}" if wanted.pattern else f"no text{_length(wanted)}"
    if isinstance(wanted, inspect.BoolType):
        return "neither true nor false"
    return f"no {_NAMES.get(type(wanted), 'path')}"


def _bounds(wanted: Any) -> str:
    if wanted.ge is not None and wanted.le is not None:
        return f" from {wanted.ge} to {wanted.le}"
    told = {"of at least": wanted.ge, "above": wanted.gt, "at most": wanted.le, "below": wanted.lt}
    words = [f"{word} {bound}" for word, bound in told.items() if bound is not None]
    return f" {' and '.join(words)}" if words else ""


def _length(wanted: inspect.StrType) -> str:
    told = {"at least": wanted.min_length, "at most": wanted.max_length}
    words = [f"{word} {bound} character{'s' if bound > 1 else ''}" for word, bound in told.items() if bound]
    return f" of {' and '.join(words)}" if words else ""


def _shown(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, dict | list | tuple):
        return "a table" if isinstance(value, dict) else "a list"
    return redact(repr(str(value) if isinstance(value, str) else value))[:_LONGEST]
