"""What goes first when a disk is nearly full: files, which free space at once; rows free none on the disk."""

from app.retention.workplace import Workplace


def files_first(place: Workplace) -> bool:
    """Tell whether a disk with one of the roots is over its critical mark.

    Then the order is: old files by the folder rules, files of rows deleted earlier, then rows.
    """
    return any(place.critical(folder) for folder in sorted(set(place.folders.values())))
