"""Small values of our own in the table of service state."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select, text, update

from app.core.own_tables import service_state

_NO_WRITERS = text(f"LOCK TABLE {service_state.name} IN SHARE MODE")


def get(connection: Connection, key: str) -> dict[str, Any] | None:
    """Return the value, or None if nothing is stored."""
    value: dict[str, Any] | None = connection.execute(
        select(service_state.c.value).where(service_state.c.key == key)
    ).scalar()
    return value


def get_settled(connection: Connection, key: str) -> dict[str, Any] | None:
    """Return the value once no transaction is left that may still change it; the caller's must be one that writes.

    Raises DatabaseBusy where one stays longer than the lock time-out.
    """
    if connection.dialect.name == "postgresql":
        # Not the row's lock: one that is just being inserted would not be seen.
        connection.execute(_NO_WRITERS)
    return get(connection, key)


def put(connection: Connection, key: str, value: dict[str, Any], now: datetime) -> None:
    """Store the value in place of what was there."""
    values = {"value": value, "updated_at": now}
    changed = connection.execute(update(service_state).where(service_state.c.key == key).values(values))
    if not changed.rowcount:
        connection.execute(insert(service_state).values(key=key, **values))


def remove(connection: Connection, key: str) -> None:
    """Forget the value."""
    connection.execute(delete(service_state).where(service_state.c.key == key))
