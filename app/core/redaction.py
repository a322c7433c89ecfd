"""Keep passwords out of everything that is shown or logged."""

import re

MASK = "***"

# All of these take time linear in the text, which may be megabytes that an attacker wrote: no scheme is looked for.
# Userinfo up to the last "@" before the path: a password may itself hold "@", and a URL may list several hosts.
_USERINFO = re.compile(r"(?P<user>://[^\s:/@?#;,]*):[^\s/?#;]*@")
# The same where the password holds "/", "?" or "#" unescaped: then everything up to the last "@" of the word goes.
_WORD = re.compile(r"[^\s;]+")
_USER = re.compile(r"://[^\s:/@?#;,]*:")
_QUERY_SECRET = re.compile(r"(?i)(?P<key>[?&](?:password|passwd|pwd|token|secret|key|api_key|access_token)=)[^&\s#;]*")


def redact(text: str) -> str:
    """Return `text` with the password of every URL in it, and secret query parameters, replaced by `***`."""
    masked = _USERINFO.sub(rf"\g<user>:{MASK}@", text)
    masked = _WORD.sub(_without_loose_userinfo, masked) if "://" in masked else masked
    return _QUERY_SECRET.sub(rf"\g<key>{MASK}", masked)


def _without_loose_userinfo(found: re.Match[str]) -> str:
    word = found.group()
    user, end = _USER.search(word), word.rfind("@")
    return f"{word[: user.end()]}{MASK}{word[end:]}" if user and user.end() <= end else word
