"""The statement's own arithmetic: sums that pass 2^63, numbers of cells, times in another spelling."""

from pathlib import Path

import pytest
from daily_rows import put, report, start_of, task
from sqlalchemy import BigInteger, cast, literal, literal_column, select, text, union_all

from app.core.clock import ManualClock
from app.core.database import Database, DatabaseSettings
from app.core.migrate import upgrade
from app.demo import schema
from app.reporting.day_statements import RETRY_CAP, cell_number, cell_of
from app.reporting.figures import ABSURD, NEGATIVE, NO_FINISH_TIME, STATES, Cell
from app.reporting.sql_dialect import dialect_for

MOST = 9 * 10**18
"""Two of them are more than SQLite's sum can hold."""


@pytest.mark.parametrize(
    ("us", "total"),
    [([MOST, MOST, 7], 2 * MOST + 7), ([999_999, 1], 1_000_000), ([1], 1), ([None], 0), ([0, None], 0)],
)
def test_a_sum_is_exact_whatever_its_size(database: Database, us: list[int | None], total: int) -> None:
    rows = union_all(*(select(cast(literal(one), BigInteger).label("us")) for one in us)).subquery()
    with database.read() as connection:
        found = connection.execute(select(dialect_for(database.dialect).total(rows.c.us)).select_from(rows)).scalar()
    assert int(found or 0) == total


@pytest.mark.parametrize("state", range(len(STATES)))
@pytest.mark.parametrize("slot", [None, -100, 0, 99])
@pytest.mark.parametrize("retries", [None, 0, RETRY_CAP])
def test_the_number_of_a_cell_tells_all_of_it(state: int, slot: int | None, retries: int | None) -> None:
    for odd in (0, NO_FINISH_TIME | NEGATIVE, ABSURD, NO_FINISH_TIME | NEGATIVE | ABSURD):
        parts = [literal_column("NULL" if one is None else str(one), BigInteger) for one in (state, slot, retries, odd)]
        number = str(cell_number(*parts).compile(compile_kwargs={"literal_binds": True}))
        assert number
        assert cell_of(_evaluated(number), 5) == Cell(state=STATES[state], slot=slot, retries=retries, odd=odd, rows=5)


def _evaluated(number: str) -> int:
    lite = Database("sqlite://", DatabaseSettings())
    with lite.read() as connection:
        found: int = connection.execute(text(f"SELECT {number}")).scalar_one()
    lite.dispose()
    return found


def test_a_creation_time_in_another_spelling_is_counted_in_its_own_hour(tmp_path: Path, clock: ManualClock) -> None:
    sqlite = Database(f"sqlite:///{tmp_path / 'x.db'}", DatabaseSettings())
    upgrade(sqlite)
    with sqlite.write() as connection:
        schema.metadata.create_all(connection)
    put(sqlite, [task(number, start_of()) for number in range(3)])
    with sqlite.write() as connection:
        # Sorts into the day, which begins at 16:00 UTC, and lies 15 hours before it.
        connection.execute(text("UPDATE tasks SET created_at = '2026-03-08T01:00:00.000000' WHERE id = 1"))
    document = report(sqlite, clock).document
    assert document["task_statistics"]["total_tasks"] == 3
    hours = document["performance_statistics"]["hourly_distribution"]
    assert (hours["0"], hours["9"]) == (2, 1)
    sqlite.dispose()
