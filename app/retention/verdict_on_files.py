"""What becomes of the files of one outbox row, decided by what stands on the disk and what living rows name."""

import os
import re
import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from operator import attrgetter

from msgspec.structs import replace

from app.core.errors import PathRefused, RootRefused
from app.core.safe_files import Root
from app.retention.outbox_entry import OutboxFile
from app.retention.problems import Problems
from app.retention.removal import in_order, went_back
from app.retention.roots import OpenRoots
from app.retention.stored_paths import is_final
from app.retention.tally import REFUSED

_NO_NAME = re.compile("[^A-Za-z0-9_-]")
_MOST_OF_A_RUN_ID = 64


class TrashNames:
    """Names for the files of one outbox row: the run, a token of this attempt, a number."""

    def __init__(self, run_id: str) -> None:
        self._start = f"{_NO_NAME.sub('_', run_id)[:_MOST_OF_A_RUN_ID]}-{secrets.token_hex(8)}"
        self._number = 0

    def next(self) -> str:
        """Return a name that no file has."""
        self._number += 1
        return f"{self._start}-{self._number}"


@dataclass(kw_only=True)
class Verdict:
    """The files of one row, each in one of the four lists or done with."""

    roots: OpenRoots[Root]
    kept: set[tuple[str, str]]
    """Root and path of files that living rows name."""
    told_kept: set[tuple[str, str]]
    """Those that were counted already."""
    problems: Problems
    purge_at: datetime | None
    """The files are moved into the trash until then; None: they are removed."""
    names: TrashNames
    condemned: list[OutboxFile] = field(default_factory=list)
    moved: list[OutboxFile] = field(default_factory=list)
    """Into the trash; by `judge` only what a run had moved that was killed then."""
    moved_before: Counter[str] = field(default_factory=Counter)
    """The counts of those. They belong to the transaction in which the row stops holding them as pending: counted any
    earlier, one more kill would count them again."""
    waiting: list[OutboxFile] = field(default_factory=list)
    """Their root is held."""
    failed: list[OutboxFile] = field(default_factory=list)

    @property
    def open(self) -> list[OutboxFile]:
        """All files that the row must still hold."""
        return [*self.condemned, *self.moved, *self.waiting, *self.failed]

    def judge(self, files: Iterable[OutboxFile], counts: Counter[str]) -> None:
        """Look at every file; what is done with is counted."""
        for name, group in groupby(sorted(files, key=in_order), key=attrgetter("root")):
            root = self.roots.ready.get(name)
            if root is None:
                self.waiting += group
            else:
                self._in_root(root, list(group), counts)

    def refuse(self, file: OutboxFile, refusal: PathRefused, counts: Counter[str]) -> None:
        """Note a file that can't be touched: never, or not today."""
        if is_final(refusal.reason):
            counts[REFUSED + refusal.reason] += 1
        else:
            self._fail(file, refusal)

    def _fail(self, file: OutboxFile, refusal: PathRefused) -> None:
        self.failed.append(replace(file, reason=refusal.reason))
        self.problems.add(f"{file.root}: {refusal}")

    def _in_root(self, root: Root, files: Sequence[OutboxFile], counts: Counter[str]) -> None:
        judged = 0
        try:
            root.check_in_place()
            for file, found in zip(files, root.inspect_each(file.relative for file in files), strict=True):
                self._one(root, file, found, counts)
                judged += 1
        except RootRefused as error:
            self.roots.hold(root.name, str(error))
            self.waiting += files[judged:]

    def _one(
        self, root: Root, file: OutboxFile, found: os.stat_result | PathRefused | None, counts: Counter[str]
    ) -> None:
        if file.trash is not None and self._stands_in_trash(root, file, file.trash, counts):
            return  # whatever has taken its place since
        if isinstance(found, PathRefused):
            self.refuse(file, found, counts)
        elif found is None:
            self._vanished(file, counts)
        elif file.key in self.kept:
            self._keep(file, counts)
        else:
            known = file if file.identity else file.seen(found)
            name = file.trash or self.names.next() if self.purge_at else file.trash
            self.condemned.append(known.condemn(name))

    def _vanished(self, file: OutboxFile, counts: Counter[str]) -> None:
        if file.condemned:  # it was us
            counts.update(files=1, bytes=file.disk_bytes)
        else:
            counts["already_gone"] += 1

    def _stands_in_trash(self, root: Root, file: OutboxFile, name: str, counts: Counter[str]) -> bool:
        """Tell whether a run that was killed then had moved the file; its row may have come back meanwhile."""
        try:
            if file.key in self.kept and went_back(root, file):
                counts["restored"] += 1
                return True
            found = root.in_trash(name, file.relative, file.identity)
        except PathRefused as refusal:
            # Never for good, whatever the reason: nobody else knows what lies there.
            self._fail(file, refusal)
            return True
        if found is None:
            return False
        self.moved.append(file)
        self.moved_before.update(trashed=1, trashed_bytes=found)
        return True

    def _keep(self, file: OutboxFile, counts: Counter[str]) -> None:
        counts["referenced"] += file.key not in self.told_kept
        self.told_kept.add(file.key)
