"""The envelope of a Redis message: JSON that anybody who can reach the broker may write.

kombu takes it for granted: one that is no JSON, no table or lacks a property ends the worker, with the message that it
held. Here it becomes an empty message that says what is wrong with it, and is refused like any other (tasks.admission).
"""

import binascii
import uuid
from collections.abc import Mapping
from typing import Any

from kombu.transport import virtual
from kombu.utils.json import loads

_LONGEST_TAG = 200


class Unreadable(dict[str, Any]):
    """Stands for an envelope that is no JSON."""

    def __init__(self, why: str, size: int) -> None:
        super().__init__()
        self.why = why
        self.size = size


def read(text: str) -> Any:
    """Return what kombu's own reader returns, or an `Unreadable`."""
    try:
        return loads(text)
    except Exception as error:  # noqa: BLE001 - kombu's decoders of dates and the like may raise anything
        return Unreadable(f"its envelope is no JSON ({type(error).__name__})", len(text))


class CheckedMessage(virtual.Message):  # type: ignore[misc] # kombu ships no types
    """A message that can always be made; `fault` says what is wrong with its envelope, or is None."""

    def __init__(self, payload: Any, channel: Any = None, **kwargs: Any) -> None:
        self.fault = _fault(payload, getattr(channel, "codecs", {}))
        try:
            super().__init__(payload if self.fault is None else _empty(), channel=channel, **kwargs)
        except (binascii.Error, ValueError, TypeError) as error:
            self.fault = f"its body can't be decoded ({type(error).__name__})"
            super().__init__(_empty(), channel=channel, **kwargs)
        if self.errors:
            self.fault = f"its body can't be unpacked ({self.errors[0][0].__name__})"
            self.errors.clear()
        self.size = payload.size if isinstance(payload, Unreadable) else len(self.body or b"")


def _fault(envelope: Any, codecs: Mapping[str, Any]) -> str | None:
    if isinstance(envelope, Unreadable):
        return envelope.why
    if not isinstance(envelope, dict):
        return f"its envelope is no table ({type(envelope).__name__})"
    properties, headers = envelope.get("properties"), envelope.get("headers")
    if not isinstance(properties, dict):
        return "its envelope has no properties"
    if not isinstance(headers, dict | None):
        return f"its headers are no table ({type(headers).__name__})"
    if headers and headers.get("compression"):
        return "it is compressed; a few bytes could become gigabytes"
    return _wrong_body(envelope, properties, codecs) or _wrong_delivery(properties)


def _wrong_body(envelope: Mapping[str, Any], properties: Mapping[str, Any], codecs: Mapping[str, Any]) -> str | None:
    if not isinstance(envelope.get("body"), str | None):
        return f"its body is no text ({type(envelope['body']).__name__})"
    encoding = properties.get("body_encoding")
    plain = encoding is None or (isinstance(encoding, str) and encoding.lower() in {"", "utf-8"})
    if not plain and not (isinstance(encoding, str) and encoding in codecs):
        return f"the encoding of its body is {str(encoding)[:100]!r}"
    kinds = (envelope.get("content-type"), envelope.get("content-encoding"))
    return None if all(isinstance(kind, str | None) for kind in kinds) else "its content type is no text"


def _wrong_delivery(properties: Mapping[str, Any]) -> str | None:
    tag, way = properties.get("delivery_tag"), properties.get("delivery_info")
    if not isinstance(tag, str) or not 0 < len(tag) <= _LONGEST_TAG or not tag.isprintable():
        return f"its delivery tag is {str(tag)[:100]!r}"
    if not isinstance(way, dict) or not all(isinstance(way.get(part), str) for part in ("exchange", "routing_key")):
        return "it does not say which way it came"
    return None


def _empty() -> dict[str, Any]:
    """An envelope of our own, in which a message can be refused in the ordinary way."""
    way = {"exchange": "", "routing_key": ""}
    return {"body": "", "headers": {}, "properties": {"delivery_tag": str(uuid.uuid4()), "delivery_info": way}}
