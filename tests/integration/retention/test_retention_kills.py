"""Whenever a clean-up is killed, the next leaves no orphan and no row without its file, and tells the truth."""

from datetime import timedelta
from typing import Any

import pytest
from retention_kills import Steps, Stopped, chosen_steps, next_run, run_and_kill, stop
from sqlalchemy import delete

from app.core.own_tables import file_outbox, rule_run, service_state
from app.demo import schema

EXACT = (
    *("tasks_cleaned", "receipts_cleaned", "files_cleaned", "bytes_freed", "files_missing", "files_already_gone"),
    *("refused_paths", "rows_kept", "pending_files", "stuck_files"),
)


def furnish(lab: Any) -> None:
    """Eight expired tasks and two living ones, with shared, missing and hostile paths."""
    lab.keys = 0
    for number in range(8):
        task = lab.task(
            "failed" if number % 3 == 0 else "completed",
            days=40 + number,
            image_path=lab.file("uploads", f"图/{number}.jpg", b"q" * (100 + 5000 * number)),
            document_path=("缺.pdf", "../x.pdf", "共用.pdf")[number % 3],
        )
        if number % 2:
            lab.receipt(task, qr_code_path=lab.file("receipts", f"{number}.png"))
    lab.file("documents", "共用.pdf")
    lab.task(days=1, image_path="图/2.jpg", screenshot_path=lab.file("screenshots", "活.png"))
    lab.task("processing", days=None, document_path=lab.file("documents", "live.pdf"))


def empty(lab: Any) -> None:
    with lab.database.write() as connection:
        for table in (schema.delivery_receipts, schema.tasks, file_outbox, rule_run):
            connection.execute(delete(table))
        connection.execute(delete(service_state).where(service_state.c.key == "retention:tally"))
    for root, path in lab.on_disk():
        (lab.folders[root] / path).unlink()


Truth = tuple[list[str], dict[str, Any]]


@pytest.fixture
def truth(lab: Any, monkeypatch: pytest.MonkeyPatch) -> Truth:
    """The checkpoints of an undisturbed run, and its figures."""
    monkeypatch.setattr("app.retention.rows._SQLITE_PAUSE_S", 0.0)
    lab.with_settings(batch_size=3)
    furnish(lab)
    points: list[str] = []
    told = lab.document(checkpoint=points.append)
    check_house(lab)
    return points, {key: told[key] for key in EXACT}


def check_house(lab: Any) -> None:
    assert (
        lab.on_disk()
        == lab.named_by_rows()
        == {
            ("uploads", "图/2.jpg"),
            ("screenshots", "活.png"),
            ("documents", "live.pdf"),
        }
    )
    assert lab.outbox() == []


def test_the_undisturbed_run_does_what_the_others_are_compared_with(truth: Truth) -> None:
    points, figures = truth
    assert len(points) > 35
    assert figures["tasks_cleaned"] == 8
    assert figures["receipts_cleaned"] == 4
    assert figures["files_cleaned"] == 7 + 4 + 1
    assert figures["files_missing"] == 3
    assert figures["refused_paths"] == {"parent_reference": 3}


def test_stopped_at_any_step_the_next_run_ends_the_same(lab: Any, truth: Truth) -> None:
    points, figures = truth
    for step in range(1, len(points) + 1):
        empty(lab)
        furnish(lab)
        with pytest.raises(Stopped):
            lab.run("stopped", checkpoint=Steps(step, stop))
        assert_nothing_alive_was_lost(lab)
        told = lab.document("next")
        check_house(lab)
        assert {key: told[key] for key in EXACT} == figures, step


@pytest.mark.slow
def test_killed_at_any_step_the_next_run_ends_the_same(lab: Any, truth: Truth) -> None:
    points, figures = truth
    for step in chosen_steps(points, 0, 1):
        empty(lab)
        furnish(lab)
        run_and_kill(lab, step)
        assert_nothing_alive_was_lost(lab)
        told = next_run(lab)
        check_house(lab)
        assert {key: told[key] for key in EXACT} == figures, step


def test_killed_again_and_again_the_last_run_tells_all(lab: Any, truth: Truth) -> None:
    points, figures = truth
    for first in range(1, len(points), 5):
        empty(lab)
        furnish(lab)
        stopped = 0
        for step in (first, 9, 4, 6):
            try:
                lab.run(f"stopped{stopped}", checkpoint=Steps(step, stop))
            except Stopped:
                stopped += 1
            else:
                break
        else:
            told = lab.document("last")
            assert {key: told[key] for key in EXACT} == figures
        check_house(lab)


def test_the_report_says_which_runs_it_speaks_for(lab: Any) -> None:
    lab.task(image_path=lab.file("uploads", "a.jpg"))
    with pytest.raises(Stopped):
        lab.run("stopped", checkpoint=lambda point: stop() if point == "batch committed" else None)
    told = lab.document("next")
    assert told["carried_over"] == {"run_ids": ["stopped"], "counts": {"tasks": 1, "batches": 1}}
    assert (told["tasks_cleaned"], told["files_cleaned"]) == (1, 1)
    assert lab.document("third")["carried_over"] is None


def test_after_a_kill_a_row_that_came_back_keeps_its_condemned_file(lab: Any) -> None:
    lab.task(image_path=lab.file("uploads", "a.jpg"))
    with pytest.raises(Stopped):
        lab.run("stopped", checkpoint=lambda point: stop() if point == "files condemned" else None)
    lab.task(days=1, image_path="a.jpg")
    told = lab.document("next")
    assert (told["files_cleaned"], told["files_kept_referenced"]) == (0, 1)
    assert lab.on_disk() == {("uploads", "a.jpg")}


def test_killed_between_temporary_files_the_next_run_removes_the_rest(lab: Any) -> None:
    for number in range(5):
        lab.aged("temp", f"{number}.tmp", days=3)
    steps = Steps(2, stop)
    with pytest.raises(Stopped):
        lab.run("stopped", checkpoint=lambda point: steps(point) if point.startswith("temp removed") else None)
    assert len(lab.on_disk()) == 3
    assert lab.document("next")["temp_files_cleaned"] == 5  # all that were removed, by whichever run
    assert lab.on_disk() == set()


def assert_nothing_alive_was_lost(lab: Any) -> None:
    """Rows that are still there have their files, the expired ones too."""
    gone = lab.named_by_rows() - lab.on_disk()
    assert gone <= {("documents", "缺.pdf"), ("documents", "../x.pdf")}


def test_figures_of_a_run_that_lost_its_database_are_marked_as_not_final(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.core.errors import DatabaseUnavailable
    from app.retention.tally import Tally

    def gone(_self: Tally) -> None:
        raise DatabaseUnavailable("weg")

    lab.task()
    lab.clock.advance(timedelta(seconds=1))
    with monkeypatch.context() as broken:
        broken.setattr(Tally, "close", gone)
        first = lab.document("r1")
    second = lab.document("r2")
    assert (first["carried_forward"], first["tasks_cleaned"]) == (True, 1)
    assert (second["carried_forward"], second["tasks_cleaned"]) == (False, 1)
    assert second["carried_over"]["run_ids"] == ["r1"]
