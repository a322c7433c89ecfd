"""What is stored of a pass is never ahead of what is committed, whatever its workers do in which order."""

import random
from collections.abc import Callable

import pytest

from app.retention.batch import Cursor, Doomed
from app.retention.pass_progress import Allowance, PassProgress, Step, Stretch

Lock = Callable[..., Doomed | None]


class Rows:
    """Rows 1 to n of a table, of which some are gone, some locked by a worker and some by others."""

    def __init__(self, count: int) -> None:
        self.here = set(range(1, count + 1))
        self.locked: set[int] = set()

    def lock(self, after: Cursor | None, size: int, end: Cursor | None = None) -> Doomed | None:
        first, last = after[1] if after else 0, end[1] if end else 10**9
        found = sorted(row for row in self.here - self.locked if first < row <= last)[:size]
        self.locked |= set(found)
        return Doomed(rows=len(found), keys=found, last=("同时", found[-1])) if found else None

    def commit(self, doomed: Doomed) -> None:
        self.here -= set(doomed.keys)
        self.locked -= set(doomed.keys)

    def undo(self, doomed: Doomed) -> None:
        self.locked -= set(doomed.keys)


def progress(start: Cursor | None = None, most: int | None = None) -> PassProgress:
    return PassProgress("完成", start, Allowance(most=most))


def taken(step: Step) -> Stretch:
    assert step.stretch is not None
    return step.stretch


def test_the_younger_stretch_is_committed_first_and_the_cursor_waits_for_the_older() -> None:
    rows, work = Rows(10), progress(("时", 0))
    _, first = work.take(rows.lock, 3)
    _, second = work.take(rows.lock, 3)
    assert work.stands_at(second) == ("时", 0)
    work.settle(second)
    assert work.stands_at(first) == ("同时", 6)


def test_what_was_taken_and_failed_is_taken_again_in_smaller_parts() -> None:
    rows, work = Rows(9), progress()
    doomed, failed = work.take(rows.lock, 5)
    _, other = work.take(rows.lock, 4)
    assert doomed is not None
    rows.undo(doomed)
    sizes = []
    while True:
        again, step = work.again(taken(failed), rows.lock, 2)
        assert again is not None
        sizes.append(again.keys)
        rows.commit(again)
        work.settle(step)
        if step.rest is None:
            break
        assert work.stands_at(other) == step.rest
    assert sizes == [[1, 2], [3, 4], [5]]
    assert work.stands_at(other) == ("同时", 9)


def test_the_rest_of_a_stretch_that_others_hold_ends_it() -> None:
    rows, work = Rows(6), progress(most=6)
    doomed, step = work.take(rows.lock, 4)
    assert doomed is not None
    rows.undo(doomed)
    rows.locked = {1, 2, 3, 4}  # by the application
    nothing, step = work.again(taken(step), rows.lock, 4)
    assert nothing is None
    work.settle(step)
    assert work.allowance.taken == 0
    left, _ = work.take(rows.lock, 4)
    assert left is not None
    assert left.keys == [5, 6]


def test_a_pass_at_its_end_stands_where_its_last_open_stretch_begins() -> None:
    rows, work = Rows(5), progress()
    _, first = work.take(rows.lock, 3)
    _, second = work.take(rows.lock, 3)
    assert work.is_ended
    work.settle(first)
    nothing, empty = work.take(rows.lock, 3)
    assert nothing is None
    assert work.stands_at(empty) == ("同时", 3)
    assert work.stands_at(second) is None


def test_no_more_rows_are_taken_than_the_rule_may() -> None:
    rows, work = Rows(10), progress(most=5)
    first, _ = work.take(rows.lock, 3)
    second, _ = work.take(rows.lock, 3)
    assert first is not None
    assert second is not None
    assert (first.rows, second.rows) == (3, 2)
    assert work.allowance.is_used_up
    assert work.take(rows.lock, 3)[0] is None
    assert not work.is_ended


@pytest.mark.parametrize("seed", range(200))
def test_whenever_it_is_killed_nothing_behind_the_cursor_is_left(seed: int) -> None:
    """Four workers in any order, failing now and then: each row goes once, and the cursor hides none."""
    chosen, rows = random.Random(seed), Rows(60)
    most = chosen.choice([None, 7, 40])
    work = progress(most=most)
    gone: list[int] = []
    at_work: dict[int, tuple[Doomed, Step]] = {}
    again: dict[int, Stretch] = {}
    for _ in range(400):
        worker, size = chosen.randrange(4), chosen.randint(1, 9)
        if worker in at_work:
            doomed, step = at_work.pop(worker)
            if chosen.random() < 0.3:
                rows.undo(doomed)
                again[worker] = taken(step)
                continue
            stored = work.stands_at(step)
            rows.commit(doomed)
            gone += doomed.keys
            work.settle(step)
            if step.rest is not None:
                again[worker] = taken(step)
            assert all(row not in rows.here for row in range(1, (stored[1] if stored else 0) + 1))
            continue
        stretch = again.pop(worker, None)
        found, step = work.again(stretch, rows.lock, size) if stretch else work.take(rows.lock, size)
        if found is not None:
            at_work[worker] = found, step
    assert len(gone) == len(set(gone)) == (most or 60)
    assert work.allowance.taken == len(gone)
