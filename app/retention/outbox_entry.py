"""Files that deleted rows left behind, as they are packed into rows of the outbox."""

import json
import os
from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from app.core.safe_files import Entry, Identity, blocks_bytes

MAX_ATTEMPTS = 5


class OutboxFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """One file; what it was when its row was deleted, so that nothing that took its place is removed."""

    root: str
    path: str
    inode: int | None = None  # None: it could not be looked at then
    size: int | None = None
    mtime_ns: int | None = None
    disk_bytes: int = 0
    """What it occupied on disk."""
    condemned: bool = False
    """Its removal was decided and may have happened: if it is gone now, it was us."""
    trash: str | None = None
    """The name under which it is moved into the trash of its root, or was; None: it is removed."""
    reason: str | None = None
    """Why the last attempt failed."""

    @classmethod
    def of(cls, root: str, path: str, entry: Entry) -> "OutboxFile":
        """Return the file as it stands now."""
        identity = entry.identity
        return cls(
            root=root,
            path=path,
            inode=identity.inode,
            size=identity.size,
            mtime_ns=identity.mtime_ns,
            disk_bytes=entry.blocks_bytes,
        )

    @classmethod
    def found(cls, root: str, path: str, status: os.stat_result) -> "OutboxFile":
        """Return the same by what the system says of it."""
        return cls(
            root=root,
            path=path,
            inode=status.st_ino,
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            disk_bytes=blocks_bytes(status),
        )

    def seen(self, status: os.stat_result) -> "OutboxFile":
        """Return the file with the identity it has now."""
        return replace(
            self,
            inode=status.st_ino,
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            disk_bytes=blocks_bytes(status),
        )

    def condemn(self, trash: str | None) -> "OutboxFile":
        """Return the file as one whose removal, or move into the trash under this name, is decided."""
        return replace(self, condemned=True, trash=trash, reason=None)

    @property
    def identity(self) -> Identity | None:
        if self.inode is None or self.size is None or self.mtime_ns is None:
            return None
        return Identity(inode=self.inode, size=self.size, mtime_ns=self.mtime_ns)

    @property
    def relative(self) -> bytes:
        return self.path.encode()

    @property
    def key(self) -> tuple[str, str]:
        return self.root, self.path


def packed(files: Iterable[OutboxFile]) -> str:
    """Return the files as ASCII JSON, which the databases can unpack themselves."""
    return json.dumps(msgspec.to_builtins(list(files)), separators=(",", ":"))


def unpacked(text: str) -> list[OutboxFile]:
    """Return the files of one outbox row."""
    return _DECODER.decode(text)


_DECODER = msgspec.json.Decoder(list[OutboxFile])
