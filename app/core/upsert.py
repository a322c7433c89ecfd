"""INSERT with ON CONFLICT, which each database's dialect has for itself."""

from typing import Any

from sqlalchemy import Table


def insert_into(table: Table, dialect: str) -> Any:
    """Return the INSERT of `dialect`. No other one is imported: PostgreSQL's takes a fifth of a look at the status."""
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - see above

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite  # noqa: PLC0415 - see above

    return sqlite.insert(table)
