"""Text from outside on its way to a terminal or a log line (rule R19)."""

import json
import re
from typing import Any

# C0, DEL, C1, line separators, direction marks and lone surrogates: they act on terminals or aren't UTF-8.
_ACTING = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_LAST_OF_ONE_BYTE = 0xFF


def visible(text: str) -> str:
    r"""Return `text` in one line, with characters that act on a terminal shown as `\x1b` or `\u202e`."""
    return _ACTING.sub(_shown, text)


def json_line(document: Any) -> bytes:
    r"""Return `document` as one line of UTF-8 JSON, its keys in the order given, ended by a newline.

    Characters that JSON allows raw but a terminal obeys are written as `\u009b`; reading gives them back.
    Raises ValueError for NaN and infinities.
    """
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return (_ACTING.sub(lambda found: f"\\u{ord(found.group()):04x}", text) + "\n").encode()


def _shown(found: re.Match[str]) -> str:
    code = ord(found.group())
    return f"\\x{code:02x}" if code <= _LAST_OF_ONE_BYTE else f"\\u{code:04x}"
