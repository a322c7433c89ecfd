"""Shows log files to people: the last lines, new lines over rotations, control characters escaped."""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_BLOCK = 64 * 1024
_POLL_S = 0.25
LEVELS = ("debug", "info", "warning", "error", "critical")


def last_lines(path: Path, count: int) -> list[str]:
    """Return the last `count` lines of a file, reading it from its end; an absent file has none."""
    if count <= 0 or not path.exists():
        return []
    with path.open("rb") as log:
        position = log.seek(0, os.SEEK_END)
        tail = b""
        while position > 0 and tail.count(b"\n") <= count:
            step = min(_BLOCK, position)
            position -= step
            log.seek(position)
            tail = log.read(step) + tail
    return [line.decode("utf-8", "replace") for line in tail.splitlines()[-count:]]


def follow(path: Path, pause: Callable[[float], None] = time.sleep) -> Iterator[str]:
    """Yield whole lines appended to the file from now on, for ever; goes on in the new file after a rotation."""
    log = path.open("rb") if path.exists() else None
    if log is not None:
        log.seek(0, os.SEEK_END)
    rest = b""
    try:
        while True:
            if log is None:
                log = path.open("rb") if path.exists() else None
            piece = log.read(_BLOCK) if log is not None else b""
            *lines, rest = (rest + piece).split(b"\n")
            yield from (line.decode("utf-8", "replace") for line in lines)
            if piece:
                continue
            if log is not None and _rotated(path, log.fileno(), log.tell()):
                log.close()
                log, rest = None, b""
                continue
            pause(_POLL_S)
    finally:
        if log is not None:
            log.close()


def readable(line: str) -> str:
    """Return a log line as people read it: time, level, event, fields; a line that is no JSON as it is, escaped."""
    record = parsed(line)
    if record is None:
        return escaped(line)
    known = {"timestamp", "level", "event", "logger", "exception"}
    fields = " ".join(f"{key}={_short(value)}" for key, value in record.items() if key not in known)
    head = f"{str(record.get('timestamp', ''))[:19].replace('T', ' ')} {str(record.get('level', '')).upper():<8}"
    text = escaped(f"{head} {record.get('event', '')}" + (f"  {fields}" if fields else ""))
    stack = "".join(f"\n    {escaped(part)}" for part in str(record.get("exception", "")).splitlines())
    return text + stack


def at_least(line: str, level: str) -> bool:
    """Tell whether a line has this level or a higher one; lines without a level count as info."""
    record = parsed(line) or {}
    own = str(record.get("level", "info")).lower()
    return LEVELS.index(own if own in LEVELS else "info") >= LEVELS.index(level.lower())


def parsed(line: str) -> dict[str, Any] | None:
    """Return the record of a JSON line, or None where the line is none."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def escaped(text: str) -> str:
    """Return `text` with everything that could act on a terminal made visible."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _rotated(path: Path, descriptor: int, position: int) -> bool:
    held = os.fstat(descriptor)
    try:
        now = path.stat()
    except FileNotFoundError:
        return False  # moved away and not yet made again: what is still written to the old one is not lost
    return (now.st_dev, now.st_ino) != (held.st_dev, held.st_ino) or held.st_size < position
