"""One JSON line per alert in logs/critical_alerts.log, warning_alerts.log or error_alerts.log."""

import contextlib
import errno
import os
from pathlib import Path
from typing import Any

from app.alerts.channel import ChannelContext, DeliveryError, Notification
from app.alerts.text import json_line

LONGEST_LINE = 16 * 1024
"""Bytes that one write puts into a file whole, however many processes append to it."""


class Channel:
    """The severity files. Opened for each line, so that rotation by renaming needs no word to us (rule R16)."""

    def __init__(self, context: ChannelContext) -> None:
        self._folder = context.logs

    def send(self, notification: Notification) -> None:
        """Append the line and see it on the disk. Raises DeliveryError."""
        path = self._folder / f"{notification.alert.severity}_alerts.log"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            _append(path, _line(notification))
        except OSError as error:
            raise DeliveryError(f"can't write {path}: {error.strerror}; free space or fix its permissions") from error


def _line(notification: Notification) -> bytes:
    line = json_line(_document(notification))
    if len(line) <= LONGEST_LINE:
        return line
    # Escaped, 16 labels may take 30 KB. Without them 2,000 characters of message always fit.
    labels = notification.alert.labels
    return json_line({**_document(notification), "labels": {}, "labels_left_out": len(labels)})


def _document(notification: Notification) -> dict[str, Any]:
    """The keys in reading order."""
    alert = notification.alert
    return {
        "timestamp": notification.at.isoformat(timespec="milliseconds"),
        "level": alert.severity,
        "event": notification.event,
        "message": alert.message,
        "alertname": alert.alertname,
        "value": alert.value,
        "threshold": alert.threshold,
        "labels": dict(alert.labels),
        "fingerprint": alert.fingerprint,
        "fired_at": notification.fired_at.isoformat(timespec="milliseconds"),
        "type": alert.type,
        "count": notification.count,
    }


def _append(path: Path, line: bytes) -> None:
    # Never through a link: who may write to the log folder must not choose what we append to.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o644)
    try:
        if os.write(descriptor, line) < len(line):
            with contextlib.suppress(OSError):
                os.write(descriptor, b"\n")  # the next line shall start on its own
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
