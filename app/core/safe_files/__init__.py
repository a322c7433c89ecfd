"""The only code of the program that removes files: below named, marked roots, and by descriptor only.

Callers hand over a root and a relative path in bytes; they never see a descriptor or build a path.

    paths      which relative paths are acceptable, the words for refusals
    kernel     openat2 and mount ids, where the system has them
    folders    opening a folder so that no link, mount or ".." can lead elsewhere
    protected  places that are nobody's to clean
    markers    the file that makes a folder ours
    root       looking at and removing one file
    walking    every file of a root, in flat memory
    busy       files that some process holds open or locked
"""

from app.core.safe_files.busy import open_files
from app.core.safe_files.markers import create_marker
from app.core.safe_files.paths import MARKER, Reason, check_relative, show
from app.core.safe_files.root import ReadOnlyRoot, Root, open_root, view_root
from app.core.safe_files.status import Entry, Identity

__all__ = [
    "MARKER",
    "Entry",
    "Identity",
    "ReadOnlyRoot",
    "Reason",
    "Root",
    "check_relative",
    "create_marker",
    "open_files",
    "open_root",
    "show",
    "view_root",
]
