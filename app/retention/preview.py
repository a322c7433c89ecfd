"""A dry run: the figures of a clean-up from read-only transactions and roots that can't remove (rule R13)."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, LargeBinary, Select, case, cast, func, select, union_all

from app.core.errors import PathRefused
from app.core.safe_files import ReadOnlyRoot, open_files
from app.core.source_tables import SourceTables
from app.retention.directories import DirectoryRule, old_files
from app.retention.expiry import Expiry, any_expired
from app.retention.problems import Problems
from app.retention.references import odd_references
from app.retention.roots import OpenRoots
from app.retention.stored_paths import FileColumn, FileColumns, is_final
from app.retention.tally import REFUSED
from app.retention.workplace import Workplace

_SCAN_S = 600.0
_FETCHED_TOGETHER = 1000


class Preview:
    """Counts what a run would do now."""

    def __init__(
        self, place: Workplace, columns: FileColumns, roots: OpenRoots[ReadOnlyRoot], problems: Problems
    ) -> None:
        self._place = place
        self._columns = columns
        self._roots = roots
        self._problems = problems
        self.counts: Counter[str] = Counter()

    def rows(self, rules: tuple[Expiry, ...]) -> None:
        """Count expired rows, their receipts and their files."""
        with self._place.database.read(deadline_s=_SCAN_S) as connection:
            tables = _Tables(self._place.source, rules, connection.dialect.name)
            self.counts["tasks"] = connection.execute(tables.count_tasks()).scalar_one()
            if (receipts := tables.count_receipts()) is not None:
                self.counts["receipts"] = connection.execute(receipts).scalar_one()
            odd = odd_references(connection, self._columns)
            for root in sorted(self._columns.roots):
                self._files(connection, root, tables, odd)

    def directories(self, rules: list[DirectoryRule]) -> None:
        """Count temporary files and logs that are old enough."""
        busy = open_files()
        for rule in rules:
            if rule.root in self._roots.ready:
                refusals: list[PathRefused] = []
                for entry in old_files(self._roots.ready[rule.root], rule, busy, refusals):
                    self._old_file(rule, entry.relative, refusals)
                for refusal in refusals:
                    self._refuse(rule.root, refusal)

    def _old_file(self, rule: DirectoryRule, relative: bytes, refusals: list[PathRefused]) -> None:
        try:
            entry = self._roots.ready[rule.root].inspect(relative)
        except PathRefused as refusal:
            refusals.append(refusal)
            return
        if entry is not None:
            self.counts.update({rule.kind: 1, "bytes": entry.blocks_bytes})

    def _files(self, connection: Connection, root: str, tables: "_Tables", odd: set[tuple[str, str]]) -> None:
        columns = FileColumns(
            tasks=tuple(column for column in self._columns.tasks if column.root == root),
            receipts=tuple(column for column in self._columns.receipts if column.root == root),
        )
        # As bytes: SQLite may hold text that is no UTF-8, which the driver would choke on.
        named = tables.named_by_expired(columns).subquery()
        path = cast(named.c.path, LargeBinary) if connection.dialect.name == "sqlite" else named.c.path
        found = connection.execute(
            select(path, named.c.by_expired, named.c.by_others), execution_options={"yield_per": _FETCHED_TOGETHER}
        )
        for value, by_expired, by_others in found:
            self._file(_Named(root=root, value=value, by_expired=by_expired, by_others=by_others), odd)

    def _file(self, named: "_Named", odd: set[tuple[str, str]]) -> None:
        try:
            path = FileColumn.text(named.value)
            entry = self._roots.ready[named.root].inspect(path.encode())
        except PathRefused as refusal:
            self._refuse(named.root, refusal, named.by_expired)
            return
        if entry is None:
            self.counts["missing"] += named.by_expired
        elif named.by_others or (named.root, path) in odd:
            self.counts["referenced"] += 1
        else:
            self.counts.update(files=1, bytes=entry.blocks_bytes)

    def _refuse(self, root: str, refusal: PathRefused, times: int = 1) -> None:
        if is_final(refusal.reason):
            self.counts[REFUSED + refusal.reason] += times
        else:
            self._problems.add(f"{root}: {refusal}")


@dataclass(frozen=True, kw_only=True)
class _Named:
    """A path and how many rows name it."""

    root: str
    value: str | bytes
    by_expired: int
    by_others: int


class _Tables:
    """Statements about rows that go and rows that stay."""

    def __init__(self, source: SourceTables, rules: tuple[Expiry, ...], dialect: str) -> None:
        self._tasks = source.tasks.table
        self._receipts = source.receipts.table if source.receipts else None
        # A plain yes or no, also where the condition itself is NULL.
        self._goes = case((any_expired(source.tasks, rules, dialect), 1), else_=0)

    def count_tasks(self) -> Select[Any]:
        return select(func.count()).select_from(self._tasks).where(self._goes == 1)

    def count_receipts(self) -> Select[Any] | None:
        if self._receipts is None:
            return None
        return select(func.count()).select_from(self._joined(self._receipts)).where(self._goes == 1)

    def named_by_expired(self, columns: FileColumns) -> Any:
        """Return a SELECT of each path that an expired row names, how often those do, and how often others do."""
        every = union_all(*self._naming(columns)).subquery()
        by_expired, by_others = func.sum(every.c.goes), func.sum(1 - every.c.goes)
        return (
            select(every.c.path, by_expired.label("by_expired"), by_others.label("by_others"))
            .group_by(every.c.path)
            .having(by_expired > 0)
        )

    def _naming(self, columns: FileColumns) -> Iterator[Any]:
        for column in columns.tasks:
            yield self._named(column).select_from(self._tasks)
        for column in columns.receipts:
            yield self._named(column).select_from(self._joined(self._receipts))

    def _joined(self, receipts: Any) -> Any:
        return receipts.outerjoin(self._tasks, self._tasks.c.id == receipts.c.task_id)

    def _named(self, column: FileColumn) -> Select[Any]:
        return select(column.relative_sql().label("path"), self._goes.label("goes")).where(column.column.is_not(None))
