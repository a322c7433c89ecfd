"""Real, small files for the paths that the sample rows name."""

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from zlib import crc32

from app.core.errors import OutputUnwritable, PathRefused
from app.core.safe_files import check_relative
from app.demo.tasks import Story

ROOT_OF_COLUMN = {
    "image_path": "uploads",
    "document_path": "documents",
    "screenshot_path": "screenshots",
    "qr_code_path": "receipts",
    "barcode_path": "receipts",
    "delivery_receipt_doc_path": "documents",
    "tracking_screenshot_path": "screenshots",
}
_OF_TASK = ("image_path", "document_path", "screenshot_path")
_OF_RECEIPT = ("qr_code_path", "barcode_path", "delivery_receipt_doc_path", "tracking_screenshot_path")
# So that `file` and a viewer's icon tell the right kind.
_HEADS = {".jpg": b"\xff\xd8\xff\xe0", ".png": b"\x89PNG\r\n\x1a\n", ".docx": b"PK\x03\x04"}
_FILLING = "Gengfu sample file, safe to delete. 示例文件，可以删除。\n".encode() * 8
_SMALLEST, _SIZES = 40, 400  # bytes
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class FileWriter:
    """Writes files that do not exist yet and counts them; what stands there already is left alone."""

    def __init__(self) -> None:
        self.files = 0
        self.bytes = 0
        self._folders: set[Path] = set()

    def write(self, folder: Path, relative: str, at: datetime, content: bytes | None = None) -> bool:
        """Write one file, last changed and read at `at`; False when the name was taken. Raises OutputUnwritable.

        Without `content` it gets some tens to hundreds of bytes that begin as its kind does.
        """
        path = folder / relative
        data = _sample(relative) if content is None else content
        try:
            self._make_folder(path.parent)
            written = _write_new(path, data, at)
        except OSError as error:
            raise OutputUnwritable(
                f"can't write {path}: {error.strerror}; give this user write permission and room there"
            ) from error
        if written:
            self.files += 1
            self.bytes += len(data)
        return written

    def _make_folder(self, folder: Path) -> None:
        if folder not in self._folders:
            folder.mkdir(parents=True, exist_ok=True)
            self._folders.add(folder)


def write_files_of(story: Story, roots: Mapping[str, Path], writer: FileWriter) -> None:
    """Write what the story's rows name, as far as the names may be used at all."""
    task, receipt = story.task, story.receipt
    for column in _OF_TASK:
        _write(getattr(task, column), roots[ROOT_OF_COLUMN[column]], task.updated_at, writer)
    if receipt is not None:
        for column in _OF_RECEIPT:
            _write(getattr(receipt, column), roots[ROOT_OF_COLUMN[column]], receipt.created_at, writer)


def _write(relative: str | None, root: Path, at: datetime, writer: FileWriter) -> None:
    if relative is None:
        return
    try:
        check_relative(relative.encode())
    except PathRefused:
        return  # one of the hostile paths: it is there to be refused by the clean-up too
    writer.write(root, relative, at)


def _write_new(path: Path, data: bytes, at: datetime) -> bool:
    try:
        descriptor = os.open(path, _NEW, 0o640)
    except FileExistsError:
        return False
    try:
        os.write(descriptor, data)
        moment = int(at.timestamp() * 1_000_000) * 1000
        os.utime(descriptor, ns=(moment, moment))
    finally:
        os.close(descriptor)
    return True


def _sample(relative: str) -> bytes:
    size = _SMALLEST + crc32(os.fsencode(relative)) % _SIZES
    return (_HEADS.get(relative[relative.rfind(".") :], b"") + _FILLING)[:size]
