"""A row rule as it is written down with each run, and made again to see what the rule of then would delete now."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import Column, Table

from app.retention.rules import Hold, RowRule, bare_table


def remembered(rule: RowRule) -> dict[str, Any]:
    """Return the rule as plain JSON values: all that decides which rows and files go."""
    return {
        "table": rule.table_name,
        "key": rule.key.name,
        "finished": rule.finished.name,
        "fallback": rule.fallback.name if rule.fallback is not None else None,
        "created": rule.created.name if rule.created is not None else None,
        "status": rule.status.name if rule.status is not None else None,
        "words": sorted(rule.words, key=str),
        "keep_s": rule.keep.total_seconds(),
        "holds": [{"column": h.column.name, "when": h.when, "values": sorted(h.values, key=str)} for h in rule.holds],
        "files": {str(file.column.name): file.root for file in rule.files},
        "children": [
            {
                "table": child.table.fullname,
                "foreign_key": child.foreign_key.name,
                "files": {str(file.column.name): file.root for file in child.files},
            }
            for child in rule.children
        ],
    }


def recalled(name: str, told: Mapping[str, Any]) -> RowRule:
    """Return the rule that `remembered` told, without files and children: enough to count the rows it covers."""
    holds = told["holds"]
    times = {
        told["finished"],
        told["fallback"],
        told["created"],
        *(h["column"] for h in holds if h["when"] == "future"),
    }
    others = {told["key"], told["status"], *(hold["column"] for hold in holds)}
    table = bare_table(told["table"], times - {None}, others - {None})
    return RowRule(
        name=name,
        table=table,
        key=table.c[told["key"]],
        finished=table.c[told["finished"]],
        fallback=_column(table, told["fallback"]),
        created=_column(table, told["created"]),
        status=_column(table, told["status"]),
        words=tuple(told["words"]),
        keep=timedelta(seconds=told["keep_s"]),
        holds=tuple(
            Hold(column=table.c[hold["column"]], when=hold["when"], values=tuple(hold["values"])) for hold in holds
        ),
    )


def _column(table: Table, name: str | None) -> Column[Any] | None:
    return table.c[name] if name else None
