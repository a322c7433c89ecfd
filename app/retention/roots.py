"""Roots: marking them, remembering their ids, and opening those that are really there."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, select

from app.core.clock import Clock
from app.core.database import Database
from app.core.errors import BadArgument, RootRefused
from app.core.own_tables import service_state
from app.core.safe_files import MARKER, ReadOnlyRoot, Root, create_marker, folds_names, view_root
from app.core.settings_file import nearest
from app.retention import stored_state
from app.retention.settings import LOGS, RetentionSettings

_KEY = "root:"
AnyRoot = TypeVar("AnyRoot", ReadOnlyRoot, Root)


@dataclass(frozen=True, kw_only=True)
class RootState:
    """One configured root as it stands."""

    name: str
    path: Path
    marker_id: str | None
    why_held: str | None
    """None: ready. Else why nothing is deleted there, and what mends it."""


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What the database knows of a root."""

    marker_id: str
    folds_names: bool
    one_spelling: bool

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> "_Known":
        return cls(
            marker_id=value["id"],
            folds_names=value.get("folds_names", False),
            one_spelling=value.get("one_spelling", False),
        )


@dataclass(kw_only=True)
class OpenRoots(Generic[AnyRoot]):
    """The roots of a run: those that are open, and why the others are held."""

    ready: dict[str, AnyRoot] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)

    def hold(self, name: str, why: str) -> None:
        """Touch this root no more in this run."""
        self.held[name] = why
        self.ready.pop(name, None)

    def usable(self, name: str) -> AnyRoot:
        """Return a root. Raises RootRefused where it is held, by whichever thread."""
        root = self.ready.get(name)
        if root is None:
            raise RootRefused(self.held[name])
        return root


def root_folders(settings: RetentionSettings, below_home: Callable[[Path], Path], logs: Path) -> dict[str, Path]:
    """Return the absolute path of every configured root, our log folder included."""
    return {name: below_home(root.path) for name, root in settings.roots.items()} | {LOGS: logs}


def init_roots(
    database: Database,
    folders: Mapping[str, Path],
    clock: Clock,
    names: Iterable[str] = (),
    *,
    one_spelling: bool = False,
) -> list[RootState]:
    """Mark the named roots (all without names), creating their folders, and remember the ids; return what was marked.

    Running it again is harmless, and after a change of volume it accepts the new one. With `one_spelling` the operator
    vouches that every file has one spelling in all rows: where the file system takes several for one name, the root is
    held without that. Raises BadArgument for an unknown name, RootRefused for a folder that may not be a root.
    """
    chosen = list(names) or list(folders)
    for name in chosen:
        if name not in folders:
            raise BadArgument(
                f"there is no root {name!r}{nearest(name, folders)}; see [retention.roots] in retention.toml"
            )
        if why := _overlap(name, folders):
            raise RootRefused(f"root {name}: {why}")
    return [_init(database, name, folders, clock, one_spelling=one_spelling) for name in chosen]


def list_roots(database: Database, folders: Mapping[str, Path]) -> list[RootState]:
    """Return the state of every configured root; nothing is changed."""
    with open_roots(view_root, database, folders, folders) as roots:
        return [
            RootState(
                name=name,
                path=path,
                marker_id=roots.ready[name].marker_id if name in roots.ready else None,
                why_held=roots.held.get(name),
            )
            for name, path in folders.items()
        ]


@contextmanager
def open_roots(
    opener: Callable[[str, Path, str | None], AnyRoot],
    database: Database,
    folders: Mapping[str, Path],
    names: Iterable[str],
) -> Iterator[OpenRoots[AnyRoot]]:
    """Open the named roots with `open_root` or `view_root`; a root whose marker is not the known one is held."""
    with database.read() as connection:
        known = _known_roots(connection)
    opened: OpenRoots[AnyRoot] = OpenRoots()
    with ExitStack() as stack:
        for name in sorted(set(names)):
            try:
                opened.ready[name] = stack.enter_context(_open(opener, name, folders, known))
            except RootRefused as error:
                opened.held[name] = str(error)
        yield opened


def _known_roots(connection: Connection) -> dict[str, _Known]:
    rows = connection.execute(
        select(service_state.c.key, service_state.c.value).where(service_state.c.key.startswith(_KEY, autoescape=True))
    )
    return {row.key.removeprefix(_KEY): _Known.of(row.value) for row in rows}


def _open(
    opener: Callable[[str, Path, str | None], AnyRoot],
    name: str,
    folders: Mapping[str, Path],
    known: Mapping[str, _Known],
) -> AnyRoot:
    if why := _overlap(name, folders):
        raise RootRefused(f"root {name}: {why}")
    if name in known:
        if why := _twin(name, known[name].marker_id, folders, known):
            raise RootRefused(why)
        opened = opener(name, folders[name], known[name].marker_id)
        if (opened.ignores_case or known[name].folds_names) and not known[name].one_spelling and name != LOGS:
            opened.close()
            raise RootRefused(_several_spellings(name, folders[name]))
        return opened
    # Tells a folder without a marker, where that is the first trouble.
    opener(name, folders[name], None).close()
    raise RootRefused(
        f"root {name}: {folders[name]} is marked, but not known to this database; "
        f"if it belongs to it, run `gengfu roots init {name}`"
    )


def _several_spellings(name: str, path: Path) -> str:
    return (
        f"root {name}: names that differ only in case or in composed letters are one file in {path}, so that a row may "
        f"name a file in a spelling that we don't recognise; if the application always stores one spelling, run "
        f"`gengfu roots init {name} --one-spelling`"
    )


def _twin(name: str, marker_id: str, folders: Mapping[str, Path], known: Mapping[str, _Known]) -> str | None:
    """One mark stands in one folder: mounted at two places it overlaps itself, whatever the paths look like."""
    for other in sorted(folders.keys() & known.keys() - {name}):
        if known[other].marker_id == marker_id:
            return (
                f"root {name}: {folders[name]} bears the same mark as {folders[other]} (root {other}), so they are one "
                f"folder under two names, or one is a copy of the other; take one of the roots out of the settings, or "
                f"remove {MARKER} from the copy and run `gengfu roots init` with its name"
            )
    return None


def _overlap(name: str, folders: Mapping[str, Path]) -> str | None:
    """One file must have one name: where roots overlap, the path that a row names and the one we remove may differ."""
    path = folders[name]
    for other, there in folders.items():
        if other != name and (path.is_relative_to(there) or there.is_relative_to(path)):
            return f"{path} and {there} (root {other}) overlap; give each its own folder"
    for ours in _own_folders(folders[LOGS].parent) if LOGS in folders else ():
        if path.is_relative_to(ours) or ours.is_relative_to(path):
            return f"{path} and {ours} overlap, and there the program keeps what it needs itself; choose another folder"
    return None


def _own_folders(home: Path) -> tuple[Path, ...]:
    """Reports, backups, and the state of broker and beat: nothing of it is old rubbish, however old."""
    return (home / "reports", *(home / "var" / name for name in ("run", "broker", "backups")))


def _init(database: Database, name: str, folders: Mapping[str, Path], clock: Clock, *, one_spelling: bool) -> RootState:
    path = folders[name]
    try:
        marker_id = create_marker(path)
        folds = folds_names(path)
    except RootRefused as error:
        raise RootRefused(f"root {name}: {error}") from error
    value = {"id": marker_id, "path": str(path), "folds_names": folds}
    with database.write() as connection:
        every = _known_roots(connection)
        if why := _twin(name, marker_id, folders, every):
            raise RootRefused(why)
        known = every.get(name)
        # Given once, the word holds for this volume.
        vouched = one_spelling or (known is not None and known.marker_id == marker_id and known.one_spelling)
        stored_state.put(connection, _KEY + name, {**value, "one_spelling": vouched}, clock.now())
    why_held = _several_spellings(name, path) if folds and not vouched and name != LOGS else None
    return RootState(name=name, path=path, marker_id=marker_id, why_held=why_held)
