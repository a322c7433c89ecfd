"""What travels about one file."""

import os
from dataclasses import dataclass
from typing import NamedTuple

BLOCK_BYTES = 512  # the unit of st_blocks, whatever the file system's own block size


class Identity(NamedTuple):
    """Tells whether a file is still the one that was decided upon."""

    inode: int
    size: int  # bytes
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Identity":
        return cls(inode=status.st_ino, size=status.st_size, mtime_ns=status.st_mtime_ns)

    def matches(self, status: os.stat_result) -> bool:
        return self == (status.st_ino, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One regular file below a root."""

    relative: bytes
    identity: Identity
    newest_ns: (
        int  # the newest of atime, mtime and ctime; an age needs all three, since noatime mounts freeze the first
    )
    links: int
    blocks_bytes: int  # what it occupies on disk
    device: int

    @classmethod
    def of(cls, relative: bytes, status: os.stat_result) -> "Entry":
        return cls(
            relative=relative,
            identity=Identity.of(status),
            newest_ns=newest_ns(status),
            links=status.st_nlink,
            blocks_bytes=blocks_bytes(status),
            device=status.st_dev,
        )

    @property
    def key(self) -> tuple[int, int]:
        """Device and inode, as in `open_files()`."""
        return self.device, self.identity.inode


def newest_ns(status: os.stat_result) -> int:
    """Return the newest of the three time stamps, in nanoseconds since 1970."""
    return max(status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns)


def blocks_bytes(status: os.stat_result) -> int:
    """Return the bytes the file occupies on disk."""
    return status.st_blocks * BLOCK_BYTES
