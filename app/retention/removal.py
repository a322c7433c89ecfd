"""Removing files, or moving them into the trash, once that was written down: what became of each."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter

from msgspec.structs import replace

from app.core.errors import PathRefused, RootRefused
from app.core.safe_files import Reason, Root
from app.retention.outbox_entry import OutboxFile
from app.retention.roots import OpenRoots

_Outcome = int | PathRefused | None
in_order = attrgetter("root", "path")
"""Sorts files so that those of one folder are neighbours, which the roots handle fastest."""


@dataclass(kw_only=True)
class Removal:
    """What became of condemned files."""

    done: Counter[str] = field(default_factory=Counter)
    """`files` and `bytes` gone from the disk, `trashed` and `trashed_bytes` moved aside."""
    moved: list[OutboxFile] = field(default_factory=list)
    refused: list[tuple[OutboxFile, PathRefused]] = field(default_factory=list)
    waiting: list[OutboxFile] = field(default_factory=list)
    """Their root was lost meanwhile."""

    def run(self, files: Sequence[OutboxFile], roots: OpenRoots[Root], checkpoint: Callable[[str], None]) -> None:
        """Remove each file, or move it where it has a name for the trash. The files must be `in_order`."""
        for name, group in groupby(files, key=attrgetter("root")):
            self._in_root(name, list(group), roots, checkpoint)

    def _in_root(
        self, name: str, files: list[OutboxFile], roots: OpenRoots[Root], checkpoint: Callable[[str], None]
    ) -> None:
        worked_off = 0
        try:
            # Lost, perhaps, while the rest of its files was looked at.
            for file, outcome in zip(files, _outcomes(roots.usable(name), files), strict=True):
                worked_off += 1
                self._note(file, outcome)
                checkpoint("file removed")
        except RootRefused as error:
            roots.hold(name, str(error))
            self.waiting += (replace(file, condemned=False) for file in files[worked_off:])

    def _note(self, file: OutboxFile, outcome: _Outcome) -> None:
        if isinstance(outcome, PathRefused):
            self.refused.append((replace(file, condemned=False, reason=outcome.reason), outcome))
        elif file.trash and outcome is not None:
            self.moved.append(file)
            self.done["trashed"] += 1
            self.done["trashed_bytes"] += outcome
        else:
            self.done["files"] += 1
            self.done["bytes"] += file.disk_bytes if outcome is None else outcome


def went_back(root: Root, file: OutboxFile) -> bool:
    """Move a file from the trash to its place, if it lies there and nothing took its place; tell whether it went.

    Raises PathRefused, RootRefused.
    """
    try:
        return root.restore(file.trash or "", file.relative, file.identity) is not None
    except PathRefused as refusal:
        if refusal.reason != Reason.TAKEN:
            raise
        return False


def sync_trash(files: Iterable[OutboxFile], roots: OpenRoots[Root]) -> list[str]:
    """Make moves of these files durable before the database is told; return a line for each root that can't."""
    troubles = []
    for name in sorted({file.root for file in files} & roots.ready.keys()):
        try:
            roots.ready[name].sync_trash()
        except PathRefused as refusal:
            troubles.append(f"{name}: {refusal}")
    return troubles


def _outcomes(root: Root, files: Sequence[OutboxFile]) -> Iterator[_Outcome]:
    # A row's files all go one way: a trash name is given to all of them or to none.
    if any(file.trash for file in files):
        yield from root.trash_each((file.relative, file.identity, file.trash or "") for file in files)
    else:
        yield from root.remove_each((file.relative, file.identity) for file in files)
