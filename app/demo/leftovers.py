"""What an application leaves lying about: temporary files and rotated logs, young ones and expired ones."""

import gzip
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from app.demo.files import FileWriter

_TEMP_KEPT = timedelta(hours=24)
_LOGS_KEPT = timedelta(days=30)
# Name -> age in hours. A leading dash, a nested folder and a name in GBK are what careless cleaners stumble over.
_TEMP_FILES = {
    "upload_3f2a.part": 0.2,
    "预览_回证.tmp": 3,
    "render/page-1.png": 23,
    "render/page-2.png": 25,
    "导出/物流 报表.xlsx.tmp": 72,
    "会话.lock": 26,
    "-rf.tmp": 40,
    os.fsdecode("临时文件.tmp".encode("gbk")): 49,
    **{f"tmp{number:03d}.part": 1.5 * number + 0.5 for number in range(40)},
}
# Rotated files only: the names being written to now are never touched.
_ROTATED = ("app.log", "celery_worker.log", "celerybeat.log", "access.log")
_LOG_AGES = (1, 3, 12, 29, 31, 45, 61, 95)
_COMPRESSED_FROM = 10  # days


@dataclass(frozen=True, kw_only=True)
class Leftovers:
    """How many files were written, and how many of them are past their keeping time (24 h, 30 days)."""

    files: int
    expired: int


def write_temp_files(folder: Path, now: datetime) -> Leftovers:
    """Fill the temporary folder. The system dates a file's change of status itself: by ctime all are new."""
    writer = FileWriter()
    expired = 0
    for name, hours in _TEMP_FILES.items():
        age = timedelta(hours=hours)
        written = writer.write(folder, name, now - age)
        expired += written and age > _TEMP_KEPT
    return Leftovers(files=writer.files, expired=expired)


def write_old_logs(folder: Path, now: datetime) -> Leftovers:
    """Write logs as a rotation leaves them, `app.log.2025-12-20` and `.gz`. Raises OutputUnwritable."""
    writer = FileWriter()
    expired = 0
    for base in _ROTATED:
        for days in _LOG_AGES:
            age = timedelta(days=days)
            written = _write_log(writer, folder, base, now - age, compressed=days >= _COMPRESSED_FROM)
            expired += written and age > _LOGS_KEPT
    return Leftovers(files=writer.files, expired=expired)


def _write_log(writer: FileWriter, folder: Path, base: str, at: datetime, *, compressed: bool) -> bool:
    content = "".join(_lines(at)).encode()
    if compressed:
        return writer.write(folder, f"{base}.{at:%Y-%m-%d}.gz", at, gzip.compress(content, mtime=0))
    return writer.write(folder, f"{base}.{at:%Y-%m-%d}", at, content)


def _lines(at: datetime) -> Iterator[str]:
    for minute in range(20):
        stamp = (at - timedelta(minutes=20 - minute)).isoformat(timespec="seconds")
        yield f'{{"timestamp": "{stamp}", "level": "info", "event": "sample_line", "message": "示例日志 {minute}"}}\n'
