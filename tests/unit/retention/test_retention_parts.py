"""The small parts of the clean-up."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.core.errors import PathRefused
from app.core.settings_reader import read
from app.core.source_tables import SourceSettings, TaskStatuses, TaskTableSettings, map_source_tables
from app.retention.batch_size import BatchSize
from app.retention.expiry import passes
from app.retention.outbox_entry import OutboxFile, packed, unpacked
from app.retention.problems import Problems
from app.retention.report import Facts, result_of
from app.retention.roots import _overlap
from app.retention.rules import RowRule, row_rules
from app.retention.settings import RetentionSettings
from app.retention.stored_paths import FileColumn, is_final

NOW = datetime(2026, 3, 10, 4, tzinfo=UTC)


def test_a_batch_halves_after_each_time_out_and_never_goes_below_a_hundred() -> None:
    size = BatchSize(most=1000, rows=1000)
    for expected in (500, 250, 125, 100, 100):
        size.failed()
        assert size.rows == expected


def test_three_time_outs_in_a_row_end_the_run_and_one_good_batch_starts_anew() -> None:
    size = BatchSize(most=1000, rows=1000)
    size.failed()
    size.failed()
    assert not size.hopeless
    size.succeeded()
    size.failed()
    size.failed()
    assert not size.hopeless
    size.failed()
    assert size.hopeless


def test_a_batch_grows_after_three_short_ones_up_to_the_setting() -> None:
    size = BatchSize(most=700, rows=200)
    size.succeeded()
    size.succeeded()
    assert size.rows == 200
    for expected in (400, 400, 400, 700):
        size.succeeded()
        assert size.rows == expected


def test_a_batch_grows_towards_50_ms() -> None:
    size = BatchSize(most=10_000, rows=1000)
    for _ in range(3):
        size.succeeded(0.034)
    assert size.rows == 1470


def test_only_short_batches_in_a_row_make_it_grow() -> None:
    size = BatchSize(most=10_000, rows=200)
    for seconds in (0.034, 0.034, 0.035) * 10:
        size.succeeded(seconds)
    assert size.rows == 200


@pytest.mark.parametrize(
    ("seconds", "rows"), [(0.07, 4000), (0.0875, 2285), (0.11, 2000), (0.99, 2000), (1.0, 2000), (1.5, 133), (60, 100)]
)
def test_a_batch_that_took_long_is_followed_by_one_that_should_not(seconds: float, rows: int) -> None:
    size = BatchSize(most=10_000, rows=4000)
    size.succeeded(seconds)
    assert size.rows == rows


@pytest.mark.parametrize("rows", [400, 1000])
def test_a_small_batch_that_took_long_stays_as_it_is_until_it_takes_a_second(rows: int) -> None:
    size = BatchSize(most=1000, rows=rows)
    size.succeeded(1.0)
    assert size.rows == rows
    size.succeeded(1.6)
    assert size.rows == 100


def test_long_batches_do_not_make_a_larger_one_smaller_than_a_thousand() -> None:
    size = BatchSize(most=10_000, rows=5000)
    for _ in range(20):
        size.succeeded(0.9)
    assert size.rows == 1000


def _standard_rules(statuses: TaskStatuses, **settings: Any) -> tuple[RowRule, ...]:
    chosen = read(RetentionSettings, settings)
    source = map_source_tables(SourceSettings(tasks=TaskTableSettings(statuses=statuses)))
    return row_rules(source, chosen, {name: Path("/srv") / name for name in chosen.roots})


def test_each_status_word_expires_by_its_state() -> None:
    rules = _standard_rules(TaskStatuses(completed=("completed", "完成"), failed=("failed",)))
    assert [(rule.keep.days, expiry.word) for rule in rules for expiry in passes(rule, NOW)] == [
        (30, "completed"),
        (30, "完成"),
        (7, "failed"),
    ]


def test_a_word_that_also_stands_for_another_state_never_shortens_a_life() -> None:
    rules = _standard_rules(
        TaskStatuses(pending=("pending", "retry"), completed=("completed", "end"), failed=("failed", "end", "retry"))
    )
    assert [(rule.name, rule.words) for rule in rules] == [("completed", ("completed", "end")), ("failed", ("failed",))]


def _image_column(*aliases: str) -> FileColumn:
    rules = _standard_rules(TaskStatuses(), roots={"uploads": {"aliases": list(aliases)}})
    return rules[0].files[0]


@pytest.mark.parametrize(
    ("stored", "relative"),
    [
        ("2026/图.jpg", "2026/图.jpg"),
        ("/app/uploads/a.jpg", "a.jpg"),
        ("/app/uploads/old/a.jpg", "a.jpg"),
        ("/srv/uploads/a.jpg", "a.jpg"),
        ("uploads/a.jpg", "a.jpg"),
        ("/app/uploads2/a.jpg", "/app/uploads2/a.jpg"),
        ("/srv/documents/a.jpg", "/srv/documents/a.jpg"),
        ("../a.jpg", "../a.jpg"),
        ("", ""),
    ],
)
def test_the_longest_known_prefix_is_taken_off_and_nothing_else(stored: str, relative: str) -> None:
    column = _image_column("/app/uploads", "/app/uploads/old", "uploads")
    assert column.relative(stored) == relative
    assert column.relative(stored.encode()) == relative


def test_a_path_that_is_no_utf8_is_refused() -> None:
    with pytest.raises(PathRefused, match=r"not_utf8: \\xffa") as caught:
        _image_column().relative(b"\xffa.jpg")
    assert is_final(caught.value.reason)


def test_refusals_by_the_system_are_tried_again_and_others_are_not() -> None:
    assert [is_final(reason) for reason in ("eacces", "eio", "erofs", "link", "changed", "enotdir")] == [
        *(False, False, False),
        *(True, True, True),
    ]


def test_packed_files_come_back_as_they_were_and_are_ascii() -> None:
    files = [
        OutboxFile(root="uploads", path="图/🙂.jpg", inode=7, size=9, mtime_ns=10**18, disk_bytes=4096, condemned=True),
        OutboxFile(root="docs", path='a"\\\n.pdf'),
        OutboxFile(root="docs", path="empty", inode=8, size=0, mtime_ns=0),
    ]
    text = packed(files)
    assert text.isascii()
    assert unpacked(text) == files


def test_problems_are_one_line_each_and_end_at_fifty() -> None:
    problems = Problems()
    for number in range(50):
        problems.add(f"磁盘\n{number}")
    assert problems.lines()[0] == "磁盘 0"
    assert len(problems.lines()) == 50
    problems.add("one more")
    assert len(problems.lines()) == 50
    assert problems.lines()[-1] == "and 2 more"


@pytest.mark.parametrize(
    ("states", "state", "success"),
    [
        ([], "done", True),
        (["done", "budget"], "budget", True),
        (["budget", "partial", "done"], "partial", True),
        (["budget", "contended", "done"], "contended", True),
        (["partial", "refused"], "refused", False),
        (["held", "partial"], "held", False),
        (["partial", "failed", "held"], "failed", False),
    ],
)
def test_a_run_is_as_bad_as_its_worst_phase(states: list[str], state: str, success: bool) -> None:  # noqa: FBT001 - a case of the table
    result = result_of(Facts(run_id="r", dry_run=False, states=states))
    assert (result.state, result.success, result.document["success"]) == (state, success, success)


@pytest.mark.parametrize("inside", ["var", "var/run", "var/broker/x", "reports/daily", "var/backups"])
def test_no_root_may_cover_what_the_program_itself_keeps(tmp_path: Path, inside: str) -> None:
    folders = {"temp": tmp_path / inside, "logs": tmp_path / "logs"}
    assert "keeps what it needs itself" in str(_overlap("temp", folders))


def test_a_root_beside_the_programs_own_folders_is_fine(tmp_path: Path) -> None:
    assert _overlap("temp", {"temp": tmp_path / "var" / "sample", "logs": tmp_path / "logs"}) is None
