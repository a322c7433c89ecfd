"""JSON lines in files, readable lines on a terminal. One record is one write, so that processes may share a file."""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any, Literal

import orjson
import structlog

from app.core.redaction import redact
from app.observability.settings import LoggingSettings

Role = Literal["app", "worker", "beat", "service"]

ROLE_FILES: dict[Role, str] = {
    "app": "app.log",
    "worker": "celery_worker.log",
    "beat": "celerybeat.log",
    "service": "service.log",
}
ACTIVE_LOGS = frozenset({*ROLE_FILES.values(), "access.log", "broker.log"}) | {
    f"{level}_alerts.log" for level in ("critical", "warning", "error")
}
"""Names in the log folder that something may be writing to right now; the clean-up never removes them."""

# A longer single write could be torn by another process's.
_LONGEST_LINE = 16 * 1024
_FALLBACK_PERIOD_S = 60.0

EventDict = MutableMapping[str, Any]


class LineFile:
    """Appends whole lines to a file; opens it again when it was rotated away (rule R16)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self._inode = (-1, -1)
        self._next_complaint = 0.0
        self.lost = 0
        """Lines that could not be written."""

    def write(self, line: bytes) -> None:
        """Write one line; a failure is counted and told on stderr at most once a minute, never raised."""
        try:
            os.write(self._open(), line)
        except OSError as error:
            self.lost += 1
            self._complain(error)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> int:
        if self._descriptor >= 0 and self._inode_on_disk() == self._inode:
            return self._descriptor
        self.close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._inode = self._inode_on_disk()
        return self._descriptor

    def _inode_on_disk(self) -> tuple[int, int]:
        try:
            facts = os.stat(self._path)  # noqa: PTH116 - once per line: half the cost of Path.stat
        except FileNotFoundError:
            return (0, 0)
        return facts.st_dev, facts.st_ino

    def _complain(self, error: OSError) -> None:
        if time.monotonic() >= self._next_complaint:
            self._next_complaint = time.monotonic() + _FALLBACK_PERIOD_S
            sys.stderr.write(
                f"gengfu: {self._path} can't be written ({error.strerror}); {self.lost} lines lost so far\n"
            )


class _Sinks:
    """Where the lines of this process go."""

    def __init__(self) -> None:
        self.role_file: LineFile | None = None
        self.app_file: LineFile | None = None
        self.console: Callable[[EventDict], str] | None = None
        self.lock = threading.Lock()

    def close(self) -> None:
        for file in (self.role_file, self.app_file):
            if file is not None:
                file.close()
        self.role_file = self.app_file = self.console = None

    def emit(self, event: EventDict) -> None:
        line = _encoded(event)
        with self.lock:
            for file in (self.role_file, self.app_file if str(event.get("logger", "")).startswith("gengfu") else None):
                if file is not None:
                    file.write(line)
            if self.console is not None:
                sys.stderr.write(self.console(dict(event)) + "\n")


_sinks = _Sinks()


def configure_logs(role: Role, settings: LoggingSettings, folder: Path) -> None:
    """Send this process's structlog events and standard-library records to the files of its role.

    `app.log` gets every event of our own whatever the role; worker, beat and service have their own file beside it.
    """
    level = logging.getLevelNamesMapping()[settings.level]
    _sinks.close()
    _sinks.role_file = LineFile(folder / ROLE_FILES[role])
    _sinks.app_file = LineFile(folder / ROLE_FILES["app"]) if role != "app" else None
    if settings.console == "on" or (settings.console == "auto" and sys.stderr.isatty()):
        _sinks.console = _console_renderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _hand_to_sinks,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_NamedLogger,
        cache_logger_on_first_use=False,
    )
    _take_over_standard_logging(level)


def _hand_to_sinks(logger: Any, _method: str, event: EventDict) -> EventDict:
    event["logger"] = logger.name
    _sinks.emit(event)
    raise structlog.DropEvent


class _NamedLogger:
    """structlog's innermost logger: only carries the name, the sinks do the writing."""

    def __init__(self, name: str = "gengfu", *_rest: Any) -> None:
        self.name = name


class _StandardHandler(logging.Handler):
    """Hands records of libraries (Celery, SQLAlchemy) to the same sinks."""

    def emit(self, record: logging.LogRecord) -> None:
        event: EventDict = {
            **structlog.contextvars.get_contextvars(),
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "timestamp": structlog.processors.TimeStamper(fmt="iso", utc=True)(None, "", {})["timestamp"],
        }
        if record.exc_info:
            event["exception"] = logging.Formatter().formatException(record.exc_info)
        _sinks.emit(event)


def _take_over_standard_logging(level: int) -> None:
    root = logging.getLogger()
    for handler in [h for h in root.handlers if isinstance(h, _StandardHandler)]:
        root.removeHandler(handler)
    root.addHandler(_StandardHandler())
    root.setLevel(level)


def _encoded(event: Mapping[str, Any]) -> bytes:
    """One JSON line in reading order, passwords masked, at most 16 KiB."""
    first = {key: event[key] for key in ("timestamp", "level", "event", "logger") if key in event}
    ordered = {**first, **{key: value for key, value in event.items() if key not in first}}
    line = orjson.dumps(_cleaned(ordered), default=str, option=orjson.OPT_NON_STR_KEYS)
    if len(line) >= _LONGEST_LINE:
        cut = {key: value if key in first else str(value)[:500] for key, value in ordered.items()}
        cut["event"] = str(cut.get("event", ""))[:2000]
        line = orjson.dumps(_cleaned({**cut, "cut": True}), default=str)[:_LONGEST_LINE]
    return line + b"\n"


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        clean = redact(value) if "://" in value else value
        # Names of files may hold bytes that are no UTF-8; orjson takes no lone surrogates.
        return clean if clean.isprintable() else clean.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {str(key): _cleaned(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_cleaned(inner) for inner in value]
    return value


def _console_renderer() -> Callable[[EventDict], str]:
    render = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)

    def rendered(event: EventDict) -> str:
        return str(render(None, str(event.get("level", "info")), _cleaned_for_terminal(event)))

    return rendered


def _cleaned_for_terminal(event: EventDict) -> EventDict:
    """Escape control characters: text from outside must not act on the terminal."""
    return {
        key: _printable(value) if isinstance(value, str) and key != "exception" else value
        for key, value in event.items()
    }


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in redact(text))
