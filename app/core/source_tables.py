"""The application's tables, as the settings map them: every other module uses the logical names below."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal

from msgspec import Meta, field
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    cast,
    func,
    inspect,
    null,
    select,
    type_coerce,
)
from sqlalchemy.exc import NoSuchTableError
from sqlalchemy.types import TypeEngine

from app.core.errors import SchemaMismatch
from app.core.settings_file import Before, Check, Section, nearest
from app.core.utc_datetime import UtcDateTime

TASK_COLUMNS: dict[str, TypeEngine[Any]] = {
    "id": BigInteger(),
    "task_id": String(),
    "task_type": String(),
    "status": String(),
    "tracking_number": String(),
    "created_at": UtcDateTime(),
    "started_at": UtcDateTime(),
    "completed_at": UtcDateTime(),
    "updated_at": UtcDateTime(),
    "processing_time": Float(),
    "retry_count": Integer(),
    "error_message": Text(),
    "image_path": Text(),
    "document_path": Text(),
    "screenshot_path": Text(),
}
RECEIPT_COLUMNS: dict[str, TypeEngine[Any]] = {
    "id": BigInteger(),
    "task_id": BigInteger(),
    "tracking_number": String(),
    "status": String(),
    "qr_code_path": Text(),
    "barcode_path": Text(),
    "delivery_receipt_doc_path": Text(),
    "tracking_screenshot_path": Text(),
    "created_at": UtcDateTime(),
    "updated_at": UtcDateTime(),
}
_TYPES = {"tasks": TASK_COLUMNS, "receipts": RECEIPT_COLUMNS}
TASK_FILE_COLUMNS = ("image_path", "document_path", "screenshot_path")
RECEIPT_FILE_COLUMNS = ("qr_code_path", "barcode_path", "delivery_receipt_doc_path", "tracking_screenshot_path")

_NEWEST = 100
"""Rows looked at to see how an application writes its times."""
_REQUIRED_TASK = ("id", "status", "created_at", "completed_at")
_REQUIRED_RECEIPT = ("id", "task_id")


def _as_words(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], Before(_as_words), Meta(min_length=1)]


class TaskStatuses(Section):
    """`[source.tasks.statuses]`: the application's words for each state; a word not listed is unknown and kept."""

    pending: Words = ("pending",)
    processing: Words = ("processing",)
    completed: Words = ("completed",)
    failed: Words = ("failed",)
    cancelled: Words = ("cancelled",)

    def state_of(self, word: str | None) -> str:
        """Return the logical state that `word` stands for, or `unknown`."""
        for state in ("pending", "processing", "completed", "failed", "cancelled"):
            if word in getattr(self, state):
                return state
        return "unknown"


def _only(known: dict[str, TypeEngine[Any]], required: tuple[str, ...]) -> Check:
    def checked(columns: dict[str, str]) -> dict[str, str]:
        for logical, physical in columns.items():
            if logical not in known:
                raise ValueError(f"{logical!r} is no column we know{nearest(logical, known)}")
            if not physical and logical in required:
                raise ValueError(f"{logical!r} can't be left out")
        return columns

    return Check(checked)


class TaskTableSettings(Section):
    """`[source.tasks]`: the application's task table."""

    table: Annotated[str, Meta(min_length=1)] = "tasks"
    columns: Annotated[dict[str, str], _only(TASK_COLUMNS, _REQUIRED_TASK)] = field(default_factory=dict)
    """Logical name -> the application's column name; an empty name says that the application has no such column."""
    statuses: TaskStatuses = TaskStatuses()


class ReceiptTableSettings(Section):
    """`[source.receipts]`: rows that belong to a task; an empty table name says that there are none."""

    table: str = "delivery_receipts"
    columns: Annotated[dict[str, str], _only(RECEIPT_COLUMNS, _REQUIRED_RECEIPT)] = field(default_factory=dict)
    """As in `TaskTableSettings`."""
    open_statuses: Words = ("pending", "in_transit")
    """Receipts whose tracking is still worth asking for."""


class SourceSettings(Section):
    """`[source]`: the mapping of the application's tables."""

    tasks: TaskTableSettings = TaskTableSettings()
    receipts: ReceiptTableSettings = ReceiptTableSettings()


@dataclass(frozen=True, kw_only=True)
class SourceTable:
    """A mapped table; `table.c` has the logical names as keys and the application's names in SQL."""

    kind: Literal["tasks", "receipts"]
    table: Table
    logical: tuple[str, ...]

    @property
    def name(self) -> str:
        """The application's name of the table."""
        return self.table.fullname

    def has(self, logical: str) -> bool:
        """Tell whether the application has this column."""
        return logical in self.table.c

    def column(self, logical: str) -> ColumnElement[Any]:
        """Return the column, or a typed NULL where the application has none."""
        if self.has(logical):
            return self.table.c[logical]
        return cast(null(), _TYPES[self.kind][logical])


@dataclass(frozen=True, kw_only=True)
class SourceTables:
    """Both mapped tables; `receipts` is None where the application keeps none."""

    tasks: SourceTable
    receipts: SourceTable | None
    statuses: TaskStatuses
    open_receipts: tuple[str, ...] = ("pending", "in_transit")

    def all(self) -> tuple[SourceTable, ...]:
        return (self.tasks,) if self.receipts is None else (self.tasks, self.receipts)


def map_source_tables(settings: SourceSettings) -> SourceTables:
    """Build the mapped tables from the settings; nothing is asked of the database yet."""
    return SourceTables(
        tasks=_mapped("tasks", settings.tasks),
        receipts=_mapped("receipts", settings.receipts) if settings.receipts.table else None,
        statuses=settings.tasks.statuses,
        open_receipts=settings.receipts.open_statuses,
    )


def missing_parts(connection: Connection, source: SourceTables) -> list[str]:
    """Return what the mapping names and the database lacks, one line each; an empty list means all is there."""
    lines: list[str] = []
    for mapped in source.all():
        lines += _missing_of(connection, mapped)
    return lines or _foreign_time_format(connection, source)


def require_source(connection: Connection, source: SourceTables) -> None:
    """Raise SchemaMismatch naming the first missing table or column."""
    if lines := missing_parts(connection, source):
        raise SchemaMismatch(lines[0])


def _mapped(kind: Literal["tasks", "receipts"], settings: TaskTableSettings | ReceiptTableSettings) -> SourceTable:
    types = _TYPES[kind]
    physical = tuple(settings.columns.get(logical, logical) for logical in types)
    return SourceTable(kind=kind, table=_table(kind, settings.table, physical), logical=tuple(types))


@lru_cache(maxsize=64)
def _table(kind: Literal["tasks", "receipts"], full_name: str, physical: tuple[str, ...]) -> Table:
    # Statements are compiled once for each Table object.
    schema, _, name = full_name.rpartition(".")
    columns = [
        Column(column, type_, key=logical, primary_key=logical == "id")
        for column, (logical, type_) in zip(physical, _TYPES[kind].items(), strict=True)
        if column
    ]
    return Table(name, MetaData(), *columns, schema=schema or None)


def _missing_of(connection: Connection, mapped: SourceTable) -> list[str]:
    try:
        found = [column["name"] for column in inspect(connection).get_columns(mapped.table.name, mapped.table.schema)]
    except NoSuchTableError:
        advice = f"create sample data with `gengfu demo create` or name your own under [source.{mapped.kind}] table"
        return [f"table {mapped.name!r} is not in the database; {advice}"]
    return [
        f"table {mapped.name!r} has no column {column.name!r}{nearest(column.name, found)}; "
        f"name the right one under [source.{mapped.kind}.columns] {column.key} "
        f'or write {column.key} = "" if there is none'
        for column in mapped.table.columns
        if column.name not in found
    ]


def foreign_spelling(connection: Connection, column: ColumnElement[Any], key: ColumnElement[Any]) -> str | None:
    """Return how the table writes times where SQLite would sort them wrongly, None where all is well.

    SQLite compares times as text, which is right for one spelling only. The rows with the highest keys tell how the
    application writes; a few odd ones among them are odd rows, kept and counted as such.
    """
    if connection.dialect.name != "sqlite":
        return None
    # As bytes: text that is no UTF-8 would make the driver fail the whole statement.
    newest = select(cast(type_coerce(column, String), LargeBinary), func.typeof(column)).order_by(key.desc())
    written = connection.execute(newest.where(column.is_not(None)).limit(_NEWEST)).all()
    odd = [bytes(text) for text, kind in written if kind != "text" or text[10:11] == b"T"]
    if 2 * len(odd) <= len(written):
        return None
    return odd[0].decode("utf-8", "backslashreplace")[:40]


def _foreign_time_format(connection: Connection, source: SourceTables) -> list[str]:
    rows = source.tasks.table.c
    spelling = foreign_spelling(connection, rows.created_at, rows.id)
    if spelling is None:
        return []
    expected = "SQLite needs UTC text like '2026-01-31 02:00:00.000000'"
    return [f"table {source.tasks.name!r} writes times as {spelling!r}; {expected}"]
