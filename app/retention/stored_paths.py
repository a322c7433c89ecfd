"""From what a column holds to a file below a root, in Python and, for whole tables, in SQL."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, LargeBinary, Text, case, cast, func

from app.core.errors import PathRefused
from app.core.safe_files import Reason, show
from app.retention.settings import RetentionSettings

NOT_UTF8 = "not_utf8"
_FINAL = frozenset({*Reason, NOT_UTF8, "enotdir", "enametoolong"})


def is_final(reason: str) -> bool:
    """Tell whether a refusal stays the same however often one tries; all others are the operating system's mood."""
    return reason in _FINAL


@dataclass(frozen=True, kw_only=True)
class FileColumn:
    """A column that names files, and how to read it."""

    column: ColumnElement[Any]
    root: str
    prefixes: tuple[str, ...]
    """Spellings of the root at the start of a stored path, each with its closing slash, longest first."""

    @property
    def table(self) -> str:
        """The name of the column's table; empty for a column without one."""
        table = getattr(self.column, "table", None)
        return str(table.fullname) if table is not None else ""

    def raw(self, dialect: str) -> ColumnElement[Any]:
        """Return what to select: SQLite may hold bytes that are no text, which the driver would choke on."""
        return cast(self.column, LargeBinary) if dialect == "sqlite" else self.column

    def relative(self, value: str | bytes | memoryview) -> str:
        """Return the path below the root that a stored value means; `Root` judges it further.

        Raises PathRefused where it is no UTF-8: such a name can't be compared with those of other rows.
        """
        text = value if isinstance(value, str) else self.text(value)
        for prefix in self.prefixes:
            if text.startswith(prefix):
                return text[len(prefix) :]
        return text

    @staticmethod
    def text(value: str | bytes | memoryview) -> str:
        """Return a stored value as text. Raises PathRefused where it is no UTF-8."""
        return value if isinstance(value, str) else _decoded(bytes(value))

    def relative_sql(self) -> ColumnElement[Any]:
        """Return the same as an SQL expression."""
        # SQLite may hold a path as a blob, which equals no text.
        stored = cast(self.column, Text)
        whens = [
            (func.substr(stored, 1, len(prefix)) == prefix, func.substr(stored, len(prefix) + 1))
            for prefix in self.prefixes
        ]
        return case(*whens, else_=stored)


@dataclass(frozen=True, kw_only=True)
class FileColumns:
    """Columns that name files."""

    all: tuple[FileColumn, ...] = ()

    @property
    def roots(self) -> frozenset[str]:
        """Roots that they name."""
        return frozenset(column.root for column in self.all)


def file_column(
    column: ColumnElement[Any], root: str, settings: RetentionSettings, folders: Mapping[str, Path]
) -> FileColumn:
    """Return a column whose values name files of `root`."""
    return FileColumn(column=column, root=root, prefixes=_prefixes(root, settings, folders))


def _prefixes(root: str, settings: RetentionSettings, folders: Mapping[str, Path]) -> tuple[str, ...]:
    spellings = {*settings.roots[root].aliases, str(folders[root])}
    return tuple(sorted((f"{spelling}/" for spelling in spellings), key=lambda prefix: (-len(prefix), prefix)))


def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise PathRefused(NOT_UTF8, show(value[:300])) from error
