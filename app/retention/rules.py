"""Row rules as the engines use them: a table, what of it may go at which age, and what goes with it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import Column, ColumnElement, MetaData, Table
from sqlalchemy.types import NullType, TypeEngine

from app.core.source_tables import SourceTable, SourceTables
from app.core.utc_datetime import UtcDateTime
from app.retention.rule_settings import ChildSettings, HoldSettings, RowRuleSettings
from app.retention.settings import RetentionSettings
from app.retention.stored_paths import FileColumn, file_column

DEFAULT_RULES = ("completed", "failed")
"""Names of the rules over the tables of `[source]`."""


@dataclass(frozen=True, kw_only=True)
class Hold:
    """A reason that pins a row; see `HoldSettings`."""

    column: Column[Any]
    when: str
    values: tuple[Any, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ChildRule:
    """Rows that go with the rows whose key their foreign key names."""

    table: Table
    foreign_key: Column[Any]
    files: tuple[FileColumn, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RowRule:
    """Rows of one table that go at an age. Columns carry the application's names in SQL."""

    name: str
    table: Table
    key: Column[Any]
    finished: Column[Any]
    keep: timedelta
    fallback: Column[Any] | None = None
    created: Column[Any] | None = None
    status: Column[Any] | None = None
    words: tuple[Any, ...] = ()
    """Values of `status` that go; empty: every row, and then `status` is None."""
    holds: tuple[Hold, ...] = ()
    files: tuple[FileColumn, ...] = ()
    children: tuple[ChildRule, ...] = ()
    order: int = 0
    max_rows: int | None = None
    max_seconds: int | None = None
    keep_deleted: timedelta = timedelta(0)

    @property
    def table_name(self) -> str:
        """The table with its schema where one is named."""
        return self.table.fullname

    @property
    def all_files(self) -> tuple[FileColumn, ...]:
        """File columns of the table and its children."""
        return (*self.files, *(column for child in self.children for column in child.files))

    @property
    def tables(self) -> tuple[Table, ...]:
        """The table and those of its children."""
        return (self.table, *(child.table for child in self.children))

    @property
    def columns(self) -> tuple[ColumnElement[Any], ...]:
        """Every column that the rule names, those of its children included, each once."""
        own = (self.key, self.finished, self.fallback, self.created, self.status, *(hold.column for hold in self.holds))
        of_children = (child.foreign_key for child in self.children)
        named = (*own, *of_children, *(file.column for file in self.all_files))
        return tuple(dict.fromkeys(column for column in named if column is not None))

    @property
    def time_columns(self) -> tuple[Column[Any], ...]:
        """The finish time and, where there is one, the time that counts for rows without."""
        return (self.finished,) if self.fallback is None else (self.finished, self.fallback)


@dataclass(frozen=True, kw_only=True)
class RuleBook:
    """All rules, over one `Table` object for each table, so that conditions of several can stand in one statement."""

    rules: tuple[RowRule, ...]
    """Those that are switched on, in the order in which they run."""
    references: tuple[FileColumn, ...]
    """Every column whose rows keep a file alive: of all rules, switched on or not, and of the tables of `[source]`."""
    optional: frozenset[str] = frozenset()
    """Tables that need not be there: those of `[source]` where no rule works on them."""


def rule_book(source: SourceTables, settings: RetentionSettings, folders: Mapping[str, Path]) -> RuleBook:
    """Return the rules and what keeps files alive. `folders` are the roots' full paths."""
    tables = _Tables()
    # Twice: only when every rule has named its columns are the tables complete.
    _built(source, settings, folders, tables)
    tables.build()
    standard, own, mapped = _built(source, settings, folders, tables)
    chosen = (
        *(standard if settings.default_rules else ()),
        *(rule for rule in own if settings.rules[rule.name].enabled),
    )
    named = {table.fullname for rule in own for table in rule.tables}
    optional = frozenset() if settings.default_rules else frozenset({t.name for t in source.all()} - named)
    return RuleBook(
        rules=tuple(sorted(chosen, key=lambda rule: rule.order)),
        references=_each_once((*mapped, *(file for rule in own for file in rule.all_files))),
        optional=optional,
    )


def row_rules(source: SourceTables, settings: RetentionSettings, folders: Mapping[str, Path]) -> tuple[RowRule, ...]:
    """Return every rule that is switched on, in the order in which they run. `folders` are the roots' full paths."""
    return rule_book(source, settings, folders).rules


def file_columns(rules: Iterable[RowRule]) -> tuple[FileColumn, ...]:
    """Return every column in which a rule's rows or their children name files, each once."""
    return _each_once(file for rule in rules for file in rule.all_files)


def bare_table(full_name: str, times: AbstractSet[str], others: AbstractSet[str]) -> Table:
    """Return a table of just the named columns; types other than times are left to the driver."""
    return _bare_table(full_name, frozenset(times), frozenset(others))


@lru_cache(maxsize=256)
def _bare_table(full_name: str, times: frozenset[str], others: frozenset[str]) -> Table:
    # Statements are compiled once for each Table object: a run whose tables are those of the one before saves that.
    schema, _, name = full_name.rpartition(".")
    types: dict[str, TypeEngine[Any]] = {column: NullType() for column in sorted(others)}
    types |= {column: UtcDateTime() for column in sorted(times)}
    columns = [Column(column, kind) for column, kind in types.items() if column]
    return Table(name, MetaData(), *columns, schema=schema or None)


@dataclass(kw_only=True)
class _Tables:
    """The tables of all rules; asked for a column it doesn't have yet, it takes note of it."""

    _times: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _others: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _built: dict[str, Table] = field(default_factory=dict)

    def build(self) -> None:
        """Make each table with the columns that were asked for."""
        for name in {*self._times, *self._others}:
            self._built[name] = bare_table(name, self._times[name], self._others[name])

    def get(self, name: str) -> Table:
        """Return the table as it was built; before that an empty one."""
        return self._built[name] if name in self._built else bare_table(name, set(), set())

    def time(self, table: str, column: str) -> Column[Any]:
        return self._column(table, column, self._times)

    def other(self, table: str, column: str) -> Column[Any]:
        return self._column(table, column, self._others)

    def _column(self, table: str, column: str, noted: dict[str, set[str]]) -> Column[Any]:
        if table in self._built:
            return self._built[table].c[column]
        noted[table].add(column)
        return Column(column)


def _built(
    source: SourceTables, settings: RetentionSettings, folders: Mapping[str, Path], tables: _Tables
) -> tuple[tuple[RowRule, ...], tuple[RowRule, ...], tuple[FileColumn, ...]]:
    """Return the rules over the tables of `[source]`, those of the settings, and the file columns of `[source]`."""
    maker = _Maker(settings=settings, folders=folders, tables=tables)
    standard = tuple(maker.standard(source))
    own = tuple(maker.own(name, rule) for name, rule in settings.rules.items())
    return standard, own, standard[0].all_files


@dataclass(frozen=True, kw_only=True)
class _Maker:
    """Makes rules of settings."""

    settings: RetentionSettings
    folders: Mapping[str, Path]
    tables: _Tables

    def standard(self, source: SourceTables) -> Iterator[RowRule]:
        settings, tasks, name = self.settings, source.tasks, source.tasks.name
        children = (self._receipts(source.receipts),) if source.receipts is not None else ()
        key, status = (self.tables.other(name, tasks.table.c[column].name) for column in ("id", "status"))
        created, finished = (
            self.tables.time(name, tasks.table.c[column].name) for column in ("created_at", "completed_at")
        )
        files = self._mapped_files(tasks, settings.task_files)
        days = (settings.completed_tasks_days, settings.failed_tasks_days)
        for state, keep in zip(DEFAULT_RULES, days, strict=True):
            yield RowRule(
                name=state,
                table=self.tables.get(name),
                key=key,
                finished=finished,
                created=created,
                status=status,
                # A word of two states is never older than the first.
                words=tuple(w for w in getattr(source.statuses, state) if source.statuses.state_of(w) == state),
                keep=timedelta(days=keep),
                files=files,
                children=children,
                keep_deleted=settings.keep_deleted,
            )

    def own(self, name: str, rule: RowRuleSettings) -> RowRule:
        table, tables = rule.table, self.tables
        return RowRule(
            name=name,
            key=tables.other(table, rule.key),
            finished=tables.time(table, rule.finished),
            fallback=tables.time(table, rule.fallback) if rule.fallback else None,
            created=tables.time(table, rule.created) if rule.created else None,
            status=tables.other(table, rule.status) if rule.status else None,
            words=tuple(rule.statuses),
            keep=rule.keep,
            holds=tuple(self._hold(table, hold) for hold in rule.hold),
            files=self._files(table, rule.files),
            children=tuple(self._child(child) for child in rule.children),
            order=rule.order,
            max_rows=rule.max_rows,
            max_seconds=rule.max_seconds,
            keep_deleted=self.settings.keep_deleted if rule.keep_deleted is None else rule.keep_deleted,
            table=tables.get(table),
        )

    def _receipts(self, receipts: SourceTable) -> ChildRule:
        key = self.tables.other(receipts.name, receipts.table.c.task_id.name)
        files = self._mapped_files(receipts, self.settings.receipt_files)
        return ChildRule(table=self.tables.get(receipts.name), foreign_key=key, files=files)

    def _mapped_files(self, table: SourceTable, mapping: Mapping[str, str]) -> tuple[FileColumn, ...]:
        named = {table.table.c[logical].name: root for logical, root in mapping.items() if table.has(logical)}
        return self._files(table.name, {column: root for column, root in named.items() if root})

    def _files(self, table: str, mapping: Mapping[str, str]) -> tuple[FileColumn, ...]:
        return tuple(
            file_column(self.tables.other(table, column), root, self.settings, self.folders)
            for column, root in mapping.items()
        )

    def _child(self, child: ChildSettings) -> ChildRule:
        key = self.tables.other(child.table, child.foreign_key)
        return ChildRule(
            table=self.tables.get(child.table), foreign_key=key, files=self._files(child.table, child.files)
        )

    def _hold(self, table: str, hold: HoldSettings) -> Hold:
        column = self.tables.time if hold.when == "future" else self.tables.other
        return Hold(column=column(table, hold.column), when=hold.when, values=tuple(hold.values))


def _each_once(files: Iterable[FileColumn]) -> tuple[FileColumn, ...]:
    found = {(file.table, file.column.name, file.root): file for file in files}
    return tuple(found.values())
