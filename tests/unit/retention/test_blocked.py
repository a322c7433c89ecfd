"""Why a server refused to delete rows is told by the constraint it names."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from app.core.settings_reader import read
from app.core.source_tables import SourceSettings, map_source_tables
from app.retention.blocked import why_blocked
from app.retention.rule_settings import RowRuleSettings
from app.retention.rules import row_rules
from app.retention.settings import RetentionSettings


class Refusal(Exception):
    """What the driver raises, as far as we look at it."""

    diag = SimpleNamespace(table_name="发票", constraint_name="发票_订单_fkey")

    def __init__(self, pgcode: str) -> None:
        super().__init__("update or delete on table violates a constraint")
        self.pgcode = pgcode


def told(pgcode: str) -> str:
    settings = RetentionSettings(
        default_rules=False, rules={"订单": read(RowRuleSettings, {"table": "订单", "finished": "完成", "keep": "30d"})}
    )
    folders = {name: Path("/srv") / name for name in settings.roots}
    (rule,) = row_rules(map_source_tables(SourceSettings()), settings, folders)
    nobody: Any = None  # only SQLite is asked which tables refer to the rule's
    return why_blocked(nobody, rule, IntegrityError(None, None, Refusal(pgcode)))


@pytest.mark.parametrize("pgcode", ["23503", "23001"])  # PostgreSQL 18 has a code of its own for ON DELETE RESTRICT
def test_a_key_that_refers_to_the_rows_is_named_with_what_to_do(pgcode: str) -> None:
    assert "rows of 发票 refer to them (发票_订单_fkey): name it among the rule's children" in told(pgcode)


def test_another_refusal_is_told_in_the_servers_words_alone() -> None:
    assert told("23514").endswith("violates a constraint")
