"""Deleted rows kept for a while, so that `gengfu retention undo` can bring them back."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, text

from app.core.own_tables import archived_row
from app.retention.catalogue import printed
from app.retention.counting import table_rows
from app.retention.rules import RowRule

_AT_ONCE_BYTES = 64 * 2**20
# With what is stored out of line; a partitioned table has its rows in others.
_SIZE = text(
    "SELECT sum(pg_table_size(relid)) FROM (SELECT to_regclass(:name) AS relid UNION "
    "SELECT relid FROM pg_partition_tree(to_regclass(:name))) AS parts"
)
_SQLITE_SIZE = text(
    "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
)


@dataclass(frozen=True, kw_only=True)
class ArchiveSlip:
    """What is noted with archived rows."""

    run_id: str
    rule: str
    at: datetime
    purge_at: datetime

    def values(self, table_name: str, *, is_child: bool) -> dict[str, Any]:
        """Return the columns of an archive row but for the rows themselves."""
        return {
            "run_id": self.run_id,
            "rule": self.rule,
            "table_name": table_name,
            "is_child": int(is_child),
            "archived_at": self.at,
            "purge_at": self.purge_at,
        }


def rows_at_once(connection: Connection, rule: RowRule) -> int:
    """Return how many rows of a rule, with their children, one archive row should hold at most.

    By the mean size of a row on disk, on SQLite in the whole file: what is kept of a batch is one text, in the
    server's memory and on SQLite in ours, and no server takes one beyond a gigabyte.
    """
    size = _stored_bytes(connection, rule)
    return max(1, _AT_ONCE_BYTES * table_rows(connection, rule.table) // max(size, 1))


def _stored_bytes(connection: Connection, rule: RowRule) -> int:
    if connection.dialect.name == "sqlite":
        return int(connection.execute(_SQLITE_SIZE).scalar_one())
    names = [printed(connection, table) for table in rule.tables]
    return sum(int(connection.execute(_SIZE, {"name": name}).scalar() or 0) for name in names)


def purge_due_rows(connection: Connection, now: datetime) -> int:
    """Delete the archive rows whose time is over; return how many rows of the application they held."""
    due = delete(archived_row).where(archived_row.c.purge_at <= now).returning(archived_row.c.row_count)
    return sum(connection.execute(due).scalars())


def packed_sqlite(names: list[str], rows: Iterable[tuple[Any, ...]]) -> str:
    """Return rows as JSON objects; `rows` hold for each column its value and SQLite's word for its kind.

    Numbers, texts and NULL stand as they are; `{"$blob": hex}` is a blob, `{"$text": hex}` a text that is no UTF-8,
    `{"$real": "inf"}` a number that JSON can't write. Integers beyond 2^53 keep all their digits.
    """
    return json.dumps([_packed_row(names, row) for row in rows], ensure_ascii=False, separators=(",", ":"))


def _packed_row(names: list[str], row: tuple[Any, ...]) -> dict[str, Any]:
    return {name: _packed_value(row[2 * n], row[2 * n + 1]) for n, name in enumerate(names)}


def _packed_value(value: Any, kind: str) -> Any:
    if kind == "text":
        try:
            return bytes(value).decode()
        except UnicodeDecodeError:
            return {"$text": bytes(value).hex()}
    if kind == "blob":
        return {"$blob": bytes(value).hex()}
    if kind == "real" and value in {float("inf"), float("-inf")}:
        return {"$real": str(value)}
    return value
