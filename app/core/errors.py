"""Everything the program raises on purpose.

GengfuError
├── SettingsError            a setting is wrong or unknown                  exit 2
├── UnknownJob               no job of that name                            exit 2
├── BadArgument              a value handed to a task or command is wrong   exit 2
├── DatabaseUnavailable      no answer, or cut off (temporary)              exit 1
├── DatabaseBusy             a lock or statement time-out (temporary)       exit 1
├── DatabaseRefused          a right is missing, or it may not be written    exit 1
├── SchemaMismatch           a mapped table or column is not there          exit 1
├── BrokerUnavailable        no broker answers (temporary)                  exit 1
├── OutputUnwritable         a report, log or state file can't be written   exit 1
├── RootRefused              a folder is not marked as ours, or is unsafe   exit 3
├── PathRefused              a stored path may not be touched               exit 5
└── Locked                   somebody else is doing the same work           exit 4
"""

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """Exit codes of every command."""

    OK = 0
    FAILED = 1
    USAGE = 2
    HELD = 3
    LOCKED = 4
    PARTIAL = 5


class GengfuError(Exception):
    """Base of all errors meant for people: the message is one line and says what to do next."""

    permanent: ClassVar[bool] = True
    """False where the same call may succeed later without anybody changing anything."""
    exit_code: ClassVar[ExitCode] = ExitCode.FAILED


class SettingsError(GengfuError):
    """A setting is wrong, unknown or unreadable; the message names it and where it stands."""

    exit_code = ExitCode.USAGE


class UnknownJob(GengfuError):
    """No job has this name."""

    exit_code = ExitCode.USAGE


class BadArgument(GengfuError):
    """A value handed to a task or a command can't be used; the message names the value."""

    exit_code = ExitCode.USAGE


class DatabaseUnavailable(GengfuError):
    """The database does not answer, refused us, or was cut off at the client's deadline."""

    permanent = False


class DatabaseBusy(GengfuError):
    """A lock was not had, or a statement did not end, within its time-out; nothing of the transaction was kept."""

    permanent = False


class DatabaseRefused(GengfuError):
    """The role lacks a right, row-level security hides rows from it, or the server is a replica or read only."""


class SchemaMismatch(GengfuError):
    """A mapped table or column does not exist, or our own tables are not up to date."""


class BrokerUnavailable(GengfuError):
    """No broker answers at the configured address."""

    permanent = False


class OutputUnwritable(GengfuError):
    """A report, log or state file could not be written; what stood there before is intact."""

    permanent = False


class RootRefused(GengfuError):
    """A configured folder may not be worked in: missing, unmarked, a link, or a place that is nobody's to clean."""

    exit_code = ExitCode.HELD


class PathRefused(GengfuError):
    """A stored path may not be touched. `reason` is one constant word for counting."""

    exit_code = ExitCode.PARTIAL

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


class Locked(GengfuError):
    """Somebody else is doing the same work right now; the message says who and since when."""

    exit_code = ExitCode.LOCKED
