"""The names by which an operator chooses rules."""

from collections.abc import Collection, Iterable

from app.core.errors import BadArgument
from app.core.settings_file import nearest


def require_known(names: Collection[str] | None, known: Iterable[str]) -> None:
    """Raise BadArgument for the first name that no rule has, telling the nearest one."""
    known = list(dict.fromkeys(known))
    for name in names or ():
        if name not in known:
            raise BadArgument(f"there is no rule {name!r}{nearest(name, known)}; there are {', '.join(known)}")
