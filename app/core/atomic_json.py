"""JSON files that a reader never sees half-written and a full disk never destroys (rule R15)."""

import contextlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

from app.core.errors import OutputUnwritable


def write_json(path: Path, document: Any) -> None:
    """Write `document` as UTF-8 JSON (sorted keys, indented) by temporary file, fsync, rename and fsync of the folder.

    Raises OutputUnwritable naming the file; the previous content stays whole in every case.
    NaN and infinities are refused with ValueError: no JSON reader is bound to accept them.
    """
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, indent=2, sort_keys=True) + "\n"
    # Lone surrogates (undecodable file names) have no UTF-8 form: show them escaped.
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` by `content` atomically; see `write_json`."""
    temporary = path.parent / f".{path.name}.{secrets.token_hex(6)}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_synced(temporary, content)
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise OutputUnwritable(f"can't write {path}: {error.strerror}; free space or fix its permissions") from error


def _write_synced(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
