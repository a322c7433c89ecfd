"""Text that every database takes: PostgreSQL refuses NUL characters, and neither kind takes lone surrogates."""

from typing import Any

from sqlalchemy import JSON, Dialect, Text
from sqlalchemy.types import TypeDecorator


class StorableText(TypeDecorator[str]):
    """Text from anywhere, such as an error's message; what can't be stored is backslash-escaped."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - the base class's signature
        return None if value is None else storable_text(value)


class StorableJson(TypeDecorator[Any]):
    """JSON values, every text in them as `StorableText` stores it."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002 - the base class's signature
        return storable(value)


def storable_text(text: str) -> str:
    r"""Return `text` with NUL characters as `\x00` and lone surrogates, as in names that are no UTF-8, as `\udc80`."""
    if "\0" in text:
        text = text.replace("\0", r"\x00")
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def storable(value: Any) -> Any:
    """Return JSON values with every text in them, keys too, as `storable_text` has it."""
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, dict):
        return {storable(key): storable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [storable(inner) for inner in value]
    return value
