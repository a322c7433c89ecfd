"""One slot, delivered again while it runs or after its child died: one run of it comes to its end."""

import os
import signal
import time
from contextlib import closing
from datetime import UTC, datetime

import psutil
import pytest
from home import Home
from processes import wait_until
from redis import Redis

_JOB = "count-gated"
_NOT_RUN = "slot_not_run"
_VISIBLE_S = 3


def test_a_child_killed_at_work_costs_its_slot_one_more_run_and_its_worker_nothing(counted: Home) -> None:
    counted.broker()
    worker = counted.worker()
    child = _begin(counted)
    # In the place of the dead one, before its lease is over.
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: _NOT_RUN in _log(counted), "the message is delivered again and left alone")
    assert [line.what for line in counted.effects()] == ["begun"]
    assert counted.slots(_JOB) == [("running", 1)]
    counted.let_leases_of_the_dead_end()
    (counted.folder / "gate").touch()
    wait_until(lambda: counted.slots(_JOB) == [("succeeded", 2)], "the slot is run again")
    assert worker.poll() is None
    first, second, done = counted.effects()
    assert (first.pid, second.what, done.what) == (child, "begun", "done")
    assert second.pid == done.pid
    assert psutil.Process(done.pid).ppid() == worker.pid
    _one_success(counted)


def test_a_message_delivered_to_a_second_worker_while_it_is_worked_on_is_left_alone(counted: Home) -> None:
    counted.more["GENGFU_BROKER__VISIBILITY_TIMEOUT_S"] = "60"
    counted.broker()
    workers = [counted.worker("first"), counted.worker("second")]
    _begin(counted)
    with closing(Redis(port=counted.port)) as client:

        def given_away() -> bool:
            # As after a minute in which no renewal of the worker's came through; the sweep is every ten seconds.
            if held := client.zrange("unacked_index", 0, -1):
                client.zadd("unacked_index", dict.fromkeys(held, 1.0), xx=True)
            return _NOT_RUN in _log(counted)

        wait_until(given_away, "the second worker got the message", within_s=30)
        assert counted.slots(_JOB) == [("running", 1)]
        (counted.folder / "gate").touch()
        wait_until(lambda: counted.slots(_JOB) == [("succeeded", 1)], "the first worker ends its run")
        wait_until(lambda: not client.exists("unacked"), "every delivery is acknowledged")
        assert client.llen("file") == 0
    assert [worker.poll() for worker in workers] == [None, None]
    assert [line.what for line in counted.effects()] == ["begun", "done"]
    _one_success(counted)


def test_a_run_longer_than_the_visibility_time_out_is_not_delivered_again(counted: Home) -> None:
    counted.more["VISIBILITY_TIMEOUT_S"] = str(_VISIBLE_S)
    counted.broker()
    counted.worker("first")
    counted.worker("second")
    _begin(counted)
    begun = time.time()
    with closing(Redis(port=counted.port)) as client:

        def renewed_until() -> float:
            scores = [score for _, score in client.zrange("unacked_index", 0, -1, withscores=True)]
            return min(scores, default=0.0)

        # Sweeps come every second here: each finds a message that is younger than the time-out.
        wait_until(lambda: renewed_until() > begun + 2 * _VISIBLE_S, "the message is renewed past its time-out twice")
    (counted.folder / "gate").touch()
    wait_until(lambda: counted.slots(_JOB) == [("succeeded", 1)], "the run ends")
    assert _NOT_RUN not in _log(counted)
    assert [line.what for line in counted.effects()] == ["begun", "done"]
    _one_success(counted)


def _begin(home: Home) -> int:
    """Have the job begin a slot; return the process that works on it."""
    # Due before the beat leads: what falls due later and is not in the job's schedule, beat takes for superseded.
    due = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
    home.beat()
    wait_until(home.term, "a beat leads")
    home.plan(_JOB, due)
    wait_until(home.effects, "the job has begun")
    return home.effects()[0].pid


def _log(home: Home) -> str:
    return home.log("celery_worker.log")


def _one_success(home: Home) -> None:
    assert home.number("SELECT count(*) FROM gengfu_run WHERE job = ? AND state = 'succeeded'", _JOB) == 1


pytestmark = pytest.mark.slow
