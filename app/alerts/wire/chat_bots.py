"""Chat bots that answer 200 whatever they think of a message, and say in the body whether they took it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Bot:
    """One sort of them."""

    key: str
    """Where the answer holds its code; 0 is a yes."""
    longest: int
    """Bytes of a message that it takes."""
    busy: frozenset[int]
    """Codes that pass by themselves: too many messages, a fault on their side. All others need a person."""


_FEISHU = Bot(key="code", longest=20_000, busy=frozenset({11232, 230020, 2200}))
BOTS: Mapping[str, Bot] = {
    "dingtalk": Bot(key="errcode", longest=20_000, busy=frozenset({-1, 130101, 90030})),
    "wecombot": Bot(key="errcode", longest=2_000, busy=frozenset({-1, 45009})),
    "feishu": _FEISHU,
    "lark": _FEISHU,
}
"""What Apprise calls the service -> bot. It takes every 200 of theirs for a yes."""


def refused(service: str, answer: bytes) -> int | None:
    """Return the code with which a bot refused a message; None where it took it, or is no such bot."""
    bot = BOTS.get(service)
    if bot is None:
        return None
    try:
        document = json.loads(answer)
    except (ValueError, RecursionError):
        return None  # their front end speaks, with the code of HTTP
    code = document.get(bot.key, 0) if isinstance(document, dict) else 0
    return code if isinstance(code, int) and code != 0 else None


def passes(service: str, code: int) -> bool:
    """Tell whether sending the same again may succeed."""
    return code in BOTS[service].busy


def fitting(service: str, text: str, beside: int) -> str:
    """Return as much of `text` as the bot takes together with `beside` other bytes, its cut marked by an ellipsis."""
    bot = BOTS.get(service)
    encoded = text.encode()
    if bot is None or len(encoded) + beside <= bot.longest:
        return text
    return encoded[: max(bot.longest - beside - 3, 0)].decode("utf-8", "ignore") + "…"
