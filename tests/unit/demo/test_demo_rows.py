import hashlib
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count, islice
from statistics import median
from zoneinfo import ZoneInfo

import pytest

from app.core.errors import PathRefused
from app.core.safe_files import check_relative
from app.demo import schema
from app.demo.create import generate
from app.demo.oddities import Oddities
from app.demo.tasks import ReceiptRow, Story, StoryTeller, TaskRow

SHANGHAI = ZoneInfo("Asia/Shanghai")
NOW = datetime(2026, 3, 10, 4, 0, tzinfo=UTC)
TASK_PATHS = ("image_path", "document_path", "screenshot_path")
RECEIPT_PATHS = ("qr_code_path", "barcode_path", "delivery_receipt_doc_path", "tracking_screenshot_path")


def _told(tasks: int = 20_000, seed: int = 1, now: datetime = NOW) -> Iterable[Story]:
    return generate(tasks, seed=seed, now=now, zone=SHANGHAI)


@cache
def _stories() -> tuple[Story, ...]:
    return tuple(_told())


def _digest(stories: Iterable[Story]) -> str:
    digest = hashlib.sha256()
    for story in stories:
        digest.update(repr(story).encode())
    return digest.hexdigest()


def test_rows_have_the_columns_of_the_tables_in_their_order() -> None:
    assert TaskRow._fields == tuple(column.name for column in schema.tasks.columns)
    assert ReceiptRow._fields == tuple(column.name for column in schema.delivery_receipts.columns)


def test_the_same_seed_and_instant_give_the_same_rows() -> None:
    assert _digest(_told(3_000)) == _digest(_told(3_000))


def test_another_spelling_of_the_same_instant_gives_the_same_rows() -> None:
    assert _digest(_told(500, now=NOW.astimezone(SHANGHAI))) == _digest(_told(500))


@pytest.mark.parametrize("other", [{"seed": 2}, {"now": NOW + timedelta(seconds=1)}, {"tasks": 3_001}])
def test_another_seed_instant_or_number_gives_other_rows(other: dict[str, int]) -> None:
    assert _digest(_told(**{"tasks": 3_000, **other})) != _digest(_told(3_000))


def test_rows_are_made_one_at_a_time() -> None:
    """Fifty million tasks would never fit: the first ones come before the last ones exist."""
    assert [story.task.id for story in islice(_told(50_000_000), 3)] == [1, 2, 3]


def test_ids_are_counted_and_task_ids_differ() -> None:
    tasks = [story.task for story in _stories()]
    assert [task.id for task in tasks] == list(range(1, 20_001))
    assert len({task.task_id for task in tasks}) == 20_000
    receipts = [story.receipt.id for story in _stories() if story.receipt]
    assert receipts == list(islice(count(1), len(receipts)))


@pytest.mark.parametrize(
    ("status", "least", "most"),
    [("completed", 86, 92), ("failed", 5, 7.5), ("cancelled", 1.5, 3), ("archived", 0.01, 0.5)],
)
def test_shares_of_the_statuses(status: str, least: float, most: float) -> None:
    percent = 100 * sum(story.task.status == status for story in _stories()) / 20_000
    assert least < percent < most


def test_open_tasks_are_mostly_recent_and_some_are_stuck() -> None:
    for status in ("pending", "processing"):
        ages = [NOW - story.task.created_at for story in _stories() if story.task.status == status]
        recent = sum(age < timedelta(days=1) for age in ages) / len(ages)
        share_of_a_day = 1 / 60
        assert recent > 10 * share_of_a_day
        assert max(ages) > timedelta(days=7)


def test_nothing_happens_before_its_cause_or_after_now() -> None:
    for story in _stories():
        task = story.task
        if task.processing_time is not None and task.processing_time < 0:
            continue  # one of the rows whose clock went back
        steps = [at for at in (task.created_at, task.started_at, task.completed_at) if at is not None]
        assert steps == sorted(steps)
        assert max(steps[-1], task.updated_at) <= NOW
        if story.receipt:
            assert steps[0] < story.receipt.created_at <= story.receipt.updated_at <= NOW


def test_open_tasks_have_neither_an_end_nor_an_error() -> None:
    for task in (story.task for story in _stories()):
        if task.status in {"pending", "processing"}:
            assert (task.completed_at, task.processing_time, task.error_message) == (None, None, None)
            assert (task.started_at is None) == (task.status == "pending")


def test_only_failed_tasks_have_messages_and_nearly_all_do() -> None:
    tasks = [story.task for story in _stories()]
    assert {task.status for task in tasks if task.error_message} <= {"failed", "archived"}
    failed = [task for task in tasks if task.status == "failed"]
    assert 0.95 < sum(task.error_message is not None for task in failed) / len(failed) < 1


def test_durations_are_skewed_seconds() -> None:
    seconds = [task.processing_time for task in (story.task for story in _stories()) if task.processing_time]
    assert 4 < median(seconds) < 20
    assert sum(seconds) / len(seconds) > 1.2 * median(seconds)


def test_some_tasks_needed_several_attempts() -> None:
    retries = Counter(story.task.retry_count for story in _stories())
    assert set(retries) == {0, 1, 2, 3}
    assert retries[0] > 0.85 * 20_000


def test_six_in_ten_completed_tasks_have_a_receipt_and_no_others_do() -> None:
    completed = [story for story in _stories() if story.task.status == "completed"]
    assert 0.57 < sum(story.receipt is not None for story in completed) / len(completed) < 0.63
    # An unknown status is written over a finished task now and then.
    assert {story.task.status for story in _stories() if story.receipt} <= {"completed", "archived"}


def test_paths_are_sharded_by_local_day_and_some_are_chinese() -> None:
    paths = [
        (story.task, story.task.image_path)
        for story in _stories()
        if story.task.image_path and story.on_disk and story.task.id % 80
    ]
    for task, path in paths:
        assert path.startswith(f"{task.created_at.astimezone(SHANGHAI):%Y/%m/%d}/{task.task_id[:16]}_")
    assert 0.3 < sum(not path.isascii() for _, path in paths) / len(paths) < 0.9


def test_no_two_paths_of_a_root_are_the_same_but_those_meant_to_be() -> None:
    named = Counter(
        path
        for story in _stories()
        if story.task.id % 80
        for row, columns in ((story.task, TASK_PATHS), (story.receipt, RECEIPT_PATHS))
        for column in columns
        if (path := getattr(row, column, None))
    )
    assert max(named.values()) == 1


def test_some_files_are_shared_by_two_expired_rows_and_some_by_an_expired_and_a_live_one() -> None:
    naming: dict[str, list[TaskRow]] = {}
    for story in _stories():
        if story.task.image_path:
            naming.setdefault(story.task.image_path, []).append(story.task)
    month_ago = NOW - timedelta(days=30)
    shared = [rows for rows in naming.values() if len(rows) > 1]
    both_old = [rows for rows in shared if all(row.created_at < month_ago for row in rows)]
    old_and_live = [
        rows for rows in shared if min(r.created_at for r in rows) < month_ago <= max(r.created_at for r in rows)
    ]
    assert both_old
    assert old_and_live
    assert len(shared) < 200


def _refusals() -> Counter[tuple[str, bool, str]]:
    """Reason of each path that a clean-up must refuse, with whether its row is old, and its status."""
    found: Counter[tuple[str, bool, str]] = Counter()
    for task in (story.task for story in _stories()):
        for path in filter(None, (task.image_path, task.document_path, task.screenshot_path)):
            try:
                check_relative(path.encode())
            except PathRefused as refusal:
                found[refusal.reason, task.created_at < NOW - timedelta(days=30), task.status] += 1
    return found


def test_hostile_paths_stand_in_expired_rows_only() -> None:
    refusals = _refusals()
    assert {reason for reason, _, _ in refusals} == {"parent_reference", "absolute", "not_canonical"}
    assert {(old, status) for _, old, status in refusals} == {(True, "completed")}
    assert sum(refusals.values()) < 100


def test_a_few_finished_rows_have_no_finish_time() -> None:
    rows = [s.task for s in _stories() if s.task.status in {"completed", "failed"} and s.task.completed_at is None]
    assert 5 < len(rows) < 200


def test_a_few_receipts_belong_to_no_task_and_a_few_files_are_missing() -> None:
    loose = [story for story in _stories() if story.receipt and story.receipt.task_id is None]
    missing = [story for story in _stories() if story.task.image_path and not story.on_disk]
    assert 0 < len(loose) < 100
    assert 5 < len(missing) < 200
    assert all(story.receipt.task_id == story.task.id for story in _stories() if story.receipt and story not in loose)


def test_one_story_in_eighty_is_odd_and_no_other() -> None:
    from random import Random

    plain = StoryTeller(Random(3), NOW, SHANGHAI).stories(800)
    changed = [
        odd.task.id
        for odd, ordinary in zip(
            Oddities(NOW).strewn(StoryTeller(Random(3), NOW, SHANGHAI).stories(800)), plain, strict=True
        )
        if odd != ordinary
    ]
    assert set(changed) <= set(range(80, 801, 80))
    assert len(changed) >= 5


def _failed_percent(stories: Iterable[Story], back: int) -> float:
    """Percent of the tasks created `back` days before today that failed."""
    day = NOW.astimezone(SHANGHAI).date() - timedelta(days=back)
    of_day = [story.task.status for story in stories if story.task.created_at.astimezone(SHANGHAI).date() == day]
    return 100 * of_day.count("failed") / len(of_day)


def test_a_failing_application_has_one_bad_and_one_worse_day_and_is_well_since() -> None:
    failing = list(generate(20_000, seed=1, now=NOW, zone=SHANGHAI, failing=True))
    assert 25 < _failed_percent(failing, 4) < 45
    assert 65 < _failed_percent(failing, 3) < 85
    assert [back for back in (7, 6, 5, 2, 1) if _failed_percent(failing, back) > 15] == []
    assert [back for back in range(1, 8) if _failed_percent(_stories(), back) > 15] == []
