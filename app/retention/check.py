"""`gengfu retention check`: every rule held against the live catalogue; nothing is counted, locked or written."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from app.core.errors import DatabaseBusy, DatabaseRefused, SchemaMismatch
from app.retention.preflight import Remark, look, other_names, remarks
from app.retention.rules import RowRule, row_rules
from app.retention.workplace import Workplace


@dataclass(frozen=True, kw_only=True)
class RuleCheck:
    """One rule and what is to be said of it."""

    rule: str
    table: str
    remarks: tuple[Remark, ...]

    @property
    def refused(self) -> bool:
        """The rule would not run."""
        return any(remark.level == "refused" for remark in self.remarks)

    def told(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "rule": self.rule,
            "table": self.table,
            "state": "refused" if self.refused else "warning" if self.remarks else "ok",
            "remarks": [
                {"level": remark.level, "code": remark.code, "text": remark.text, "mend": remark.mend}
                for remark in self.remarks
            ],
        }


def check_rules(place: Workplace) -> list[RuleCheck]:
    """Return what hinders each rule or should be known of it, in the order in which they run.

    Raises DatabaseUnavailable.
    """
    rules = row_rules(place.source, place.settings, place.folders)
    return [
        RuleCheck(rule=rule.name, table=rule.table_name, remarks=(*_of_catalogue(place, rule), *_beside(rule, rules)))
        for rule in rules
    ]


def _of_catalogue(place: Workplace, rule: RowRule) -> tuple[Remark, ...]:
    try:
        with place.database.read() as connection:
            seen = look(connection, rule)
            found = remarks(rule, seen, place.settings, connection.dialect.name)
            return (*found, *other_names(connection, rule, seen, place.source))
    except (DatabaseBusy, DatabaseRefused, SchemaMismatch) as error:
        return (Remark(level="refused", code="database", text=str(error)),)


def _beside(rule: RowRule, rules: tuple[RowRule, ...]) -> Iterator[Remark]:
    """Rules that may mean the same rows: what one of them keeps the other may delete."""
    if rule.status is not None and not rule.words:
        yield Remark(level="refused", code="empty_rule", text="no status word is left that may go; name them")
    for other in rules:
        if other.name != rule.name and other.table is rule.table and _share_words(rule, other):
            text = f"rule {other.name} works on the same rows of {rule.table_name}; a row goes when either says so"
            yield Remark(level="warning", code="same_rows", text=text)


def _share_words(rule: RowRule, other: RowRule) -> bool:
    if rule.status is None or other.status is None:
        return True
    return rule.status is not other.status or bool(set(rule.words) & set(other.words))
