"""Places that are nobody's to clean, whatever the settings say (rule R2)."""

import os
import pwd
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]
# Neither these nor anything in them.
_SYSTEM_TREES = frozenset(
    """
    /bin /boot /etc /lib /lib32 /lib64 /libx32 /proc /sbin /sys
    /usr/bin /usr/include /usr/lib /usr/lib32 /usr/lib64 /usr/libexec /usr/sbin
    /Library /System /private/etc
    """.split()  # noqa: SIM905 - the list reads best as text
)
# These as a whole; a folder of the application inside is fine.
_SHARED_FOLDERS = frozenset(
    """
    / /dev /dev/shm /home /media /mnt /opt /root /run /run/lock /run/user /srv /tmp
    /usr /usr/local /usr/share /usr/src
    /var /var/backups /var/cache /var/lib /var/local /var/lock /var/log /var/mail /var/opt /var/run /var/spool
    /var/tmp /var/www
    /Applications /Users /Volumes /private /private/tmp /private/var
    """.split()  # noqa: SIM905 - the list reads best as text
)
_PARENTS_OF_HOMES = (Path("/home"), Path("/Users"))
_OWN_CODE = ("app", "config", "tasks", ".git")


def why_protected(path: Path) -> str | None:
    """Return what kind of place an absolute path names when it must not be cleaned, judged by its spelling."""
    if any(path.is_relative_to(tree) for tree in _SYSTEM_TREES) or str(path) in _SHARED_FOLDERS:
        return "a system folder"
    if path.parent in _PARENTS_OF_HOMES or any(home.is_relative_to(path) for home in _homes()):
        return "a home folder or holds one"
    if PROJECT.is_relative_to(path) or any(path.is_relative_to(PROJECT / name) for name in _OWN_CODE):
        return "this program's own folder or holds it"
    return None


def is_protected_folder(status: os.stat_result) -> bool:
    """Tell whether an opened folder is one of the protected ones under another name.

    A bind mount or a file system that ignores case gives "/" or a home a spelling that no list foresees.
    """
    return any(_is_same(place, status) for place in _places())


def _is_same(place: Path, status: os.stat_result) -> bool:
    try:
        return os.path.samestat(place.stat(), status)
    except OSError:
        return False


def _places() -> Iterator[Path]:
    yield from map(Path, (*_SHARED_FOLDERS, *_SYSTEM_TREES))
    for place in (PROJECT, *_homes()):
        yield place
        yield from place.parents
    yield from (PROJECT / name for name in _OWN_CODE)


def _homes() -> Iterator[Path]:
    yield Path(os.environ.get("HOME") or "/root")
    try:
        yield Path(pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:
        return  # containers run under ids that no user has
