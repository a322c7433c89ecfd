"""The files that one batch of rows leaves behind, looked at while its transaction still holds the rows (rule R4)."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from app.core.errors import PathRefused, RootRefused
from app.core.safe_files import Root, are_plainly_named, check_relative
from app.retention.outbox_entry import OutboxFile
from app.retention.roots import OpenRoots
from app.retention.stored_paths import FileColumn, is_final
from app.retention.tally import REFUSED

_Reasons = dict[str, str | None]
"""Path -> the name of the count that tells why there is no file to remove; None: there is one."""


@dataclass(kw_only=True)
class LeftBehind:
    """Made anew for each batch: what it knows about the file system is not true for longer."""

    roots: OpenRoots[Root]
    counts: Counter[str]
    """Gets `missing` and `refused.REASON`, once for every naming."""
    files: list[OutboxFile] = field(default_factory=list)
    """Each existing file once, as it is now."""
    _reasons: defaultdict[str, _Reasons] = field(default_factory=lambda: defaultdict(dict))
    _is_folder_gone: dict[tuple[str, str], bool] = field(default_factory=dict)

    def add(self, column: FileColumn, values: Iterable[str | bytes | memoryview | None]) -> None:
        """Look at the files that the values of a column name. Raises RootRefused when their root was lost."""
        # Thousands of paths a batch, the rows locked meanwhile: 1 us for each, where one at a time they took 8.
        named = self._named(column, Counter(value for value in values if value is not None))
        reasons = self._reasons[column.root]
        try:
            self._look_at(column.root, (path for path in named if path not in reasons), reasons)
        except RootRefused as error:
            self.roots.hold(column.root, str(error))
            raise
        for path, times in named.items():
            if reason := reasons[path]:
                self.counts[reason] += times

    def _named(self, column: FileColumn, values: Counter[str | bytes | memoryview]) -> dict[str, int]:
        named: dict[str, int] = {}
        for value, times in values.items():
            try:
                path = column.relative(value)
            except PathRefused as refusal:
                self.counts[REFUSED + refusal.reason] += times
            else:
                named[path] = named.get(path, 0) + times
        return named

    def _look_at(self, root: str, paths: Iterable[str], reasons: _Reasons) -> None:
        self.roots.usable(root).check_in_place()
        for folder, inside in _by_folder(paths).items():
            if len(inside) > 1 and self._is_gone(root, folder):
                reasons.update(_below_nothing(folder, inside))
                continue
            looked_at = self.roots.usable(root).inspect_each(path.encode() for path in inside)
            for path, found in zip(inside, looked_at, strict=True):
                reasons[path] = self._noted(root, path, found)

    def _noted(self, root: str, path: str, found: os.stat_result | PathRefused | None) -> str | None:
        if found is None:
            return "missing"
        if isinstance(found, os.stat_result):
            self.files.append(OutboxFile.found(root, path, found))
            return None
        if is_final(found.reason):
            return REFUSED + found.reason
        # What the system forbids today is tried again when the row is gone.
        self.files.append(OutboxFile(root=root, path=path))
        return None

    def _is_gone(self, root: str, folder: str) -> bool:
        """Old folders often went as a whole: then their files need not be asked for one by one."""
        if (root, folder) not in self._is_folder_gone:
            try:
                gone = bool(folder) and self.roots.usable(root).inspect(folder.encode()) is None
            except PathRefused:  # mostly because it is there and a folder
                gone = False
            self._is_folder_gone[root, folder] = gone
        return self._is_folder_gone[root, folder]


def _by_folder(paths: Iterable[str]) -> dict[str, list[str]]:
    inside: defaultdict[str, list[str]] = defaultdict(list)
    for path in paths:
        inside[path.rpartition("/")[0]].append(path)
    return inside


def _below_nothing(folder: str, paths: list[str]) -> _Reasons:
    """A hostile path is refused wherever it leads."""
    if are_plainly_named(folder, paths):
        # Then what could be wrong is the folder they share, and one of them is judged for all.
        return dict.fromkeys(paths, _judged(paths[0]))
    return {path: _judged(path) for path in paths}


def _judged(path: str) -> str:
    try:
        check_relative(path.encode())
    except PathRefused as refusal:
        return REFUSED + refusal.reason
    return "missing"
