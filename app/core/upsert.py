"""INSERT with ON CONFLICT, which each database's dialect has for itself."""

from typing import Any

from sqlalchemy import Column, Connection, Table


def insert_into(table: Table, dialect: str) -> Any:
    """Return the INSERT of `dialect`. No other one is imported: PostgreSQL's takes a fifth of a look at the status."""
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - see above

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite  # noqa: PLC0415 - see above

    return sqlite.insert(table)


def execute_many(connection: Connection, statement: Any, rows: list[dict[str, Any]], key: Column[Any]) -> None:
    """Execute an INSERT with ON CONFLICT for many rows, a thousand in a round trip.

    SQLAlchemy puts rows together only where the statement returns something, such as `key`; for each of the others
    psycopg2 waits for an answer. SQLite, which answers at once, gets them one by one.
    """
    if rows:
        connection.execute(statement.returning(key) if connection.dialect.name == "postgresql" else statement, rows)
