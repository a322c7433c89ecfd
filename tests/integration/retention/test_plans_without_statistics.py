"""A restored or freshly filled table has no statistics: PostgreSQL must find each batch by the index all the same."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from retention_shop import WITH_CHILDREN, Shop
from sqlalchemy import event, text

from app.retention.preflight import look, remarks
from app.retention.rule_settings import GuardSettings
from app.retention.rules import rule_book

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

_ROWS = 150_000
"""From about so many on the planner, guessing, would rather sort."""
_GO = 10_000


@pytest.fixture
def restored(shop: Shop) -> Shop:
    """Expired jobs whose table nobody analysed."""
    shop.rules(订单=WITH_CHILDREN | {"max_rows": _GO})
    shop.lab.with_settings(guards=GuardSettings(enabled=False, clock_s=10**9))
    with shop.lab.database.write() as connection:
        for statement in (
            "ALTER TABLE jobs SET (autovacuum_enabled = off)",
            (
                "INSERT INTO jobs (no, state, done_at, label) "
                "SELECT n, 'done', now() - interval '99 days' + n * interval '1 second', '旧作业' "
                f"FROM generate_series(1, {_ROWS}) n"
            ),
            f"INSERT INTO parts (id, job_no) SELECT no, no FROM jobs WHERE no <= {_GO}",
            "CREATE INDEX ix_jobs_in_order ON jobs (state, done_at, no)",
        ):
            connection.execute(text(statement))
    return shop


@contextmanager
def plans(shop: Shop) -> Iterator[dict[str, list[str]]]:
    """Collect how the server would run each locking SELECT and each DELETE, asked where they are run."""
    seen: dict[str, list[str]] = {"lock": [], "delete": []}

    def explain(connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        kind = "lock" if "FOR UPDATE SKIP LOCKED" in statement else "delete" if "DELETE FROM jobs" in statement else ""
        if kind:
            with closing(connection.connection.cursor()) as cursor:
                cursor.execute(f"EXPLAIN {statement}", parameters)
                seen[kind].append("\n".join(line for (line,) in cursor.fetchall()))

    event.listen(shop.lab.database.engine, "before_cursor_execute", explain)
    try:
        yield seen
    finally:
        event.remove(shop.lab.database.engine, "before_cursor_execute", explain)


def test_batches_walk_along_the_index_and_rows_go_by_their_keys(restored: Shop) -> None:
    with plans(restored) as seen:
        told = restored.told()
    assert (told["state"], told["rows"], restored.jobs()) == ("budget", _GO, set(range(_GO + 1, _ROWS + 1)))
    assert len(seen["lock"]) == len(seen["delete"]) > 1
    for plan in seen["lock"]:
        assert "Sort" not in plan
        assert "ix_jobs_in_order" in plan
    for plan in seen["delete"]:
        assert "jobs_pkey" in plan
        assert "ix_jobs_in_order" not in plan


def test_without_an_index_in_their_order_the_planner_may_sort(restored: Shop) -> None:
    """Many old rows of another status would else be walked over, where an index on the status finds the few."""
    with restored.lab.database.write() as connection:
        connection.execute(text("DROP INDEX ix_jobs_in_order"))
        connection.execute(text("CREATE INDEX ix_jobs_time ON jobs (done_at)"))
        connection.execute(text("CREATE INDEX ix_jobs_state ON jobs (state)"))
        connection.execute(text("UPDATE jobs SET state = 'open' WHERE no > 50"))
        connection.execute(text("ANALYZE jobs"))
    with plans(restored) as seen:
        told = restored.told()
    assert (told["state"], told["rows"]) == ("done", 50)
    assert all("ix_jobs_state" in plan for plan in seen["lock"])


def codes(shop: Shop) -> dict[str, str | None]:
    place = shop.lab.place()
    (rule,) = rule_book(place.source, place.settings, place.folders).rules
    with shop.lab.database.read() as connection:
        return {r.code: r.mend for r in remarks(rule, look(connection, rule), place.settings, "postgresql")}


def test_a_large_table_that_was_never_analysed_is_told_with_the_statement_that_mends_it(restored: Shop) -> None:
    assert codes(restored)["never_analysed"] == "ANALYZE parts"  # the last of two
    with restored.lab.database.write() as connection:
        connection.execute(text("ANALYZE jobs"))
        connection.execute(text("ANALYZE parts"))
    assert "never_analysed" not in codes(restored)


def test_a_small_table_is_not_told_of(shop: Shop) -> None:
    shop.rules(订单=WITH_CHILDREN)
    shop.job(1)
    assert "never_analysed" not in codes(shop)
