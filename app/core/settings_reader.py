"""Plain values, from TOML and the environment, into sections: key by key, so that every mistake is told at once."""

import math
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import msgspec

from app.core.errors import SettingsError
from app.core.measures import age_text
from app.core.redaction import redact
from app.core.secret import Sealed, Secret
from app.core.settings_file import Before, Check, EnvironmentText, Section, nearest

Location = tuple[str, ...]
"""The key and those above it; entries of a list are counted from 0."""
PlaceOf = Callable[[Location], str]
Chosen = TypeVar("Chosen", bound=Section)

_TRUTH = {"true": True, "1": True, "yes": True, "y": True, "on": True, "t": True} | {
    "false": False,
    "0": False,
    "no": False,
    "n": False,
    "off": False,
    "f": False,
}
_WRONG: Any = object()


def read(kind: type[Chosen], values: Any, place_of: PlaceOf | None = None) -> Chosen:
    """Return the section that a table of plain values describes; sections among them are taken as they are.

    Raises SettingsError with a line for each wrong, missing or unknown key; `place_of` leads it with where that stands.
    """
    reading = _Reading()
    made: Chosen = reading.value(kind, values, ())
    if reading.problems:
        raise SettingsError("\n".join(problem.line(place_of) for problem in reading.problems))
    return made


def plain(value: Any) -> Any:
    """Return settings the way TOML and JSON hold them, passwords masked."""
    if isinstance(value, Section):
        return {key: plain(getattr(value, field.name)) for key, field in keys_of(type(value)).items()}
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, Secret):
        return str(value) if isinstance(value, Sealed) else redact(value.get_secret_value())
    if isinstance(value, timedelta):
        return age_text(value)
    return str(value) if isinstance(value, Path) else value


@cache
def keys_of(kind: type[Section]) -> Mapping[str, msgspec.structs.FieldInfo]:
    """Return the keys of a section, as a file spells them, with their types and defaults."""
    return {key.encode_name: key for key in msgspec.structs.fields(kind)}


def unfolded(kind: Any, value: Any) -> Any:
    """Return the list or table that a text of the environment holds as JSON, where `kind` is one; else the value.

    What stands inside has types of its own. Raises ValueError where it is no JSON.
    """
    if not isinstance(value, EnvironmentText) or not _holds_others(kind) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return msgspec.json.decode(str(value))
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f'is no JSON ({error}); write a list like ["a", "b"], a table like {{"key": 1}}') from error


def kind_below(kind: Any, key: str) -> Any:
    """Return the type of what stands under `key` in a section or table, or None where that can't be."""
    bare = _bare(kind)
    if _is_section(bare):
        found = keys_of(bare).get(key)
        return found and found.type
    return get_args(bare)[1] if get_origin(bare) is dict else None


class _Problem(msgspec.Struct, frozen=True, kw_only=True):
    location: Location
    told: str
    unknown: bool = False

    def line(self, place_of: PlaceOf | None) -> str:
        place = f"{place_of(self.location)}: " if place_of else ""
        key = ".".join(self.location)
        if self.unknown:
            return f"{place}unknown key {key}{self.told}"
        return f"{place}{key}: {self.told}" if key else place + self.told


class _Reading:
    """One pass over a tree of values. What is wrong gathers in `problems`; `_WRONG` then stands for the value."""

    def __init__(self) -> None:
        self.problems: list[_Problem] = []

    def value(self, kind: Any, given: Any, location: Location) -> Any:
        inner = _without_none(kind)
        if inner is not kind:
            return None if given is None else self.value(inner, given, location)
        value = self._attempt(lambda given: unfolded(kind, given), given, location)
        for mark in _marks(kind, Before):
            value = self._attempt(mark.prepare, value, location)
        if value is not _WRONG:
            value = self._converted(kind, value, location)
        for mark in _marks(kind, Check):
            value = self._attempt(mark.check, value, location)
        return value

    def _converted(self, kind: Any, value: Any, location: Location) -> Any:
        bare = _bare(kind)
        if _is_section(bare):
            return value if isinstance(value, bare) else self._section(bare, value, location)
        origin = get_origin(bare)
        if origin is dict:
            return self._table(kind, value, location)
        if origin in {list, tuple}:
            return self._sequence(kind, value, location)
        return self._single(kind, value, location)

    def _section(self, kind: type[Section], values: Any, location: Location) -> Any:
        if not isinstance(values, Mapping):
            return self._refuse(kind, values, location)
        known, before = keys_of(kind), len(self.problems)
        made = {
            key.name: self.value(key.type, values[name], (*location, name))
            for name, key in known.items()
            if name in values
        }
        for name in values:
            if name not in known:
                hint = nearest(str(name), known)
                self.problems.append(_Problem(location=(*location, str(name)), told=hint, unknown=True))
        for name, key in known.items():
            if key.required and name not in values:
                self._tell("is missing, and has no default", (*location, name))
        return self._attempt(lambda made: kind(**made), made, location) if len(self.problems) == before else _WRONG

    def _table(self, kind: Any, values: Any, location: Location) -> Any:
        if not isinstance(values, Mapping):
            return self._refuse(kind, values, location)
        of_keys, of_values = get_args(_bare(kind))
        before = len(self.problems)
        made = {}
        for key, value in values.items():
            below = (*location, str(key))
            made[self.value(of_keys, key, below)] = self.value(of_values, value, below)
        return self._of_length(kind, made, location) if len(self.problems) == before else _WRONG

    def _sequence(self, kind: Any, values: Any, location: Location) -> Any:
        if not isinstance(values, list | tuple):
            return self._refuse(kind, values, location)
        inner, before = get_args(_bare(kind))[0], len(self.problems)
        made = [self.value(inner, value, (*location, str(number))) for number, value in enumerate(values)]
        if len(self.problems) > before:
            return _WRONG
        return self._of_length(kind, made if get_origin(_bare(kind)) is list else tuple(made), location)

    def _of_length(self, kind: Any, made: Any, location: Location) -> Any:
        least = max((mark.min_length or 0 for mark in _marks(kind, msgspec.Meta)), default=0)
        return made if len(made) >= least else self._tell(f"needs at least {least} of them, has {len(made)}", location)

    def _single(self, kind: Any, given: Any, location: Location) -> Any:
        if isinstance(given, Secret | Path) and isinstance(given, _bare(kind)):
            return given
        value = _from_text(kind, given) if isinstance(given, EnvironmentText) else given
        try:
            made = msgspec.convert(value, kind, dec_hook=_decoded)
        except msgspec.ValidationError:
            return self._refuse(kind, value, location)
        usable = not isinstance(made, float) or math.isfinite(made)
        return made if usable else self._refuse(kind, value, location)

    def _attempt(self, step: Callable[[Any], Any], value: Any, location: Location) -> Any:
        if value is _WRONG:
            return _WRONG
        try:
            return step(value)
        except ValueError as error:
            return self._tell(str(error), location)

    def _refuse(self, kind: Any, value: Any, location: Location) -> Any:
        from app.core.settings_words import refusal  # noqa: PLC0415 - only mistakes need it

        return self._tell(refusal(kind, value), location)

    def _tell(self, told: str, location: Location) -> Any:
        self.problems.append(_Problem(location=location, told=told))
        return _WRONG


def _marks(kind: Any, sort: type[Any]) -> list[Any]:
    return [mark for mark in getattr(kind, "__metadata__", ()) if isinstance(mark, sort)]


def _bare(kind: Any) -> Any:
    return kind.__origin__ if hasattr(kind, "__metadata__") else kind


def _without_none(kind: Any) -> Any:
    """Return the type itself of an optional one."""
    if get_origin(kind) not in {Union, UnionType}:
        return kind
    others = [one for one in get_args(kind) if one is not NoneType]
    return others[0] if len(others) == 1 else kind


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)


def _holds_others(kind: Any) -> bool:
    bare = _bare(kind)
    return _is_section(bare) or get_origin(bare) in {dict, list, tuple}


def _from_text(kind: Any, text: str) -> Any:
    """Return the number or truth value that a text stands for where one is wanted, else the text."""
    bare, word = _bare(kind), text.strip()
    try:
        if bare is bool:
            return _TRUTH.get(word.lower(), word)
        return bare(word) if bare in {int, float} else str(text)
    except ValueError:
        return word


def _decoded(kind: type[Any], value: Any) -> Any:
    """Make what msgspec does not know; it turns the error into one of its own."""
    if isinstance(value, str) and kind in {Secret, Sealed, Path}:
        return kind(value)
    raise ValueError(f"no {kind.__name__}")
