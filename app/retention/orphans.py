"""Files below the roots of rows that no row names and the outbox has nothing to do with (rule R21).

The safety net under power cuts and foreign writes. Only looks, unless told to move what it found into quarantine: the
trash of the root, from which `restore` brings it back and the clean-up removes it after seven days.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import Any

import structlog
from sqlalchemy import Connection, func, or_, select

from app.core.errors import BadArgument, PathRefused
from app.core.own_tables import file_outbox
from app.core.safe_files import Entry, ReadOnlyRoot, Root, check_relative, open_files, open_root, show, view_root
from app.core.settings_file import nearest
from app.retention.due_files import FileWork
from app.retention.lock import Flight, single_flight
from app.retention.outbox_entry import OutboxFile
from app.retention.presence import present_references
from app.retention.problems import Problems
from app.retention.references import claimed, odd_references
from app.retention.roots import AnyRoot, OpenRoots, open_roots
from app.retention.rules import rule_book
from app.retention.stored_paths import NOT_UTF8, FileColumn, FileColumns
from app.retention.tally import Tally
from app.retention.trash import Restored, restore, set_aside
from app.retention.workplace import Workplace

RULE = "orphans"
"""The name under which the outbox keeps them."""
QUARANTINE = timedelta(days=7)
MOST = 0.1
"""Of a root's files: more orphans than that are rather a wrong mapping than rubbish."""
_YOUNGEST = timedelta(hours=24)  # applications write the file first and the row later
_ASKED_TOGETHER = 50_000  # paths looked up in one scan of the tables: some 25 MB
_MOVED_TOGETHER = 500
_EXAMPLES = 10
_SCAN_S = 600.0
_NS = 1_000_000_000

_log = structlog.get_logger("gengfu.retention")


@dataclass(kw_only=True)
class Orphans:
    """What was found below one root."""

    root: str
    files: int = 0
    """All regular files."""
    orphans: int = 0
    bytes: int = 0
    """What the orphans occupy on disk."""
    kept: Counter[str] = field(default_factory=Counter)
    """Why other files are none: named (by a row or the outbox), young, in_use, hard_link, too_deep, not_utf8."""
    unexplained: int = 0
    """Rows that name files in a spelling that no alias explains; each may mean any of these files."""
    examples: list[str] = field(default_factory=list)
    moved: int = 0
    why_held: str | None = None
    """Why nothing was moved, or not even looked at."""

    def told(self) -> dict[str, Any]:
        """Return the facts, JSON-able."""
        return {
            "root": self.root,
            "files": self.files,
            "orphans": self.orphans,
            "bytes": self.bytes,
            "kept": dict(sorted(self.kept.items())),
            "unexplained_rows": self.unexplained,
            "examples": self.examples,
            "moved": self.moved,
            "why_held": self.why_held,
        }


@dataclass(frozen=True, kw_only=True)
class Search:
    """What came of a search."""

    run_id: str
    roots: tuple[Orphans, ...]
    problems: tuple[str, ...] = ()


def find_orphans(place: Workplace, *, run_id: str, names: Collection[str] = ()) -> Search:
    """Look through the named roots, all that rows need without names; nothing is changed.

    Raises BadArgument for a root that no row needs, DatabaseUnavailable, DatabaseBusy, TooManyOddPaths.
    """
    look = _Look(place, names)
    with open_roots(view_root, place.database, place.folders, look.names) as roots:
        found = tuple(look.count(name, roots) for name in sorted(look.names))
    return Search(run_id=run_id, roots=found, problems=tuple(look.problems.lines()))


def quarantine_orphans(
    place: Workplace,
    *,
    run_id: str,
    names: Collection[str] = (),
    share: float = MOST,
    despite_unexplained: bool = False,
) -> Search:
    """Look, then move the orphans of every root that holds no more than `share` of them (0-1) into quarantine.

    A root is also held where rows name files in a spelling that no alias explains, unless `despite_unexplained`.
    Raises Locked while a clean-up runs, and what `find_orphans` raises.
    """
    if not 0 < share <= 1:
        raise BadArgument(f"share is {share:g}; it takes a part of the files above 0 and up to 1, such as 0.1")
    look = _Look(place, names)
    with (
        single_flight(place, run_id) as flight,
        open_roots(open_root, place.database, place.folders, look.names) as roots,
    ):
        found = tuple(look.count(name, roots) for name in sorted(look.names))
        tally = Tally(place, run_id)
        work = look.work(roots, tally, flight)
        for orphans in found:
            _hold(orphans, share, despite_unexplained=despite_unexplained)
            if orphans.why_held is None and orphans.orphans:
                for files in look.packed(roots.ready[orphans.root], orphans.orphans):
                    purge_at = place.clock.now() + QUARANTINE
                    moved = set_aside(work, run_id=run_id, rule=RULE, files=files, purge_at=purge_at)
                    orphans.moved += moved["trashed"]
                _log.info("orphans_set_aside", run_id=run_id, root=orphans.root, files=orphans.moved)
        if not tally.carried:  # the figures of a killed clean-up wait for its next report
            tally.close()
    return Search(run_id=run_id, roots=found, problems=tuple(look.problems.lines()))


def restore_orphans(place: Workplace, run_id: str) -> Restored:
    """Move back what the quarantine of a run took, as far as nothing else took its place.

    Raises BadArgument for a run of which nothing is in quarantine, Locked while a clean-up runs.
    """
    with (
        single_flight(place, run_id),
        open_roots(open_root, place.database, place.folders, place.folders) as roots,
    ):
        with place.database.read() as connection:
            box = file_outbox.c
            rules = set(
                connection.execute(select(box.rule).where(box.run_id == run_id, box.state == "trashed")).scalars()
            )
        # Files of deleted rows come back with their rows, by `retention undo`, or not at all.
        if rules != {RULE}:
            raise BadArgument(f"nothing that run {run_id!r} took for orphans is in quarantine; was it purged already?")
        return restore(place, roots, run_id)


class _Look:
    """Goes through roots and asks the database about what stands there."""

    def __init__(self, place: Workplace, names: Collection[str]) -> None:
        self._place = place
        book = rule_book(place.source, place.settings, place.folders)
        self._columns, self._unknown = present_references(place.database, book)
        needed = {file.root for file in book.references}
        for name in names:
            if name not in needed:
                raise BadArgument(
                    f"no column of any rule names files of root {name!r}{nearest(name, needed)}; "
                    "so there nothing is an orphan"
                )
        self.names = set(names) or {*self._columns.roots, *self._unknown}
        self._before_ns = int((place.clock.now() - _YOUNGEST).timestamp()) * _NS
        self._busy = open_files()
        self.problems = Problems()
        with place.database.read(deadline_s=_SCAN_S) as connection:
            self._odd = odd_references(connection, self._columns)

    def count(self, name: str, roots: OpenRoots[AnyRoot]) -> Orphans:
        """Return what stands below a root, or why nobody looked."""
        found = Orphans(root=name, why_held=self._unknown.get(name) or roots.held.get(name))
        if found.why_held is None:
            with self._place.database.read(deadline_s=_SCAN_S) as connection:
                found.unexplained = _unexplained(connection, self._columns, name)
            for path, entry in self._each(roots.ready[name], found):
                found.orphans += 1
                found.bytes += entry.blocks_bytes
                if len(found.examples) < _EXAMPLES:
                    found.examples.append(show(path.encode()))
        return found

    def work(self, roots: OpenRoots[Root], tally: Tally, flight: Flight) -> FileWork:
        """Return what moving the orphans needs."""
        return FileWork(
            place=self._place, columns=self._columns, roots=roots, tally=tally, flight=flight, problems=self.problems
        )

    def packed(self, root: ReadOnlyRoot, most: int) -> Iterator[list[OutboxFile]]:
        """Yield the orphans of a root for moving them, at most so many as were counted."""
        each = islice(self._each(root, Orphans(root=root.name)), most)
        while batch := [OutboxFile.of(root.name, path, entry) for path, entry in islice(each, _MOVED_TOGETHER)]:
            yield batch

    def _each(self, root: ReadOnlyRoot, found: Orphans) -> Iterator[tuple[str, Entry]]:
        candidates: dict[str, Entry] = {}
        for entry in root.walk(lambda refusal: self.problems.add(f"{root.name}: {refusal}")):
            found.files += 1
            path, why = self._candidate(entry)
            if path is None:
                found.kept[why] += 1
                continue
            candidates[path] = entry
            if len(candidates) >= _ASKED_TOGETHER:
                yield from self._unclaimed(root.name, candidates, found)
                candidates = {}
        yield from self._unclaimed(root.name, candidates, found)

    def _candidate(self, entry: Entry) -> tuple[str | None, str]:
        """Return the file's path, or None and why it is no orphan whatever rows say."""
        if entry.newest_ns >= self._before_ns:
            return None, "young"
        if entry.links > 1:
            return None, "hard_link"
        if entry.key in self._busy:
            return None, "in_use"
        try:
            check_relative(entry.relative)
        except PathRefused as refusal:
            return None, refusal.reason
        try:
            return entry.relative.decode(), ""
        except UnicodeDecodeError:
            # No row can be compared with such a name, so nobody can tell that none means it.
            return None, NOT_UTF8

    def _unclaimed(self, root: str, candidates: dict[str, Entry], found: Orphans) -> Iterator[tuple[str, Entry]]:
        if not candidates:
            return
        with self._place.database.read(deadline_s=_SCAN_S) as connection:
            named = claimed(connection, self._columns, root, list(candidates))
        for path, entry in candidates.items():
            if path in named or (root, path) in self._odd:
                found.kept["named"] += 1
            else:
                yield path, entry


def _hold(found: Orphans, share: float, *, despite_unexplained: bool) -> None:
    """Say why the orphans of a root stay where they are, if so."""
    if found.why_held is not None:
        return
    if found.unexplained and not despite_unexplained:
        found.why_held = (
            f"{found.unexplained:,} rows name files of root {found.root} by an absolute path or an address that no "
            f"alias explains; add aliases to [retention.roots.{found.root}], or move in spite of them with "
            "--despite-unexplained"
        )
    elif found.orphans > share * found.files:
        found.why_held = (
            f"{found.orphans:,} of {found.files:,} files of root {found.root} ({found.orphans / found.files:.1%}) are "
            f"named by no row, more than {share:.0%}; is the mapping right? If so, allow more with --share"
        )


def _unexplained(connection: Connection, columns: FileColumns, root: str) -> int:
    return sum(connection.execute(_count_foreign(file)).scalar_one() for file in columns.all if file.root == root)


def _count_foreign(file: FileColumn) -> Any:
    path = file.relative_sql()
    return select(func.count()).select_from(file.column.table).where(or_(path.like("/%"), path.like("%://%")))
