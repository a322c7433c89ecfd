"""Settings from TOML files and the environment, each value remembered with the place it came from."""

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from app.core.errors import SettingsError

_HEADER = re.compile(r"^\s*\[\[?\s*([^\]]+?)\s*\]\]?")
_KEY = re.compile(r"""^\s*((?:[A-Za-z0-9_\-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_\-]+|"[^"]*"|'[^']*'))*)\s*=""")


class Section(BaseModel):
    """Base of every capability's settings: frozen, and an unknown key is an error."""

    # Built when first used: the whole of the settings is built in one piece, its sections need not be built before.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)


@dataclass(kw_only=True)
class TomlTree:
    """The merged content of several TOML files."""

    values: dict[str, Any] = field(default_factory=dict)
    places: dict[tuple[str, ...], str] = field(default_factory=dict)
    """Dotted key -> `file:line`; keys inside arrays of tables share the line of the key's first appearance."""

    def place_of(self, location: Iterable[str | int]) -> str | None:
        """Return where the key at `location`, or its nearest parent, stands."""
        key = tuple(str(part) for part in location if not isinstance(part, int))
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
    places = key_lines(text)
    for key, line in places.items():
        tree.places.setdefault(key, f"{path}:{line}")
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


def key_lines(text: str) -> dict[tuple[str, ...], int]:
    """Return the line, from 1, on which each key of a TOML text first stands (tomllib itself does not tell)."""
    lines: dict[tuple[str, ...], int] = {}
    section: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            section = _split(header.group(1))
            lines.setdefault(section, number)
        elif key := _KEY.match(line):
            lines.setdefault((*section, *_split(key.group(1))), number)
    return lines


def _split(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in re.findall(r"\"[^\"]*\"|'[^']*'|[^.]+", dotted))
