"""Rows of one rule are deleted over several connections at once, on PostgreSQL."""

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from retention_shop import WITH_FILES, Shop
from sqlalchemy import select, text

from app.core.errors import DatabaseBusy, DatabaseUnavailable, Locked
from app.core.own_tables import service_state
from app.retention.batch import RowsStayed
from app.retention.batches_postgresql import PostgresBatches
from app.retention.lock import Flight

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

JOBS = 40
_PATIENCE_S = 20.0


class Stopped(BaseException):
    """Stands for a time limit."""


class Meeting:
    """Lets the caller's second batch begin only once another thread has begun one, and acts where it is told to."""

    def __init__(self, **acts: Callable[[], None]) -> None:
        """Take what the caller's thread (`caller`) and the other one (`helper`) do with their rows locked."""
        self.threads: set[str] = set()
        self._acts = acts
        self._helper_begun = threading.Event()
        self._batches = 0

    def __call__(self, point: str) -> None:
        if point != "rows locked":
            return
        self.threads.add(threading.current_thread().name)
        if threading.current_thread() is not threading.main_thread():
            self._helper_begun.set()
            self._act("helper")
            return
        self._batches += 1
        if self._batches > 1:
            assert self._helper_begun.wait(_PATIENCE_S)
            self._act("caller")

    def _act(self, who: str) -> None:
        # Once.
        self._acts.pop(who, lambda: None)()


@pytest.fixture
def shop(lab: Any) -> Shop:
    lab.with_settings(batch_size=4, connections=2)
    shop = Shop(lab=lab)
    shop.rules(old=WITH_FILES)
    furnish(shop)
    return shop


def furnish(shop: Shop) -> None:
    for no in range(JOBS):
        shop.job(no, days=90 - no / 10, file=shop.lab.file("uploads", f"图/{no}.jpg"))
        shop.child("parts", no)
    shop.job(99, days=1, file=shop.lab.file("uploads", "活.jpg"))


def stop() -> None:
    raise Stopped


def stored(shop: Shop, what: str) -> dict[str, Any]:
    """Return the counts or cursors that a killed run left."""
    with shop.lab.database.read() as connection:
        left = connection.execute(select(service_state.c.value).where(service_state.c.key == "retention:tally"))
        found: dict[str, Any] = (left.scalar() or {}).get(what, {})
    return found


def killed_run_deleted(shop: Shop) -> int:
    """Return how many rows are gone, which must be as many as were counted."""
    gone = JOBS + 1 - len(shop.jobs())
    assert stored(shop, "counts").get("rule.old.rows", 0) == gone
    return gone


def assert_all_gone(shop: Shop, told: dict[str, Any], *, rows: int = JOBS, files: int = JOBS) -> None:
    """Each row, child and file is gone, and was counted once."""
    assert (told["state"], told["document"]["errors"]) == ("done", [])
    assert (told["document"]["files_cleaned"], shop.lab.on_disk()) == (files, {("uploads", "活.jpg")})
    assert (told["rows"], told["children"]) == (rows, rows)
    assert (shop.jobs(), shop.ids("parts"), shop.lab.outbox(), stored(shop, "cursors")) == ({99}, set(), [], {})
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("clean-up")]


def test_two_delete_what_one_would_and_count_it_once(shop: Shop) -> None:
    meeting = Meeting()
    told = shop.told(checkpoint=meeting)
    assert_all_gone(shop, told)
    assert len(meeting.threads) == 2


def test_one_connection_works_in_the_callers_thread_alone(shop: Shop) -> None:
    shop.lab.with_settings(connections=1)
    threads: set[str] = set()
    told = shop.told(checkpoint=lambda _: threads.add(threading.current_thread().name))
    assert_all_gone(shop, told)
    assert threads == {threading.main_thread().name}


def test_a_table_with_little_to_delete_gets_no_second_connection(shop: Shop) -> None:
    shop.lab.with_settings(batch_size=JOBS + 1)
    threads: set[str] = set()
    told = shop.told(checkpoint=lambda _: threads.add(threading.current_thread().name))
    assert_all_gone(shop, told)
    assert threads == {threading.main_thread().name}


@pytest.mark.parametrize("connections", [2, 4])
@pytest.mark.parametrize("most", [1, 7, 16])
def test_together_they_delete_as_many_rows_as_the_rule_may(shop: Shop, connections: int, most: int) -> None:
    shop.lab.with_settings(connections=connections)
    shop.rules(old=WITH_FILES | {"max_rows": most})
    told = shop.told("r1")
    assert (told["state"], told["rows"], len(shop.jobs())) == ("budget", most, JOBS + 1 - most)
    assert shop.told("r2")["rows"] == most


@pytest.mark.parametrize("who", ["caller", "helper"])
def test_a_run_that_is_stopped_in_one_of_them_is_gone_on_with(shop: Shop, who: str) -> None:
    with pytest.raises(Stopped):
        shop.lab.run("stopped", checkpoint=Meeting(**{who: stop}))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("clean-up")]
    gone = killed_run_deleted(shop)
    assert_all_gone(shop, shop.told("next"), rows=JOBS - gone)


def test_the_stored_cursor_does_not_pass_what_is_not_committed(shop: Shop) -> None:
    """The older batch is stopped after the younger one was committed."""
    committed = threading.Event()

    def wait_and_stop() -> None:
        assert committed.wait(_PATIENCE_S)
        stop()

    meeting = Meeting(caller=wait_and_stop)

    def checkpoint(point: str) -> None:
        meeting(point)
        if point == "batch committed" and threading.current_thread() is not threading.main_thread():
            committed.set()

    with pytest.raises(Stopped):
        shop.lab.run("stopped", checkpoint=checkpoint)
    left = shop.jobs()
    ((_, key),) = stored(shop, "cursors").values()
    assert int(key) < min(left)
    assert_all_gone(shop, shop.told("next"), rows=len(left) - 1)


@pytest.mark.parametrize("times", [1, 2])
def test_a_batch_that_met_a_lock_is_done_again(shop: Shop, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    real, failed = PostgresBatches.delete, 0

    def delete(self: PostgresBatches, connection: Any, doomed: Any, checkpoint: Any) -> Any:
        nonlocal failed
        if threading.current_thread() is not threading.main_thread() and failed < times:
            failed += 1
            raise DatabaseBusy("别人在用")
        return real(self, connection, doomed, checkpoint)

    monkeypatch.setattr(PostgresBatches, "delete", delete)
    assert_all_gone(shop, shop.told(checkpoint=Meeting()))
    assert failed == times


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (RowsStayed("触发器"), "partial"),
        (DatabaseUnavailable("weg"), "failed"),
        (DatabaseBusy("别人在用"), "contended"),
    ],
)
def test_an_error_of_one_ends_the_rule_and_loses_nothing(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, error: Exception, state: str
) -> None:
    real = PostgresBatches.delete

    def delete(self: PostgresBatches, connection: Any, doomed: Any, checkpoint: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            raise error
        return real(self, connection, doomed, checkpoint)

    with monkeypatch.context() as broken:
        broken.setattr(PostgresBatches, "delete", delete)
        # The caller's second batch goes on only when the other has begun.
        told = shop.told("r1", checkpoint=Meeting())
    assert told["state"] == state
    assert str(error) in told["reasons"][0]
    left = shop.jobs()
    assert told["rows"] == JOBS + 1 - len(left)
    assert len(left) > 1
    shop.told("r2")
    shop.told("r3")
    assert shop.jobs() == {99}
    assert shop.lab.on_disk() == {("uploads", "活.jpg")}


def test_a_lost_lock_ends_both(shop: Shop) -> None:
    lost = threading.Event()

    def cut() -> None:
        with shop.lab.database.engine.connect() as other:
            other.execute(text("SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'"))
        lost.set()

    document = shop.lab.document(checkpoint=Meeting(caller=cut))
    assert lost.is_set()
    assert "lock is gone" in document["errors"][0]
    assert Flight.lost().args[0] in document["errors"][0]
    assert len(shop.jobs()) > 1


@pytest.mark.slow
@pytest.mark.parametrize("step", [2, 5, 9, 14, 20, 27, 35])
def test_killed_while_two_are_at_work_the_next_run_ends_the_same(shop: Shop, step: int) -> None:
    kill(shop, step)
    gone = killed_run_deleted(shop)
    assert_all_gone(shop, next_run(shop), rows=JOBS - gone)


def kill(shop: Shop, step: int) -> None:
    """Run in a child that gets SIGKILL at the given step, whichever thread comes to it."""
    seen, counting = 0, threading.Lock()

    def checkpoint(_point: str) -> None:
        nonlocal seen
        with counting:
            seen += 1
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)

    shop.lab.database.dispose()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of the test runner, which the child never uses
        child = os.fork()
    if child == 0:
        try:
            shop.lab.run("killed", checkpoint=checkpoint)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"step {step} was not reached"


def next_run(shop: Shop) -> dict[str, Any]:
    """The server needs a moment to notice that the killed process is gone."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return shop.told("next")
        except Locked:
            assert time.monotonic() < deadline


def test_the_time_of_a_rule_ends_both(shop: Shop) -> None:
    shop.rules(old=WITH_FILES | {"max_seconds": 30})
    meeting = Meeting(caller=lambda: shop.lab.clock.advance(timedelta(seconds=40)))
    told = shop.told("r1", checkpoint=meeting)
    assert told["state"] == "budget"
    left = len(shop.jobs())
    assert told["rows"] == JOBS + 1 - left
    assert left > 1
    assert_all_gone(shop, shop.told("r2"), rows=left - 1, files=left - 1)
