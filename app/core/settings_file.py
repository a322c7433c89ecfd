"""Settings from TOML files and the environment, each value remembered with the place it came from."""

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from dataclasses import field as data_field
from functools import cached_property
from pathlib import Path
from typing import Any, dataclass_transform

from msgspec import Struct, StructMeta, field

from app.core.errors import SettingsError


class Before(Struct, frozen=True):
    """In `Annotated[...]`: makes of the plain value what the type takes. Raises ValueError naming the value."""

    prepare: Callable[[Any], Any]


class Check(Struct, frozen=True):
    """In `Annotated[...]`: returns the value of that type, or raises ValueError naming the value."""

    check: Callable[[Any], Any]


class EnvironmentText(str):
    """A value of the environment, where numbers, truth values, lists and tables are all written as text."""

    __slots__ = ()


class _SectionType(StructMeta):
    # The options of a Struct don't all pass to its subclasses.
    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> "_SectionType":
        fixed = {"frozen": True, "kw_only": True, "forbid_unknown_fields": True}
        return super().__new__(cls, name, bases, namespace, **options | fixed)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
class Section(Struct, metaclass=_SectionType, frozen=True):
    """Base of every capability's settings: frozen, keywords only.

    `settings_reader.read` makes one of plain values and holds it to its types: bounds in `Annotated[int, Meta(ge=0)]`,
    what a value is written like in `Before`, other rules of one key in `Check`, rules over several keys in
    `__post_init__`, which raises ValueError naming key and value. Made by its constructor, only `__post_init__` checks.
    """


@dataclass(kw_only=True)
class TomlTree:
    """The merged content of several TOML files."""

    values: dict[str, Any] = data_field(default_factory=dict)
    texts: dict[Path, str] = data_field(default_factory=dict)

    @cached_property
    def places(self) -> dict[tuple[str, ...], str]:
        """Key -> `file:line`; keys inside arrays of tables share the line of the key's first appearance."""
        from app.core.toml_lines import key_lines  # noqa: PLC0415 - only mistakes need it

        places: dict[tuple[str, ...], str] = {}
        for path, text in self.texts.items():
            for key, line in key_lines(text).items():
                places.setdefault(key, f"{path}:{line}")
        return places

    def place_of(self, key: tuple[str, ...]) -> str | None:
        """Return where `key`, or the nearest above it, stands."""
        while key:
            if key in self.places:
                return self.places[key]
            key = key[:-1]
        return None


def read_toml_files(paths: Iterable[Path]) -> TomlTree:
    """Read and merge the files that exist. Raises SettingsError naming file and line where one can't be read."""
    tree = TomlTree()
    for path in paths:
        if path.exists():
            _merge_file(tree, path)
    return tree


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ` (did you mean "x"?)` for the known word closest to `word`, or an empty string."""
    import difflib  # noqa: PLC0415 - only mistakes need it

    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f' (did you mean "{close[0]}"?)' if close else ""


def _merge_file(tree: TomlTree, path: Path) -> None:
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: {error}; correct the line or start again from `gengfu config create`") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} can't be read: {error}") from error
    tree.texts[path] = text
    _merge(tree.values, content, path, ())


def _merge(into: dict[str, Any], new: Mapping[str, Any], path: Path, above: tuple[str, ...]) -> None:
    for key, value in new.items():
        present = into.get(key)
        if isinstance(present, dict) and isinstance(value, Mapping):
            _merge(present, value, path, (*above, key))
        elif key in into:
            raise SettingsError(f"{path} sets {'.'.join((*above, key))} again; keep it in one file")
        else:
            into[key] = value
