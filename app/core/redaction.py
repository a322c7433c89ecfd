"""Keep passwords out of everything that is shown or logged."""

import re

MASK = "***"

# Userinfo up to the last "@" before the path: a password may itself hold "@", and a URL may list several hosts.
_USERINFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*://)(?P<user>[^\s:/@?#;,]*):[^\s/?#;]*@")
# The same where the password holds "/", "?" or "#" unescaped: then everything up to the last "@" of the word goes.
_LOOSE_USERINFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*://)(?P<user>[^\s:/@?#;,]*):[^\s;]*@")
_QUERY_SECRET = re.compile(r"(?i)(?P<key>[?&](?:password|passwd|pwd|token|secret|key|api_key|access_token)=)[^&\s#;]*")


def redact(text: str) -> str:
    """Return `text` with the password of every URL in it, and secret query parameters, replaced by `***`."""
    masked = _USERINFO.sub(rf"\g<scheme>\g<user>:{MASK}@", text)
    masked = _LOOSE_USERINFO.sub(rf"\g<scheme>\g<user>:{MASK}@", masked)
    return _QUERY_SECRET.sub(rf"\g<key>{MASK}", masked)
