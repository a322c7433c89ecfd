"""One column type for instants on every database."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect, String
from sqlalchemy.types import TypeDecorator, TypeEngine


class UtcDateTime(TypeDecorator[datetime]):
    """An instant: aware UTC in Python; `timestamptz` on PostgreSQL, UTC text `YYYY-MM-DD HH:MM:SS[.ffffff]` on SQLite.

    Whole seconds are bound without a fraction. SQLite compares text: "12:00:00" sorts before "12:00:00.000000",
    so a bound written with a fraction would call a row that stands exactly on it earlier. Without the
    fraction both spellings compare rightly; cut-offs and day windows are therefore whole seconds.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String())
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a naive time {value!r} names no instant; give it a time zone")
        instant = value.astimezone(UTC)
        return to_sqlite_text(instant) if dialect.name == "sqlite" else instant

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - the base class's signature
        if value is None or isinstance(value, datetime):
            return _aware(value)
        return _aware(from_sqlite_text(str(value)))


def to_sqlite_text(instant: datetime) -> str:
    """Return the text under which SQLite stores `instant` (aware, UTC)."""
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ")


def from_sqlite_text(text: str) -> datetime | None:
    """Return the instant written as `text`, or None where it is no time at all."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _aware(value: datetime | None) -> datetime | None:
    if value is None:
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
