"""What `doctor` finds in a database, by two clocks and on RabbitMQ, a step before each limit and a step after it."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from processes import environment, free_port, run
from sqlalchemy import insert, text

from app.alerts.delivery import target_state
from app.alerts.delivery.target_state import TargetState
from app.context import make_context
from app.core.clock import ManualClock, SystemClock
from app.core.database import Database
from app.core.own_tables import alert_outbox
from app.core.source_tables import ReceiptTableSettings, SourceSettings, map_source_tables
from app.doctor import CLOCK_LIMIT_S, Finding, clock_finding, examine, index_findings
from app.schedule.signs import MONITOR, Signs

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


def found(database: Database, part: str, *, ahead: timedelta = timedelta(0)) -> list[Finding]:
    """What `doctor` says of a part where the host's clock goes `ahead` of the real one."""
    made = make_context(clock=ManualClock(SystemClock().now() + ahead))
    made.database.dispose()
    return [finding for finding in examine(replace(made, database=database)) if finding.part == part]


def test_the_clock_of_a_database_server_is_asked_and_a_file_has_the_hosts(database: Database) -> None:
    (told,) = found(database, "clock")
    assert told.state == "ok"
    assert ("differ by" in told.detail) is (database.dialect == "postgresql")


@pytest.mark.parametrize(("hours", "way"), [(2, "ahead of"), (-2, "behind")])
def test_a_host_two_hours_off_its_database_server_is_broken(
    empty_postgres: str, monkeypatch: pytest.MonkeyPatch, hours: int, way: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_postgres)
    # Whatever zone the server thinks in, an instant is an instant.
    monkeypatch.setenv("PGOPTIONS", "-c timezone=Asia/Kathmandu")
    made = make_context(clock=ManualClock(SystemClock().now() + timedelta(hours=hours)))
    (told,) = [finding for finding in examine(made) if finding.part == "clock"]
    made.database.dispose()
    assert told.state == "broken"
    assert f"the host is {way} the database" in told.detail
    assert "timedatectl" in told.mend


# Alerts


def test_without_a_monitor_alerts_are_broken(database: Database) -> None:
    (told,) = found(database, "alerts")
    assert (told.state, told.detail) == ("broken", "no monitor looks")
    assert "gengfu up" in told.mend


@pytest.mark.parametrize(("seconds", "state"), [(145, "ok"), (155, "broken")])
def test_a_monitor_may_be_silent_until_another_one_could_have_taken_over(
    database: Database, seconds: int, state: str
) -> None:
    now = SystemClock().now()
    Signs(database).leave(MONITOR, {"host": "更夫", "pid": 7}, now - timedelta(seconds=seconds))
    (told,) = found(database, "alerts")
    assert told.state == state
    assert "process 7 on 更夫" in told.detail


def test_targets_that_refuse_and_messages_that_are_dead_are_told_with_what_mends_them(database: Database) -> None:
    now = SystemClock().now()
    Signs(database).leave(MONITOR, {"host": "h", "pid": 7}, now)
    row = {"group_key": "g", "kind": "group", "level": "warning", "payload": {}, "attempts": 1, "state": "dead"}
    times = {"created_at": now, "next_at": now, "expires_at": now}
    with database.write() as connection:
        connection.execute(insert(alert_outbox), [{"channel": "console", "dedupe_key": "k", **row, **times}])
        target_state.save(connection, "console", TargetState(failures=1, why="坏了", permanent=True), now)
        target_state.save(connection, "gone", TargetState(failures=9, why="not in the settings"), now)
    broken = [finding for finding in found(database, "alerts") if finding.state == "broken"]
    assert [finding.detail for finding in broken] == ["console: 坏了", "1 messages could not be delivered"]
    assert "gengfu alerts test-channel console" in broken[0].mend
    assert "gengfu alerts replay" in broken[1].mend


def test_alerts_that_are_switched_off_are_no_fault(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERT_ENABLED", "false")
    assert [finding.state for finding in found(database, "alerts")] == ["ok"]


def broker_line(home: Path, url: str) -> dict[str, str]:
    done = run("celery_beat_manager.py", "doctor", "--json", env=environment(home, CELERY_BROKER_URL=url))
    assert "Traceback" not in done.stderr
    (line,) = [finding for finding in json.loads(done.stdout) if finding["part"] == "broker"]
    assert isinstance(line, dict)
    return line


def test_rabbitmq_is_asked_for_its_queues(rabbitmq_url: str, tmp_path: Path) -> None:
    line = broker_line(tmp_path / "home", rabbitmq_url)
    assert line["state"] == "ok", line
    assert all(f"{queue} " in line["detail"] for queue in ("receipt", "file", "high_priority", "low_priority"))
    assert "guest:guest" not in line["detail"]


def test_a_rabbitmq_that_does_not_answer_is_broken_and_its_password_is_not_told(tmp_path: Path) -> None:
    line = broker_line(tmp_path / "home", f"amqp://gengfu:geheim@127.0.0.1:{free_port()}//")
    assert line["state"] == "broken"
    assert "CELERY_BROKER_URL" in line["mend"]
    assert "geheim" not in json.dumps(line)
