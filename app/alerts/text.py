"""Text from outside on its way to a terminal or a log line (rule R19)."""

import json
import re
from typing import Any

# C0, DEL, C1, line separators, everything of the class Cf (direction, joining, invisible marks, tags that hide whole
# texts) and lone surrogates: they act on terminals, can't be seen, or aren't UTF-8.
_ACTING = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\ufeff\ufff0-\ufffb\ud800-\udfff\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_LAST_OF_ONE_BYTE = 0xFF
_LAST_OF_TWO_BYTES = 0xFFFF


def visible(text: str) -> str:
    r"""Return `text` in one line, with characters that act on a terminal shown as `\x1b` or `\u202e`."""
    return _ACTING.sub(_shown, text)


def json_line(document: Any) -> bytes:
    r"""Return `document` as one line of UTF-8 JSON, its keys in the order given, ended by a newline.

    Characters that JSON allows raw but a terminal obeys are written as `\u009b`; reading gives them back.
    Raises ValueError for NaN and infinities.
    """
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return (_ACTING.sub(_escaped, text) + "\n").encode()


def _escaped(found: re.Match[str]) -> str:
    """JSON writes characters beyond U+FFFF as two."""
    units = found.group().encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def _shown(found: re.Match[str]) -> str:
    code = ord(found.group())
    if code <= _LAST_OF_ONE_BYTE:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= _LAST_OF_TWO_BYTES else f"\\U{code:08x}"
