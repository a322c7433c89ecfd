"""Which rows go and which stay."""

import os
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import create_engine, insert, make_url, text

from app.core.errors import Locked
from app.demo import schema

SEED_KEYS = {"tasks_cleaned", "files_cleaned", "receipts_cleaned", "logs_cleaned", "disk_space_freed_mb", "errors"}
MICROSECOND = timedelta(microseconds=1)


def test_expired_rows_go_with_their_receipts_and_files(lab: Any) -> None:
    task = lab.task(image_path=lab.file("uploads", "2026/01/包裹.jpg"), document_path=lab.file("documents", "a.pdf"))
    lab.receipt(task, qr_code_path=lab.file("receipts", "回执/二维码.png"))
    result = lab.run()
    told = result.document
    assert (result.state, result.success) == ("done", True)
    assert told["tasks_cleaned"] == 1
    assert told["receipts_cleaned"] == 1
    assert told["files_cleaned"] == 3
    assert told["bytes_freed"] > 0
    assert told["errors"] == []
    assert (lab.tasks(), lab.receipts(), lab.on_disk(), lab.outbox()) == (set(), set(), set(), [])


def test_the_result_has_the_seeds_keys(lab: Any) -> None:
    told = lab.document()
    assert told.keys() >= SEED_KEYS
    assert told["success"] is True
    assert told["run_id"] == "r1"
    assert set(told["cutoffs"]) == {"completed", "failed", "temp_files", "logs"}


@pytest.mark.parametrize(("status", "days"), [("completed", 30), ("failed", 7)])
@pytest.mark.parametrize(("offset", "stays"), [(-MICROSECOND, False), (timedelta(), True), (MICROSECOND, True)])
def test_only_what_is_older_than_the_cutoff_goes(
    lab: Any,
    monkeypatch: pytest.MonkeyPatch,
    status: str,
    days: int,
    offset: timedelta,
    stays: bool,  # noqa: FBT001 - a case of the table
) -> None:
    monkeypatch.setattr("app.retention.cleanup.frozen_now", lambda _: lab.now)
    task = lab.task(status, days=None, completed_at=lab.now - timedelta(days=days) + offset)
    lab.set_task(task, created_at=lab.now - timedelta(days=100))
    lab.run()
    assert (task in lab.tasks()) is stays


def test_failed_and_completed_have_their_own_ages(lab: Any) -> None:
    completed, failed = lab.task("completed", days=10), lab.task("failed", days=10)
    lab.run()
    assert lab.tasks() == {completed}
    assert failed not in lab.tasks()


@pytest.mark.parametrize("status", ["pending", "processing", "cancelled", "已归档", ""])
def test_rows_in_any_other_status_are_never_deleted(lab: Any, status: str) -> None:
    task = lab.task(status, days=900)
    told = lab.document()
    assert lab.tasks() == {task}
    assert told["rows_kept"] == ({"unknown_status": 1} if status in {"已归档", ""} else {})


def test_rows_without_a_believable_finish_time_stay_and_are_counted(lab: Any) -> None:
    kept = {
        lab.task(days=None),
        lab.task(days=-3),
        lab.task(days=40, created_at=lab.now - timedelta(days=39)),
        lab.task(days=(lab.now.year - 1970) * 366),
        lab.task("failed", days=None),
    }
    lab.task(days=31)
    told = lab.document()
    assert lab.tasks() == kept
    assert told["tasks_cleaned"] == 1
    assert told["rows_kept"] == {"no_finish_time": 2, "absurd_time": 3}


def test_a_time_in_another_spelling_is_not_compared_on_sqlite(lab: Any) -> None:
    if lab.database.dialect != "sqlite":
        pytest.skip("PostgreSQL has a type for times")
    kept = set()
    impossible = ["2020-99-99 99:99:99", "2020-02-30 00:00:00"]
    for number, written in enumerate(["2020-01-01 00:00:00+08:00", "2020-01-01", "2020年", *impossible]):
        kept.add(lab.task(created_at=lab.now - timedelta(days=9000)))
        with lab.database.write() as connection:
            connection.execute(
                text("UPDATE tasks SET completed_at = :w WHERE id = :i"), {"w": written, "i": number + 1}
            )
    told = lab.document()
    assert lab.tasks() == kept
    assert told["rows_kept"] == {"absurd_time": 5}


def test_many_batches_delete_all_and_children_of_others_stay(lab: Any) -> None:
    lab.with_settings(batch_size=7)
    young = lab.task(days=1)
    kept = {lab.receipt(young), lab.receipt(None)}
    finished = lab.now - timedelta(days=40)  # many rows with one finish time: the key decides
    for _ in range(20):
        lab.receipt(lab.task(days=None, completed_at=finished, created_at=finished))
    told = lab.document()
    assert told["tasks_cleaned"] == 20
    assert told["receipts_cleaned"] == 20
    assert told["batches"] == 3
    assert lab.tasks() == {young}
    assert lab.receipts() == kept


def test_a_row_that_another_session_holds_is_passed_over_and_counted(lab: Any) -> None:
    if lab.database.dialect == "sqlite":
        pytest.skip("SQLite locks the whole file")
    locked, free = lab.task(days=50), lab.task(days=40)
    engine = create_engine(make_url(lab.database.url))
    with engine.connect() as other:
        other.execute(text("SELECT 1 FROM tasks WHERE id = :i FOR UPDATE"), {"i": locked})
        told = lab.document()
    engine.dispose()
    assert lab.tasks() == {locked}
    assert free not in lab.tasks()
    assert told["rows_kept"] == {"locked": 1}


def test_a_row_retried_after_the_cutoff_was_frozen_survives_with_its_files(lab: Any) -> None:
    lab.with_settings(batch_size=1)
    lab.task(days=50)
    retried = lab.task(days=40, image_path=lab.file("uploads", "a.jpg"))
    receipt = lab.receipt(retried)

    def retry(point: str) -> None:
        if point == "batch committed":
            lab.set_task(retried, status="processing", completed_at=None)

    lab.run(checkpoint=retry)
    assert lab.tasks() == {retried}
    assert lab.receipts() == {receipt}
    assert lab.on_disk() == {("uploads", "a.jpg")}


def test_when_something_holds_a_row_its_receipts_stay_too(lab: Any) -> None:
    held = lab.task()
    receipt = lab.receipt(held)
    with lab.database.write() as connection:
        for statement in _holding_trigger(lab.database.dialect):
            connection.execute(text(statement))
    told = lab.document()
    assert lab.tasks() == {held}
    assert lab.receipts() == {receipt}
    assert told["tasks_cleaned"] == 0
    assert told["state"] == "partial"
    assert "trigger" in told["errors"][0]


def _holding_trigger(dialect: str) -> list[str]:
    if dialect == "sqlite":
        return ["CREATE TRIGGER hold BEFORE DELETE ON tasks BEGIN SELECT RAISE(IGNORE); END"]
    return [
        "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER hold BEFORE DELETE ON tasks FOR EACH ROW EXECUTE FUNCTION hold()",
    ]


def test_a_table_that_refers_to_the_rows_ends_the_run_as_failed(lab: Any) -> None:
    task = lab.task(image_path=lab.file("uploads", "a.jpg"))
    with lab.database.write() as connection:
        connection.execute(text("CREATE TABLE audit (task_id BIGINT REFERENCES tasks (id))"))
        connection.execute(text("INSERT INTO audit VALUES (:i)"), {"i": task})
    lab.aged("temp", "旧.tmp", days=3)
    result = lab.run()
    assert (result.state, result.success) == ("failed", False)
    assert "refused to delete rows of tasks" in result.document["errors"][0]
    assert lab.tasks() == {task}
    assert lab.on_disk() == {("uploads", "a.jpg")}  # temporary files are another matter
    with lab.database.write() as connection:
        connection.execute(text("DROP TABLE audit"))


def test_time_running_out_ends_the_run_and_the_next_goes_on(lab: Any) -> None:
    lab.with_settings(batch_size=2, max_seconds=100)
    for _ in range(6):
        lab.task(image_path=lab.file("uploads", f"{lab.keys}.jpg"))
    first = lab.document(checkpoint=lambda point: _pass(lab, point))
    assert first["state"] == "budget"
    assert first["tasks_cleaned"] == 4
    assert first["rows_kept"] == {"not_reached": 2}
    second = lab.document("r2")
    assert second["state"] == "done"
    assert second["tasks_cleaned"] == 2
    assert first["files_cleaned"] + second["files_cleaned"] == 6
    assert lab.on_disk() == set()


def _pass(lab: Any, point: str) -> None:
    if point == "batch committed":
        lab.clock.advance(timedelta(seconds=40))


def test_a_second_run_beside_the_first_is_told_who_runs(lab: Any) -> None:
    lab.task()
    refused: list[str] = []

    def start_another(point: str) -> None:
        if point == "batch committed":
            with pytest.raises(Locked) as caught:
                lab.run("r2")
            refused.append(str(caught.value))

    lab.run(checkpoint=start_another)
    assert len(refused) == 1
    assert str(os.getpid()) in refused[0]


def test_a_second_run_on_another_machine_is_refused_by_the_server(lab: Any) -> None:
    if lab.database.dialect == "sqlite":
        pytest.skip("an SQLite file has one machine")
    lab.task()
    refused: list[str] = []

    def start_another(point: str) -> None:
        if point == "batch committed":
            with pytest.raises(Locked, match="the clean-up already runs, connected from") as caught:
                lab.run("r2", lock_file=lab.home / "elsewhere.lock")
            refused.append(str(caught.value))

    lab.run(checkpoint=start_another)
    assert len(refused) == 1
    assert lab.document("r3")["state"] == "done"  # the lock is given back


def test_a_lost_lock_ends_the_run_before_the_next_delete(lab: Any) -> None:
    if lab.database.dialect == "sqlite":
        pytest.skip("a flock can't be lost")
    lab.with_settings(batch_size=1)
    lab.task(days=50)
    kept = lab.task(days=40)
    engine = create_engine(make_url(lab.database.url), isolation_level="AUTOCOMMIT")

    def cut(point: str) -> None:
        if point == "batch committed":
            with engine.connect() as other:
                other.execute(text("SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'"))

    result = lab.run(checkpoint=cut)
    engine.dispose()
    assert lab.tasks() == {kept}
    assert result.state == "failed"
    assert "lock is gone" in result.document["errors"][0]


def test_an_application_without_receipts_is_cleaned(lab: Any) -> None:
    from app.core.source_tables import ReceiptTableSettings, SourceSettings, map_source_tables

    with lab.database.write() as connection:
        schema.delivery_receipts.drop(connection)
    lab.task(image_path=lab.file("uploads", "a.jpg"))
    source = map_source_tables(SourceSettings(receipts=ReceiptTableSettings(table="")))
    assert lab.document(dry_run=True, source=source)["files_cleaned"] == 1
    told = lab.document(source=source)
    assert (told["tasks_cleaned"], told["receipts_cleaned"], told["files_cleaned"]) == (1, 0, 1)


def test_two_words_for_one_status_both_expire(lab: Any) -> None:
    from app.core.source_tables import SourceSettings, TaskStatuses, TaskTableSettings, map_source_tables

    words = TaskStatuses(completed=("completed", "完成"), cancelled=("cancelled", "作废"))
    source = map_source_tables(SourceSettings(tasks=TaskTableSettings(statuses=words)))
    kept = lab.task("作废")
    lab.task("完成")
    lab.task("completed")
    assert lab.document(source=source)["tasks_cleaned"] == 2
    assert lab.tasks() == {kept}


def test_on_sqlite_the_report_tells_what_new_rows_can_use(lab: Any) -> None:
    with lab.database.write() as connection:
        rows = [
            {
                "id": 1000 + n,
                "task_id": f"t{n}",
                "task_type": "x",
                "status": "failed",
                "created_at": lab.now - timedelta(days=21),
                "completed_at": lab.now - timedelta(days=20),
                "updated_at": lab.now,
                "retry_count": 0,
                "error_message": "二维码识别错误" * 40,
            }
            for n in range(300)
        ]
        connection.execute(insert(schema.tasks), rows)
    reusable = lab.document()["database_reusable_bytes"]
    assert reusable > 0 if lab.database.dialect == "sqlite" else reusable is None
