"""What `doctor` finds in a database and by two clocks, a step before each limit and a step after it."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from app.core.database import Database
from app.core.source_tables import ReceiptTableSettings, SourceSettings, map_source_tables
from app.doctor import CLOCK_LIMIT_S, clock_finding, index_findings

NOW = datetime(2026, 3, 10, 4, 0, tzinfo=UTC)


def missing(database: Database, source: SourceSettings | None = None) -> list[str]:
    with database.read() as connection:
        found = index_findings(connection, map_source_tables(source or SourceSettings()))
    return [finding.mend for finding in found if finding.state == "broken"]


def execute(database: Database, *statements: str) -> None:
    with database.write() as connection:
        for statement in statements:
            connection.execute(text(statement))


def test_the_tables_of_the_default_mapping_lack_no_index(application: Database) -> None:
    assert missing(application) == []


def test_the_statement_that_is_told_makes_the_missing_index(application: Database) -> None:
    execute(application, "DROP INDEX ix_tasks_status_completed_at_id", "DROP INDEX ix_delivery_receipts_task_id")
    told = missing(application)
    assert len(told) == 2
    execute(application, *(statement.replace(" CONCURRENTLY", "") for statement in told))
    assert missing(application) == []


def test_an_index_that_only_contains_the_column_or_some_rows_does_not_count(application: Database) -> None:
    execute(
        application,
        "DROP INDEX ix_tasks_created_at",
        "CREATE INDEX second_place ON tasks (status, created_at)",
        "CREATE INDEX some_rows ON tasks (created_at) WHERE status = '完成'",
    )
    assert len(missing(application)) == 1


def test_where_there_are_no_receipts_no_index_of_theirs_is_asked_for(application: Database) -> None:
    execute(application, "DROP INDEX ix_delivery_receipts_task_id")
    assert missing(application, SourceSettings(receipts=ReceiptTableSettings(table=""))) == []


def test_without_application_tables_nothing_is_said_of_indexes(database: Database) -> None:
    assert missing(database) == []


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("seconds", "state"), [(CLOCK_LIMIT_S, "ok"), (CLOCK_LIMIT_S + 0.001, "broken")])
def test_clocks_may_differ_by_a_minute_and_no_more(sign: int, seconds: float, state: str) -> None:
    assert clock_finding(NOW + sign * timedelta(seconds=seconds), NOW).state == state
