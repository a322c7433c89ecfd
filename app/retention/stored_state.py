"""Small values of our own in the table of service state."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from app.core.own_tables import service_state


def get(connection: Connection, key: str) -> dict[str, Any] | None:
    """Return the value, or None if nothing is stored."""
    value: dict[str, Any] | None = connection.execute(
        select(service_state.c.value).where(service_state.c.key == key)
    ).scalar()
    return value


def put(connection: Connection, key: str, value: dict[str, Any], now: datetime) -> None:
    """Store the value in place of what was there."""
    values = {"value": value, "updated_at": now}
    changed = connection.execute(update(service_state).where(service_state.c.key == key).values(values))
    if not changed.rowcount:
        connection.execute(insert(service_state).values(key=key, **values))


def remove(connection: Connection, key: str) -> None:
    """Forget the value."""
    connection.execute(delete(service_state).where(service_state.c.key == key))
