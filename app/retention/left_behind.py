"""The files that one batch of rows leaves behind, looked at while its transaction still holds the rows (rule R4)."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from app.core.errors import PathRefused, RootRefused
from app.core.safe_files import Entry, Root, check_relative
from app.retention.outbox_entry import OutboxFile
from app.retention.roots import OpenRoots
from app.retention.stored_paths import FileColumn, is_final
from app.retention.tally import REFUSED

_Place = tuple[str, str]
"""Root and path."""


@dataclass(kw_only=True)
class LeftBehind:
    """Made anew for each batch: what it knows about the file system is not true for longer."""

    roots: OpenRoots[Root]
    counts: Counter[str]
    """Gets `missing` and `refused.REASON`, once for every naming."""
    files: list[OutboxFile] = field(default_factory=list)
    """Each existing file once, as it is now."""
    _counted_as: dict[_Place, str | None] = field(default_factory=dict)
    _is_folder_gone: dict[tuple[str, bytes], bool] = field(default_factory=dict)

    def add(self, column: FileColumn, values: Iterable[str | bytes | memoryview | None]) -> None:
        """Look at the files that the values of a column name. Raises RootRefused when their root was lost."""
        for value in values:
            if value is not None and (reason := self._reason(column, value)):
                self.counts[reason] += 1

    def _reason(self, column: FileColumn, value: str | bytes | memoryview) -> str | None:
        try:
            place = column.root, column.relative(value)
        except PathRefused as refusal:
            return REFUSED + refusal.reason
        if place not in self._counted_as:
            self._counted_as[place] = self._look_at(*place)
        return self._counted_as[place]

    def _look_at(self, root: str, path: str) -> str | None:
        """Note the file, or return the name of the count that tells why there is none."""
        try:
            entry = self._entry(root, path.encode())
        except PathRefused as refusal:
            if is_final(refusal.reason):
                return REFUSED + refusal.reason
            # What the system forbids today is tried again when the row is gone.
            self.files.append(OutboxFile(root=root, path=path))
            return None
        except RootRefused as error:
            self.roots.hold(root, str(error))
            raise
        if entry is None:
            return "missing"
        self.files.append(OutboxFile.of(root, path, entry))
        return None

    def _entry(self, root: str, relative: bytes) -> Entry | None:
        """Ask the root, but not again below a folder that is gone: old folders often went as a whole."""
        folder = relative.rpartition(b"/")[0]
        if self._is_folder_gone.get((root, folder)):
            check_relative(relative)  # a hostile path is refused wherever it leads
            return None
        entry = self.roots.ready[root].inspect(relative)
        if entry is None and folder and (root, folder) not in self._is_folder_gone:
            self._is_folder_gone[root, folder] = self._is_gone(root, folder)
        return entry

    def _is_gone(self, root: str, folder: bytes) -> bool:
        try:
            return self.roots.ready[root].inspect(folder) is None
        except PathRefused:  # mostly because it is there and a folder
            return False
