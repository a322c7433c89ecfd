"""Promise P13 as an operator meets it: the job stops before its first delete, says so, and an approval serves once."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, insert, select, text

from app import jobs
from app.context import Context, make_context
from app.core.clock import ManualClock
from app.core.errors import BadArgument, ExitCode, SettingsError
from app.core.own_tables import file_outbox
from app.core.safe_files import MARKER
from app.demo import schema
from app.retention.roots import init_roots
from app.retention.rule_runs import RuleRuns
from app.retention.status import retention_status
from app.settings import load

MUCH, LITTLE = 60, 12
"""Rows above and below the limits that `house` sets."""


@dataclass(kw_only=True)
class House:
    """The program wired as in production, on a database whose clock is ours."""

    clock: ManualClock
    monkeypatch: pytest.MonkeyPatch
    context: Context = field(init=False)
    ahead: timedelta = timedelta(0)
    """Of the database's clock."""
    keys: int = 0

    def __post_init__(self) -> None:
        for module in ("cleanup", "guards", "status"):
            self.monkeypatch.setattr(f"app.retention.{module}.frozen_now", lambda _: self.clock.now() + self.ahead)
        self.limit(rows=50, whole_table=10, folder_files=10)
        with self.context.database.write() as connection:
            schema.metadata.create_all(connection)
        init_roots(self.context.database, self.context.folders, self.clock)

    def configure(self, **values: str) -> None:
        """Set keys (`retention__guards__rows`) and begin anew, as a restart does."""
        for key, value in values.items():
            self.monkeypatch.setenv(f"GENGFU_{key.upper()}", value)
        if hasattr(self, "context"):
            self.context.database.dispose()
        self.context = make_context(load(), self.clock)

    def limit(self, **limits: object) -> None:
        self.configure(**{f"retention__guards__{key}": str(value) for key, value in limits.items()})

    def rows(self, number: int, *, days: float, status: str = "completed") -> None:
        finished = self.clock.now() - timedelta(days=days)
        photo = self.context.folders["uploads"] / f"图{self.keys + 1}.jpg"
        photo.write_bytes(b"x" * 100)
        told = {"task_type": "识别", "status": status, "updated_at": finished, "retry_count": 0}
        told |= {"created_at": finished, "completed_at": finished}
        keys = range(self.keys + 1, self.keys + number + 1)
        with self.context.database.write() as connection:
            each = [{**told, "id": key, "task_id": f"任务{key}", "image_path": f"图{key}.jpg"} for key in keys]
            connection.execute(insert(schema.tasks), each)
        self.keys += number

    def run(self) -> dict[str, Any]:
        """One night's clean-up; the result, with the exit code."""
        self.clock.advance(timedelta(minutes=1))
        done = jobs.run_here(self.context, "cleanup-expired-tasks")
        return {**done.result, "exit_code": done.exit_code}

    def left(self) -> tuple[int, int, int]:
        """Rows, files and entries of the outbox."""
        with self.context.database.read() as connection:
            rows, entries = (
                connection.execute(select(func.count()).select_from(table)).scalar_one()
                for table in (schema.tasks, file_outbox)
            )
        files = sum(path.is_file() for folder in self.context.roots.values() for path in folder.rglob("*"))
        return rows, files, entries

    def alerts(self) -> str:
        logs = self.context.settings.paths.logs
        return "".join(path.read_text(encoding="utf-8") for path in sorted(logs.glob("*_alerts.log")))

    def runs(self) -> RuleRuns:
        return RuleRuns(self.context.database, self.clock)

    def waiting(self) -> list[dict[str, Any]]:
        context = self.context
        facts = retention_status(context.database, context.source, context.settings.retention, context.folders)
        return list(facts["held"])


@pytest.fixture
def house(database_url: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    made = House(clock=clock, monkeypatch=monkeypatch)
    yield made
    made.context.database.dispose()


def more_than_the_share(house: House) -> None:
    house.rows(MUCH, days=40)
    house.rows(MUCH - 2, days=1)


def more_than_the_share_at_the_real_limits(house: House) -> None:
    house.limit(rows=50_000, whole_table=1_000, folder_files=10_000)
    rows = "SELECT i, 'n' || i, 't', 'completed', 0, {at}, {at}, {at} FROM {numbers}"
    if house.context.database.dialect == "sqlite":
        numbers = "(WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 98041) SELECT i FROM n)"
        at = "CASE WHEN i <= 50001 THEN '2026-01-20 00:00:00' ELSE '2026-03-09 00:00:00' END"
    else:
        numbers = "generate_series(1, 98041) AS i"
        at = "(CASE WHEN i <= 50001 THEN '2026-01-20' ELSE '2026-03-09' END)::timestamptz"
    names = "id, task_id, task_type, status, retry_count, created_at, completed_at, updated_at"
    with house.context.database.write() as connection:
        connection.exec_driver_sql(f"INSERT INTO tasks ({names}) {rows.format(at=at, numbers=numbers)}")


def every_row_of_a_table(house: House) -> None:
    house.rows(LITTLE, days=40)


def no_row_newer_than_the_cutoff(house: House) -> None:
    house.rows(LITTLE, days=40)
    house.rows(1, days=50, status="pending")


def a_row_finished_in_the_future(house: House) -> None:
    house.rows(LITTLE, days=40)
    house.rows(LITTLE, days=1)
    house.rows(1, days=-1)


def clocks_that_differ(house: House) -> None:
    house.rows(LITTLE, days=40)
    house.rows(LITTLE, days=1)
    house.ahead = timedelta(seconds=62)


def a_database_a_year_ahead(house: House) -> None:
    house.rows(LITTLE, days=1)
    house.ahead = timedelta(days=365)


def more_than_three_times_the_usual(house: House) -> None:
    house.limit(share="1.0")
    house.rows(2, days=40)
    house.rows(1, days=1)
    assert house.run()["tasks_cleaned"] == 2
    house.rows(MUCH, days=40)
    house.rows(MUCH, days=1)


def a_rule_changed_to_delete_ten_times_more(house: House) -> None:
    house.rows(1, days=40)
    house.rows(LITTLE, days=20)
    house.rows(LITTLE, days=1)
    assert house.run()["tasks_cleaned"] == 1
    house.configure(retention__completed_tasks_days="10")


def a_changed_schema(house: House) -> None:
    house.rows(2, days=40)
    assert house.run()["tasks_cleaned"] == 2
    house.rows(2, days=40)
    with house.context.database.write() as connection:
        connection.execute(text("ALTER TABLE tasks RENAME COLUMN image_path TO old_path"))
        connection.execute(text("ALTER TABLE tasks ADD COLUMN image_path VARCHAR(300)"))


def a_root_without_its_mark(house: House) -> None:
    house.rows(LITTLE, days=40)
    house.rows(LITTLE, days=1)
    (house.context.folders["uploads"] / MARKER).unlink()


def most_files_of_a_root(house: House) -> None:
    for number in range(12):
        path = house.context.folders["temp"] / f"临时{number}.tmp"
        path.write_bytes(b"y")
        then = (house.clock.now() - timedelta(days=3 if number < 11 else 0)).timestamp()
        os.utime(path, (then, then))


APPROVABLE: dict[Callable[[House], None], str] = {
    more_than_the_share: "60 of 118 rows of tasks (51 %)",
    more_than_the_share_at_the_real_limits: "50,001 of 98,041 rows of tasks (51 %)",
    every_row_of_a_table: "would delete every row of tasks (12)",
    no_row_newer_than_the_cutoff: "no row of tasks is newer than the cutoff",
    a_row_finished_in_the_future: "was finished in the future",
    clocks_that_differ: "the clocks of host and database differ by 62 s",
    more_than_three_times_the_usual: "more than 3 times the 2 that are usual",
    a_rule_changed_to_delete_ten_times_more: "would now delete 12 rows instead of 0",
    a_changed_schema: "the mapped columns of tasks, delivery_receipts changed",
    most_files_of_a_root: "11 of the 12 files of root temp (92 %)",
}
NEVER: dict[Callable[[House], None], str] = {
    a_database_a_year_ahead: "is not even an hour before",
    a_root_without_its_mark: "is its volume mounted?",
}


def assert_nothing_went(house: House, scenario: Callable[[House], None], words: str) -> dict[str, Any]:
    """Run into the guard: nothing is deleted, the state says so, people are told. Returns what waits for somebody."""
    scenario(house)
    before = house.left()
    told = house.run()
    assert (told["state"], told["success"], told["exit_code"]) == ("held", False, ExitCode.HELD)
    assert house.left() == before
    assert [told[key] for key in ("tasks_cleaned", "receipts_cleaned", "files_cleaned", "bytes_freed")] == [0, 0, 0, 0]
    assert words in " ".join(told["errors"])
    alerts = house.alerts()
    assert "CleanupHeld" in alerts or "RootHeld" in alerts, alerts
    waiting = house.waiting()[0]
    assert words in " ".join(waiting["reasons"])
    return waiting


@pytest.mark.parametrize(("scenario", "words"), APPROVABLE.items(), ids=[one.__name__ for one in APPROVABLE])
def test_the_job_stops_before_its_first_delete_and_an_approval_serves_once(
    house: House, scenario: Callable[[House], None], words: str
) -> None:
    waiting = assert_nothing_went(house, scenario, words)
    assert waiting["go_on"].startswith(f"gengfu retention approve {waiting['run_id']}")
    house.runs().approve(waiting["run_id"], "值班员")
    told = house.run()
    assert (told["state"], told["exit_code"]) == ("done", ExitCode.OK), told["errors"]
    assert told["tasks_cleaned"] + told["temp_files_cleaned"] > 0
    with pytest.raises(BadArgument, match="approved already, used by run"):
        house.runs().approve(waiting["run_id"], "值班员")


@pytest.mark.parametrize(("scenario", "words"), NEVER.items(), ids=[one.__name__ for one in NEVER])
def test_the_job_stops_for_what_no_approval_lets_pass(
    house: House, scenario: Callable[[House], None], words: str
) -> None:
    waiting = assert_nothing_went(house, scenario, words)
    assert "approve" not in (waiting["go_on"] or "")
    if waiting["run_id"] is not None:
        with pytest.raises(BadArgument, match="can't be approved"):
            house.runs().approve(waiting["run_id"], "值班员")
    before = house.left()
    assert house.run()["state"] == "held"
    assert house.left() == before


@pytest.mark.parametrize(
    "settings",
    [
        {"source__tasks__statuses__completed": "[]"},
        {"retention__completed_tasks_days": "0"},
        {
            "retention__rules": '{"own": {"table": "tasks", "finished": "completed_at", "keep": "30d", '
            '"status": "status", "statuses": []}}'
        },
        {"retention__rules": '{"own": {"table": "tasks", "finished": "completed_at"}}'},
    ],
    ids=["no word", "no days", "no statuses", "no keep"],
)
def test_an_empty_setting_is_refused_before_anything_runs(house: House, settings: dict[str, str]) -> None:
    house.rows(LITTLE, days=40)
    house.rows(LITTLE, days=1)
    before = house.left()
    with pytest.raises(SettingsError):
        house.configure(**settings)
    assert house.left() == before


def test_an_approval_that_was_used_lets_no_second_run_pass(house: House) -> None:
    """The reason is there again, for it is one that one run does not make usual."""
    waiting = assert_nothing_went(house, every_row_of_a_table, APPROVABLE[every_row_of_a_table])
    house.runs().approve(waiting["run_id"], "值班员")
    assert house.run()["tasks_cleaned"] == LITTLE
    assert_nothing_went(house, every_row_of_a_table, APPROVABLE[every_row_of_a_table])


def test_the_other_rules_run_beside_a_held_one(house: House) -> None:
    more_than_the_share(house)
    house.rows(3, days=8, status="failed")
    told = house.run()
    assert (told["state"], told["tasks_cleaned"]) == ("held", 3)
    assert {rule["name"]: rule["state"] for rule in told["rules"]} == {"completed": "held", "failed": "done"}
