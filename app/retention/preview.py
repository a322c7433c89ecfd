"""A dry run: the figures of a clean-up from read-only transactions and roots that can't remove (rule R13)."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    FromClause,
    LargeBinary,
    Select,
    Table,
    and_,
    case,
    cast,
    false,
    func,
    literal,
    or_,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.sql.util import ClauseAdapter
from sqlalchemy.types import NullType

from app.core.errors import PathRefused
from app.core.safe_files import ReadOnlyRoot
from app.retention.due_files import why_in_doubt
from app.retention.expiry import Expiry, cursor_of, expired, expired_in, passes
from app.retention.problems import Problems
from app.retention.references import first_unexplained, odd_references, unexplained_sql
from app.retention.roots import OpenRoots
from app.retention.rules import ChildRule, RowRule
from app.retention.stored_paths import FileColumn, FileColumns, is_final
from app.retention.tally import REFUSED, rule_key
from app.retention.workplace import Workplace

_SCAN_S = 600.0
_FETCHED_TOGETHER = 1000


class Preview:
    """Counts what a run would do now to rows and their files."""

    def __init__(
        self,
        place: Workplace,
        columns: FileColumns,
        roots: OpenRoots[ReadOnlyRoot],
        unknown: Collection[str],
        problems: Problems,
    ) -> None:
        """Take what a run works with; in the roots `unknown` it would remove nothing."""
        self._place = place
        self._unknown = unknown
        self._columns = columns
        self._roots = roots
        self._problems = problems
        self.counts: Counter[str] = Counter()
        self.waiting = 0
        """Files that would wait for a later run."""
        self.in_doubt: dict[str, str] = {}
        """Root -> why its files would wait, though its rows would go."""

    def rows(self, rules: Mapping[str, tuple[RowRule, datetime]]) -> None:
        """Count what the rules (name -> rule and cutoff) would delete: rows, children and files."""
        with self._place.database.read(deadline_s=_SCAN_S) as connection:
            going, gone = _Going(), Counter[Table]()
            for rule, cutoff in rules.values():
                going = going.also(connection, rule, cutoff)
                gone = self._rule(connection, rule, going, gone)
            self._of_source(connection, going)
            odd = odd_references(connection, self._columns, going.staying)
            # A root that is held has no rule here, and one of a rule that is switched off nobody opened.
            chosen = [rule for rule, _ in rules.values()]
            for root in sorted({file.root for rule in chosen for file in rule.all_files}):
                fate = self._fate(root, chosen)
                doubtful = going.unexplained(connection, self._of_root(root)) if fate != "wait" else None
                before = self.waiting
                self._files(connection, root, fate if doubtful is None else "wait", going, odd)
                if doubtful is not None and self.waiting > before:
                    self.in_doubt[root] = why_in_doubt(root, doubtful)

    def _fate(self, root: str, rules: Sequence[RowRule]) -> str:
        """Return what becomes of files that nothing keeps: wait | keep (in the trash) | go."""
        if root in self._unknown or self._place.settings.file_grace:
            return "wait"
        using = [rule for rule in rules if root in {file.root for file in rule.all_files}]
        return "keep" if all(rule.keep_deleted for rule in using) else "go"

    def _of_root(self, root: str) -> list[FileColumn]:
        return [column for column in self._columns.all if column.root == root]

    def _rule(self, connection: Connection, rule: RowRule, so_far: "_Going", gone: Counter[Table]) -> Counter[Table]:
        """Count what goes by a rule and by none before it; return table -> rows that are gone then."""
        now_gone = gone | Counter({table: so_far.count(connection, table) for table in set(rule.tables)})
        self.counts[rule_key(rule.name, "rows")] = now_gone[rule.table] - gone[rule.table]
        if children := sum(now_gone[table] - gone[table] for table in {child.table for child in rule.children}):
            self.counts[rule_key(rule.name, "children")] = children
        return now_gone

    def _of_source(self, connection: Connection, going: "_Going") -> None:
        source = self._place.source
        for what, mapped in (("tasks", source.tasks), ("receipts", source.receipts)):
            if mapped is not None and (table := going.table(mapped.name)) is not None:
                self.counts[what] = going.count(connection, table)

    def _files(self, connection: Connection, root: str, fate: str, going: "_Going", odd: set[tuple[str, str]]) -> None:
        # As bytes: SQLite may hold text that is no UTF-8, which the driver would choke on.
        named = going.named(self._of_root(root)).subquery()
        path = cast(named.c.path, LargeBinary) if connection.dialect.name == "sqlite" else named.c.path
        found = connection.execute(
            select(path, named.c.by_expired, named.c.by_others), execution_options={"yield_per": _FETCHED_TOGETHER}
        )
        for value, by_expired, by_others in found:
            self._file(_Named(root=root, value=value, by_expired=by_expired, by_others=by_others), fate, odd)

    def _file(self, named: "_Named", fate: str, odd: set[tuple[str, str]]) -> None:
        try:
            path = FileColumn.text(named.value)
            entry = self._roots.ready[named.root].inspect(path.encode())
        except PathRefused as refusal:
            self._refuse(named.root, refusal, named.by_expired)
            return
        if entry is None:
            self.counts["missing"] += named.by_expired
        elif fate == "wait":
            self.waiting += 1
        elif named.by_others or (named.root, path) in odd:
            self.counts["referenced"] += 1
        elif fate == "keep":
            self.counts.update(trashed=1, trashed_bytes=entry.blocks_bytes)
        else:
            self.counts.update(files=1, bytes=entry.blocks_bytes)

    def _refuse(self, root: str, refusal: PathRefused, times: int = 1) -> None:
        if is_final(refusal.reason):
            self.counts[REFUSED + refusal.reason] += times
        else:
            self._problems.add(f"{root}: {refusal}")


def _flag(conditions: Iterable[ColumnElement[bool]]) -> ColumnElement[int]:
    """Return 1 where one of them holds, else 0, also where a condition itself is NULL."""
    return case((or_(false(), *conditions), 1), else_=0)


def _plain(value: Any) -> ColumnElement[Any]:
    # The server takes its type from the column beside it.
    return literal(value, NullType())


@dataclass(frozen=True, kw_only=True)
class _Named:
    """A path and how many rows name it."""

    root: str
    value: str | bytes
    by_expired: int
    by_others: int


@dataclass(frozen=True, kw_only=True)
class _Parent:
    """How rows of a table hang on those of another, under a name of its own: they may do so by two keys."""

    foreign_key: Column[Any]
    key: Column[Any]
    rows: FromClause
    take: list[ColumnElement[bool]] = field(default_factory=list)
    """Conditions of the rows of `rows` that take what hangs on them along."""

    @classmethod
    def of(cls, child: ChildRule, rule: RowRule) -> "_Parent":
        return cls(foreign_key=child.foreign_key, key=rule.key, rows=rule.table.alias())

    def going(self) -> Iterator[ColumnElement[bool]]:
        yield from map(ClauseAdapter(self.rows).traverse, self.take)


class _Going:
    """Statements about rows that go by any of some rules, and rows that stay."""

    def __init__(self, rules: Sequence[tuple[RowRule, ColumnElement[bool]]] = ()) -> None:
        """Take the rules, each with the condition of its rows."""
        self._rules = rules
        self._own: dict[Table, list[ColumnElement[bool]]] = {}
        self._parents: dict[Table, dict[tuple[str, str, str], _Parent]] = {}
        for rule, condition in rules:
            own = self._own.setdefault(rule.table, [])
            # What goes by a rule before it takes along what hangs on it by that rule.
            first = and_(condition, _flag(own) == 0)
            own.append(condition)
            for child in rule.children:
                # Two rules of one table share the join.
                which = (child.foreign_key.name, rule.table_name, rule.key.name)
                parents = self._parents.setdefault(child.table, {})
                parents.setdefault(which, _Parent.of(child, rule)).take.append(first)

    def also(self, connection: Connection, rule: RowRule, cutoff: datetime) -> "_Going":
        """Return the same with a rule that comes after these."""
        dialect = connection.dialect.name
        if rule.max_rows is None:
            condition = expired(rule, cutoff, dialect)
        else:
            condition = or_(false(), *self._first(connection, rule.max_rows, passes(rule, cutoff)))
        return _Going((*self._rules, (rule, condition)))

    def _first(self, connection: Connection, most: int, rest: Iterable[Expiry]) -> Iterator[ColumnElement[bool]]:
        """Yield the condition of each pass until so many rows would be gone."""
        for expiry in rest:
            time, key = cursor_of(expiry, connection.dialect.name), expiry.rule.key
            condition = expired_in(expiry, connection.dialect.name)
            left = self.staying(select(time, key).where(condition), key.table)
            if (last := connection.execute(left.order_by(time, key).offset(most - 1).limit(1)).first()) is not None:
                yield and_(condition, tuple_(time, key) <= tuple_(*map(_plain, last)))
                return
            yield condition
            most -= connection.execute(select(func.count()).select_from(left.subquery())).scalar_one()

    def table(self, name: str) -> Table | None:
        """Return the table of this name if rows of it may go."""
        tables = {table.fullname: table for table in (*self._own, *self._parents)}
        return tables.get(name)

    def count(self, connection: Connection, table: Table) -> int:
        """Return the rows of a table that go."""
        statement = select(func.count()).select_from(self._joined(table)).where(self._goes(table) == 1)
        return int(connection.execute(statement).scalar_one())

    def named(self, columns: Sequence[FileColumn]) -> Select[Any]:
        """Return a SELECT of each path that an expired row names, how often those do, and how often others do."""
        every = union_all(*map(self._naming, columns)).subquery()
        by_expired, by_others = func.sum(every.c.goes), func.sum(1 - every.c.goes)
        return (
            select(every.c.path, by_expired.label("by_expired"), by_others.label("by_others"))
            .group_by(every.c.path)
            .having(by_expired > 0)
        )

    def staying(self, statement: Select[Any], table: Table) -> Select[Any]:
        """Return a SELECT from a table with only the rows that stay."""
        return statement.select_from(self._joined(table)).where(self._goes(table) == 0)

    def unexplained(self, connection: Connection, columns: Sequence[FileColumn]) -> str | None:
        """Return an absolute path of a row that stays which may mean any file of the root (R7)."""
        for file in columns:
            table = file.column.table
            absolute = self.staying(select(file.raw(connection.dialect.name)).where(unexplained_sql(file)), table)
            if (path := first_unexplained(connection, file, absolute)) is not None:
                return path
        return None

    def _naming(self, file: FileColumn) -> Select[Any]:
        table = file.column.table
        path, goes = file.relative_sql().label("path"), self._goes(table).label("goes")
        return select(path, goes).select_from(self._joined(table)).where(file.column.is_not(None))

    def _joined(self, table: Table) -> Any:
        joined: Any = table
        for parent in self._parents.get(table, {}).values():
            joined = joined.outerjoin(parent.rows, parent.rows.c[parent.key.name] == parent.foreign_key)
        return joined

    def _goes(self, table: Table) -> ColumnElement[int]:
        return _flag(self._conditions(table))

    def _conditions(self, table: Table) -> Iterator[ColumnElement[bool]]:
        yield from self._own.get(table, ())
        for parent in self._parents.get(table, {}).values():
            yield from parent.going()
