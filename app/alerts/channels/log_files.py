"""One JSON line per alert in logs/critical_alerts.log, warning_alerts.log or error_alerts.log."""

import contextlib
import errno
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from app.alerts.alert import SEVERITIES, Severity
from app.alerts.channel import ChannelContext, DeliveryError, Notification, Told
from app.alerts.targets import TargetSettings, check_keys
from app.alerts.text import json_line
from app.alerts.wire.wording import said

LONGEST_LINE = 16 * 1024
"""Bytes that one write puts into a file whole, however many processes append to it."""
_SHORT_MESSAGE = 500


class Channel:
    """The severity files. Opened for each line, so that rotation by renaming needs no word to us (rule R16)."""

    grouped: ClassVar[bool] = False

    def __init__(self, context: ChannelContext, _options: TargetSettings) -> None:
        self.name = context.target or "log_files"
        self._folder = context.logs

    @classmethod
    def check(cls, options: TargetSettings) -> None:
        """Raise ValueError naming the key where the options can't serve."""
        check_keys(options, ())

    def send(self, notification: Notification) -> None:
        """Append a line for each alert and see it on the disk. Raises DeliveryError."""
        for told in notification.alerts:
            self._write(told, notification.at)

    def test(self) -> str:
        """Open the three files for writing, write nothing, and say so. Raises DeliveryError.

        What reads these files can't tell a test from an alert.
        """
        for severity in SEVERITIES:
            path = self._path(severity)
            with self._writing(path):
                os.close(_opened(path))
        return f"the three files in {self._folder} can be written; nothing was written"

    def _path(self, severity: Severity) -> Path:
        return self._folder / f"{severity}_alerts.log"

    @contextlib.contextmanager
    def _writing(self, path: Path) -> Iterator[None]:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            yield
        except OSError as error:
            raise DeliveryError(f"can't write {path}: {error.strerror}; free space or fix its permissions") from error

    def _write(self, told: Told, at: datetime) -> None:
        path = self._path(told.alert.severity)
        with self._writing(path):
            _append(path, _line(told, at))


def _line(told: Told, at: datetime) -> bytes:
    document = _document(told, at)
    # Escaped, 16 labels may take 30 KB; and 2,000 invisible characters 24 KB, twelve each.
    without_labels = {"labels": {}, "labels_left_out": len(told.alert.labels)}
    smaller: tuple[dict[str, Any], ...] = (
        {},
        without_labels,
        {**without_labels, "message": f"{said(told)[:_SHORT_MESSAGE]}…"},
    )
    return next(line for change in smaller if len(line := json_line({**document, **change})) <= LONGEST_LINE)


def _document(told: Told, at: datetime) -> dict[str, Any]:
    """The keys in reading order."""
    alert = told.alert
    return {
        "timestamp": at.isoformat(timespec="milliseconds"),
        "level": alert.severity,
        "event": told.event,
        "message": said(told),
        "alertname": alert.alertname,
        "value": alert.value,
        "threshold": alert.threshold,
        "labels": dict(alert.labels),
        "fingerprint": alert.fingerprint,
        "fired_at": told.fired_at.isoformat(timespec="milliseconds"),
        "duration_s": told.duration_s,
        "type": alert.type,
        "count": told.count,
    }


def _append(path: Path, line: bytes) -> None:
    descriptor = _opened(path)
    try:
        if os.write(descriptor, line) < len(line):
            with contextlib.suppress(OSError):
                os.write(descriptor, b"\n")  # the next line shall start on its own
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    # Never through a link: who may write to the log folder must not choose what we append to.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    return os.open(path, flags, 0o644)
