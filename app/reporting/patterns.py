"""Regular expressions of the settings, in an engine whose time grows with the message and with nothing else."""

from typing import Protocol

LONGEST_PATTERN = 256
"""Characters of a pattern: what it compiles to stays small."""
_MEMORY = 1 << 20


class Pattern(Protocol):
    """A compiled pattern."""

    def search(self, text: str) -> object:
        """Return what is found anywhere in `text`, or None."""
        ...


def compile_pattern(pattern: str) -> Pattern:
    """Return `pattern` compiled for matching whatever the case.

    RE2 (https://github.com/google/re2) runs in linear time, where the standard library's engine can take years over
    `(a+)+$`; it has no look-around and no back-references. Raises ValueError that quotes what it can't take.
    """
    import re2  # noqa: PLC0415 - 2.5 MB that only rules with patterns need

    if not pattern:
        raise ValueError("an empty pattern is found in every message; remove it from `matches`")
    if len(pattern) > LONGEST_PATTERN:
        raise ValueError(
            f"the pattern {pattern[:40]!r}... has {len(pattern)} characters; {LONGEST_PATTERN} are allowed"
        )
    options = re2.Options()
    options.case_sensitive = False
    options.never_capture = True  # captures cost ten times as much
    options.log_errors = False
    options.max_mem = _MEMORY
    try:
        compiled: Pattern = re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else str(error)
        raise ValueError(f"the pattern {pattern!r} is none that RE2 takes: {reason}") from error
    if compiled.search("") is not None:
        raise ValueError(f"the pattern {pattern!r} is found in every message; make it say more")
    return compiled
