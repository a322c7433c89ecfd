"""The only code of the program that removes files: below named, marked roots, and by descriptor only.

Callers hand over a root and a relative path in bytes; they never see a descriptor or build a path.

    paths      which relative paths are acceptable, the words for refusals
    kernel     openat2 and mount ids, where the system has them
    folders    opening a folder so that no link, mount or ".." can lead elsewhere
    protected  places that are nobody's to clean
    markers    the file that makes a folder ours
    spelling   whether two spellings of a name mean one file
    neighbours one descriptor for the files of one folder
    read_only_root  looking at single files
    root       removing them, or moving them aside
    trash      where they are moved to
    moving     moving without overwriting
    landlock   letting the kernel confine the whole process
    walking    every file of a root, in flat memory
    busy       files that some process holds open or locked
"""

from app.core.safe_files.busy import open_files
from app.core.safe_files.markers import create_marker
from app.core.safe_files.paths import MARKER, Reason, are_plainly_named, check_relative, show
from app.core.safe_files.read_only_root import ReadOnlyRoot, view_root
from app.core.safe_files.root import Root, open_root
from app.core.safe_files.spelling import folds_names
from app.core.safe_files.status import Entry, Identity, blocks_bytes, newest_ns
from app.core.safe_files.walking import Listing

__all__ = [
    "MARKER",
    "Entry",
    "Identity",
    "Listing",
    "ReadOnlyRoot",
    "Reason",
    "Root",
    "are_plainly_named",
    "blocks_bytes",
    "check_relative",
    "create_marker",
    "folds_names",
    "newest_ns",
    "open_files",
    "open_root",
    "show",
    "view_root",
]
