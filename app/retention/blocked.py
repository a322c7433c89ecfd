"""Why a database refused to delete rows, in words that name what stands in the way."""

from typing import Any

from sqlalchemy import Connection, inspect
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from app.core.database import Database
from app.core.errors import GengfuError
from app.retention.rules import RowRule

_FOREIGN_KEY = frozenset({"23503", "23001"})
"""SQLSTATE foreign_key_violation, and restrict_violation, as PostgreSQL 18 calls what ON DELETE RESTRICT refuses."""


def why_blocked(database: Database, rule: RowRule, error: DBAPIError) -> str:
    """Return one line for the report; for a foreign key the constraint, or on SQLite the tables it may be of."""
    said = " ".join(str(error.orig).split())
    line = f"the database refused to delete rows of {rule.table_name}: {said}"
    if getattr(error.orig, "pgcode", None) in _FOREIGN_KEY:
        diagnosis: Any = getattr(error.orig, "diag", None)
        return f"{line}; {_advice(rule, str(diagnosis.table_name), str(diagnosis.constraint_name))}"
    if "FOREIGN KEY constraint failed" in said:
        named = _referring(database, rule)
        return f"{line}; {'; '.join(_advice(rule, table, how) for table, how in named)}" if named else line
    return line


def _advice(rule: RowRule, table: str, constraint: str) -> str:
    if table in {rule.table.name, rule.table_name}:
        return (
            f"rows of {table} refer to each other ({constraint}): a row can't go before those that refer to it; "
            "declare the constraint ON DELETE SET NULL"
        )
    return f"rows of {table} refer to them ({constraint}): name it among the rule's children, or release those rows"


def _referring(database: Database, rule: RowRule) -> list[tuple[str, str]]:
    """Return (table, column) of the foreign keys that lead to the rule's tables and are none of its children's."""
    try:
        with database.read() as connection:
            return _foreign_keys(connection, rule)
    except (GengfuError, SQLAlchemyError):
        return []  # an explanation is not worth an error


def _foreign_keys(connection: Connection, rule: RowRule) -> list[tuple[str, str]]:
    ours = {table.name for table in rule.tables}
    known = {(child.table.name, child.foreign_key.name) for child in rule.children}
    return [
        (table, column)
        for (_, table), keys in inspect(connection).get_multi_foreign_keys().items()
        for key in keys
        if key["referred_table"] in ours
        for column in key["constrained_columns"]
        if (table, column) not in known
    ]
