"""From what a column holds to a file below a root, in Python and, for whole tables, in SQL."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, LargeBinary, case, cast, func

from app.core.errors import PathRefused
from app.core.safe_files import Reason, show
from app.core.source_tables import SourceTable, SourceTables
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

    def raw(self, dialect: str) -> ColumnElement[Any]:
        """Return what to select: SQLite may hold bytes that are no text, which the driver would choke on."""
        return cast(self.column, LargeBinary) if dialect == "sqlite" else self.column

    def relative(self, value: str | bytes | memoryview) -> str:
        """Return the path below the root that a stored value means; `Root` judges it further.

        Raises PathRefused where it is no UTF-8: such a name can't be compared with those of other rows.
        """
        text = self.text(value)
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
        whens = [
            (func.substr(self.column, 1, len(prefix)) == prefix, func.substr(self.column, len(prefix) + 1))
            for prefix in self.prefixes
        ]
        return case(*whens, else_=self.column)


@dataclass(frozen=True, kw_only=True)
class FileColumns:
    """Every column that names files."""

    tasks: tuple[FileColumn, ...]
    receipts: tuple[FileColumn, ...]

    @property
    def all(self) -> tuple[FileColumn, ...]:
        return (*self.tasks, *self.receipts)

    @property
    def roots(self) -> frozenset[str]:
        """Roots that rows need."""
        return frozenset(column.root for column in self.all)


def file_columns(source: SourceTables, settings: RetentionSettings, folders: Mapping[str, Path]) -> FileColumns:
    """Return the file columns that the application has and the settings give a root."""
    return FileColumns(
        tasks=_of_table(source.tasks, settings.task_files, settings, folders),
        receipts=_of_table(source.receipts, settings.receipt_files, settings, folders) if source.receipts else (),
    )


def _of_table(
    table: SourceTable, mapping: Mapping[str, str], settings: RetentionSettings, folders: Mapping[str, Path]
) -> tuple[FileColumn, ...]:
    return tuple(
        FileColumn(column=table.column(logical), root=root, prefixes=_prefixes(root, settings, folders))
        for logical, root in mapping.items()
        if root and table.has(logical)
    )


def _prefixes(root: str, settings: RetentionSettings, folders: Mapping[str, Path]) -> tuple[str, ...]:
    spellings = {*settings.roots[root].aliases, str(folders[root])}
    return tuple(sorted((f"{spelling}/" for spelling in spellings), key=lambda prefix: (-len(prefix), prefix)))


def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise PathRefused(NOT_UTF8, show(value[:300])) from error
