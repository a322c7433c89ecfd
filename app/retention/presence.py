"""Whether the tables and columns of rules are there and may be read, asked before anything else is."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Column, Table, select

from app.core.database import Database
from app.core.errors import DatabaseRefused, SchemaMismatch
from app.retention.rules import RowRule, RuleBook
from app.retention.stored_paths import FileColumn, FileColumns


def why_refused(database: Database, rule: RowRule) -> str | None:
    """Return why a rule can't run: a table or column that is not there, or may not be read; None where all is well."""
    for table in rule.tables:
        columns = [column for column in rule.columns if column.table is table]
        if why := _why_not(database, table, columns):
            return why
    return None


def present_references(database: Database, book: RuleBook) -> tuple[FileColumns, dict[str, str]]:
    """Return the columns that can be asked which files are in use, and root -> why others can't.

    Of a root with such a column nothing may be removed: rows that we don't see may need it.
    """
    present: list[FileColumn] = []
    unknown: dict[str, str] = {}
    by_table: dict[str, list[FileColumn]] = {}
    for file in book.references:
        by_table.setdefault(file.table, []).append(file)
    for name, files in by_table.items():
        # Of a table that need not be there, any column may be missing; the others are asked all the same.
        groups = [[file] for file in files] if name in book.optional else [files]
        for group in groups:
            error = _trouble(database, group[0].column.table, [file.column for file in group])
            if error is None:
                present += group
            elif name not in book.optional or isinstance(error, DatabaseRefused):
                unknown |= {
                    file.root: f"nobody can tell whether files of root {file.root} are in use: {error}"
                    for file in group
                }
    return FileColumns(all=tuple(present)), unknown


def _why_not(database: Database, table: Table, columns: Iterable[Column[Any]] | Sequence[Any]) -> str | None:
    error = _trouble(database, table, columns)
    return None if error is None else str(error)


def _trouble(
    database: Database, table: Table, columns: Iterable[Column[Any]] | Sequence[Any]
) -> SchemaMismatch | DatabaseRefused | None:
    try:
        with database.read() as connection:
            connection.execute(select(*columns).select_from(table).limit(0))
    except SchemaMismatch as error:
        # `gengfu db check`, which the error names, looks at [source] only.
        said = str(getattr(error.__cause__, "orig", error)).splitlines()[0]
        return SchemaMismatch(f"{table.fullname} is not as its rule needs it: {said}; see `gengfu retention check`")
    except DatabaseRefused as error:
        return error
    return None
