"""What an answer over HTTP means for a message: for good or for now, and when to ask again."""

from datetime import datetime
from email.utils import parsedate_to_datetime

PERMANENT = frozenset({301, 308, 400, 401, 403, 404, 410})
"""Codes that need a person. 301 and 308 say that the address moved; other redirects are those of a maintenance page."""
LONGEST_PAUSE_S = 3600.0
"""Longest time for which a receiver can have itself left alone: a wrong `Retry-After` must not silence it for a day."""


def retry_after(text: str | None, now: datetime) -> float | None:
    """Return the seconds that a `Retry-After` asks for, at most an hour; None where it says nothing usable."""
    if text is None:
        return None
    text = text.strip()
    try:
        seconds = float(text) if text.isdecimal() else (parsedate_to_datetime(text) - now).total_seconds()
    except (ValueError, TypeError, OverflowError):  # TypeError: a date without a zone
        return None
    return min(max(seconds, 0.0), LONGEST_PAUSE_S)
