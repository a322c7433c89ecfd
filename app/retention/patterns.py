"""Patterns of file names and of paths below a root, as shells write them."""

import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_ANY_FOLDERS = "**"
_PIECE = re.compile(r"\*+|\?|\[!?\]?[^\]]*\]|.", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Patterns:
    """Patterns of names (`*.log`), and of whole paths where they hold a slash (`cache/**/*.bin`)."""

    names: re.Pattern[str] | None
    paths: re.Pattern[str] | None

    @classmethod
    def of(cls, patterns: Iterable[str]) -> "Patterns | None":
        """Return the patterns, or None where there are none."""
        chosen = list(patterns)
        if not chosen:
            return None
        return cls(
            names=_either([fnmatch.translate(pattern) for pattern in chosen if "/" not in pattern]),
            paths=_either([_path_expression(pattern) for pattern in chosen if "/" in pattern]),
        )

    def match(self, folder: str, name: str) -> bool:
        """Tell whether the file is meant; `folder` is empty or ends with a slash."""
        if self.names is not None and self.names.match(name):
            return True
        return self.paths is not None and self.paths.match(folder + name) is not None


def check_pattern(pattern: str) -> str:
    """Return the pattern. Raises ValueError for one that can match no path below a root."""
    parts = pattern.split("/")
    if "\0" in pattern or not all(parts) or {".", ".."} & set(parts):
        raise ValueError(f"{pattern!r} is no pattern below a root; write it like '*.tmp' or 'cache/**/*.bin'")
    return pattern


def _either(expressions: Sequence[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(expressions)) if expressions else None


def _path_expression(pattern: str) -> str:
    """`**` stands for any number of folders, none included; at the end for everything below."""
    *folders, last = pattern.split("/")
    expressions = [r"(?:[^/]+/)*" if part == _ANY_FOLDERS else f"{_part_expression(part)}/" for part in folders]
    expressions.append(".+" if last == _ANY_FOLDERS else _part_expression(last))
    return rf"(?s:{''.join(expressions)})\Z"


def _part_expression(part: str) -> str:
    """Return the expression of one component; nothing in it matches a slash, as `fnmatch` would."""
    return "".join(map(_piece_expression, _PIECE.findall(part)))


def _piece_expression(piece: str) -> str:
    if piece.startswith("*"):
        return "[^/]*"
    if piece == "?":
        return "[^/]"
    if len(piece) > 1:
        return f"(?!/)(?:{fnmatch.translate(piece)})".replace(r"\Z", "")
    return re.escape(piece)
