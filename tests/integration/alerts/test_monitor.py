"""What the monitor hands over, what it forgives, and who of several watches."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from app.context import Context, make_context
from app.core.clock import ManualClock
from app.core.errors import DatabaseUnavailable
from app.core.own_tables import lease, run, slot
from app.schedule.signs import MONITOR, WORKER, Signs
from app.settings import load
from app.watch import monitor as monitor_module
from app.watch.monitor import Monitor
from app.watch.watchman import Watchman, WorkerFacts

HALF_A_MINUTE = timedelta(seconds=30)


class FakeDesk:
    """Writes down what it is handed."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Mapping[str, Any]]] = []
        self.outside: list[Any] = []
        self.passes = 0

    def observe(self, documents: Mapping[str, Mapping[str, Any]], *, sparse: bool) -> None:
        assert not sparse
        self.seen += documents.items()

    def assert_outside(self, items: Any, *, source: str, complete: bool) -> None:
        assert (source, complete) == ("monitor", True)
        self.outside.append(items)

    def enter_what_was_told(self) -> None:
        pass

    def watch_pass(self) -> None:
        self.passes += 1

    def last(self, family: str) -> Mapping[str, Any]:
        return [document for name, document in self.seen if name == family][-1]

    def families(self) -> list[str]:
        return sorted({name for name, _ in self.seen})


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the broker answers; a test may change it."""
    answer: dict[str, Any] = {"status": "ok", "available": True, "queues": {"file": 3, "receipt": 0}}
    monkeypatch.setattr(monitor_module, "broker_facts", lambda _context: answer)
    # Measuring takes a fifth of a second.
    monkeypatch.setattr(monitor_module, "resources", lambda _clock: {"cpu_percent": 5.0, "memory_percent": 50.0})
    return answer


@pytest.fixture
def context(
    database_url: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, broker: dict[str, Any]
) -> Iterator[Context]:
    assert broker
    monkeypatch.setenv("DATABASE_URL", database_url)
    made = make_context(load(), clock)
    yield made
    made.database.dispose()


@pytest.fixture
def desk() -> FakeDesk:
    return FakeDesk()


def watchman(
    context: Context, desk: FakeDesk, owner: str, worker: str | None = None, *, still_s: float = 0.0
) -> Watchman:
    facts = WorkerFacts(name=worker, queues=("file",), still_s=lambda: still_s) if worker else None
    return Watchman(context, Monitor(context, desk), owner=owner, worker=facts)


def test_a_pass_sees_every_family_and_sends_what_is_due(context: Context, desk: FakeDesk) -> None:
    seen = ["disk", "queues", "reports", "runs", "schedule", "services", "system", "workers"]
    assert sorted(Monitor(context, desk).look()) == seen
    assert desk.passes == 1
    assert desk.outside == [[]]
    assert desk.last("system") == {"cpu_percent": 5.0, "memory_percent": 50.0}
    assert desk.last("queues") == {"depths": {"file": 3, "receipt": 0}, "wait_p95_s": None, "wait_samples": 0}
    assert desk.last("services")["services"] == [
        {"name": "broker", "failures": 0, "why": "", "latency_s": 0.0},
        {"name": "database", "failures": 0, "why": "", "latency_s": 0.0},
    ]
    assert desk.last("disk")["mounts"][0]["forecast"]["verdict"]


def test_what_reads_history_is_looked_at_less_often(context: Context, desk: FakeDesk, clock: ManualClock) -> None:
    monitor = Monitor(context, desk)
    counts = []
    for _ in range(5):
        counts.append(set(monitor.look()))
        clock.advance(HALF_A_MINUTE)
    for family in ("schedule", "disk", "reports", "runs"):
        assert [number for number, judged in enumerate(counts) if family in judged] == [0, 2, 4]


def test_failures_in_a_row_are_counted_and_an_answer_ends_them(
    context: Context, desk: FakeDesk, broker: dict[str, Any]
) -> None:
    monitor = Monitor(context, desk)
    broker.update(status="critical", available=False, detail="拒绝连接", queues={})
    monitor.look()
    monitor.look()
    assert desk.last("services")["services"][0] == {
        "name": "broker",
        "failures": 2,
        "why": "拒绝连接",
        "latency_s": None,
    }
    broker.update(status="ok", available=True)
    monitor.look()
    assert desk.last("services")["services"][0] == {"name": "broker", "failures": 0, "why": "", "latency_s": 0.0}


def test_a_broker_that_only_celery_can_ask_is_neither_well_nor_ill(
    context: Context, desk: FakeDesk, broker: dict[str, Any]
) -> None:
    broker.update(status="unknown", available=False, why="amqp brokers can only be asked by a Celery process")
    Monitor(context, desk).look()
    assert [service["name"] for service in desk.last("services")["services"]] == ["database"]


def test_a_broker_that_can_no_longer_be_asked_is_not_called_down_for_ever(
    context: Context, desk: FakeDesk, broker: dict[str, Any]
) -> None:
    monitor = Monitor(context, desk)
    broker.update(status="critical", available=False, detail="拒绝连接", queues={})
    monitor.look()
    broker.update(status="unknown", available=False)
    monitor.look()
    assert [service["name"] for service in desk.last("services")["services"]] == ["database"]


def test_a_probe_that_is_not_looked_at_each_time_stays_blind_until_it_works(
    context: Context, desk: FakeDesk, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = False

    def disks(_context: Context) -> dict[str, Any]:
        if not works:
            raise ZeroDivisionError
        return {"mounts": [], "errors": []}

    monkeypatch.setattr(monitor_module, "measured_disks", disks)
    monitor = Monitor(context, desk)
    for _ in range(4):
        monitor.look()
        clock.advance(HALF_A_MINUTE)
    assert [[one["labels"]["family"] for one in told] for told in desk.outside] == [["disk"]] * 4
    works = True
    monitor.look()
    assert desk.outside[-1] == []


def test_what_is_due_is_sent_though_what_was_seen_can_not_be_judged(
    context: Context, desk: FakeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def observe(*_args: object, **_named: object) -> None:
        raise RecursionError

    monkeypatch.setattr(desk, "observe", observe)
    with pytest.raises(RecursionError):
        Monitor(context, desk).look()
    assert desk.passes == 1


def test_a_look_that_ends_after_its_process_was_told_to_leaves_no_sign(context: Context, desk: FakeDesk) -> None:
    monitor = Monitor(context, desk)
    monitor.look()
    assert Signs(context.database).find(MONITOR) is not None
    monitor.end()
    monitor.look()
    assert Signs(context.database).find(MONITOR) is None


def test_a_probe_that_breaks_is_told_and_blinds_no_other(
    context: Context, desk: FakeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_clock: object) -> dict[str, Any]:
        raise ZeroDivisionError("redis://:geheim@h")

    monkeypatch.setattr(monitor_module, "resources", broken)
    judged = Monitor(context, desk).look()
    assert "system" not in judged
    assert {"disk", "queues", "schedule", "services", "workers"} <= set(judged)
    ((told,),) = desk.outside
    assert (told["alertname"], told["labels"]) == ("MonitorBlind", {"family": "system"})
    assert "geheim" not in told["message"]


def test_waits_are_those_of_the_last_quarter_of_an_hour_and_of_what_still_waits(
    context: Context, desk: FakeDesk, clock: ManualClock
) -> None:
    now = clock.now()

    def begun(number: int, minutes_ago: float, waited: float) -> dict[str, Any]:
        at = now - timedelta(minutes=minutes_ago)
        times = {"queued_at": at - timedelta(seconds=waited), "started_at": at, "heartbeat_at": at}
        one = {"job": "disk-space-check", "trigger": "manual", "attempt": 1, "state": "succeeded"}
        return {"id": f"{number:032d}", **one, **times}

    sent = {"job": "cleanup-logs", "state": "sent", "attempt": 0, "term": 0, "planned_at": now}
    with context.database.write() as connection:
        connection.execute(insert(run), [begun(1, 14.9, 2), begun(2, 1, 7), begun(3, 15.1, 5000)])
        connection.execute(insert(slot), [{**sent, "due_at": now, "sent_at": now - timedelta(seconds=400)}])
    Monitor(context, desk).look()
    assert (desk.last("queues")["wait_p95_s"], desk.last("queues")["wait_samples"]) == (400, 3)


# Workers that fall silent


def silent(desk: FakeDesk) -> dict[str, float]:
    return {worker["name"]: worker["silent_s"] for worker in desk.last("workers")["workers"]}


def test_a_worker_that_dies_grows_silent_and_one_that_lives_does_not(
    context: Context, desk: FakeDesk, clock: ManualClock
) -> None:
    first, second = watchman(context, desk, "a", "夜班@vm"), watchman(context, desk, "b", "urgent@vm")
    assert (first.turn(), second.turn()) == (True, False)
    for _ in range(4):
        clock.advance(HALF_A_MINUTE)
        assert first.turn() is True
    assert silent(desk) == {"夜班@vm": 0, "urgent@vm": 120}


def deaths(desk: FakeDesk) -> list[int]:
    return [worker["deaths"] for worker in desk.last("workers")["workers"]]


def test_who_dies_and_is_started_again_is_counted_for_an_hour(
    context: Context, desk: FakeDesk, clock: ManualClock
) -> None:
    beat = watchman(context, desk, "a")
    beat.turn()
    for life, count in enumerate((0, 1, 2, 3)):
        worker = watchman(context, desk, f"b{life}", "夜班@vm")
        # Its own later signs are no deaths.
        for _ in range(2):
            worker.turn()
            beat.turn()
            assert deaths(desk) == [count]
            clock.advance(HALF_A_MINUTE)
    clock.advance(timedelta(hours=1) - 5 * HALF_A_MINUTE)
    worker.turn()
    beat.turn()
    assert deaths(desk) == [1], "the second of three died an hour ago"


def test_of_a_worker_that_can_not_live_no_more_than_the_latest_deaths_are_remembered(
    context: Context, desk: FakeDesk, clock: ManualClock
) -> None:
    old = [(clock.now() - timedelta(seconds=1)).isoformat()] * 5000
    Signs(context.database).leave(WORKER + "夜班@vm", {"deaths": old}, clock.now())
    watchman(context, desk, "b", "夜班@vm").turn()
    assert len(Signs(context.database).workers(clock.now())[0].facts["deaths"]) == 101


def test_who_signs_off_has_not_died(context: Context, desk: FakeDesk) -> None:
    beat = watchman(context, desk, "a")
    for life in ("b", "c"):
        worker = watchman(context, desk, life, "夜班@vm")
        worker.turn()
        beat.turn()
        assert deaths(desk) == [0]
        worker.end()


def test_a_worker_that_hangs_grows_silent_though_it_signs(context: Context, desk: FakeDesk, clock: ManualClock) -> None:
    beat = watchman(context, desk, "a")
    beat.turn()
    clock.advance(HALF_A_MINUTE)
    watchman(context, desk, "b", "夜班@vm", still_s=20.0).turn()
    beat.turn()
    assert silent(desk) == {"夜班@vm": 20}


def test_a_machine_that_slept_gives_its_workers_the_time_to_sign_again(
    context: Context, desk: FakeDesk, clock: ManualClock
) -> None:
    beat, worker = watchman(context, desk, "a"), watchman(context, desk, "b", "夜班@vm")
    for _ in range(8):
        beat.turn()
        worker.turn()
        clock.advance(HALF_A_MINUTE)
    clock.advance(timedelta(hours=8))
    beat.turn()
    assert silent(desk) == {"夜班@vm": 0}
    assert desk.last("schedule") == {"facts": []}
    for _ in range(5):
        clock.advance(HALF_A_MINUTE)
        beat.turn()
    assert silent(desk) == {"夜班@vm": 150}


def test_a_look_that_is_only_late_forgives_no_silence(context: Context, desk: FakeDesk, clock: ManualClock) -> None:
    beat = watchman(context, desk, "a")
    beat.turn()
    watchman(context, desk, "b", "夜班@vm").turn()
    for _ in range(2):
        clock.advance(timedelta(seconds=75))
        beat.turn()
    assert silent(desk) == {"夜班@vm": 150}
    clock.advance(timedelta(seconds=75, microseconds=1))
    beat.turn()
    assert silent(desk) == {"夜班@vm": 0}


def test_a_database_that_was_away_gives_workers_the_time_to_sign_again(
    context: Context, desk: FakeDesk, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_context: Context) -> None:
        raise DatabaseUnavailable("weg")

    worker, monitor = watchman(context, desk, "b", "夜班@vm"), Monitor(context, desk)
    for _ in range(8):
        worker.turn()
        monitor.look()
        clock.advance(HALF_A_MINUTE)
    with monkeypatch.context() as patch:
        patch.setattr("app.context.Context.prepare_own_tables", refuse)
        for _ in range(10):
            monitor.look()
            clock.advance(HALF_A_MINUTE)
    monitor.look()
    assert silent(desk) == {"夜班@vm": 0}


def test_a_worker_that_ends_as_it_should_is_nobodys_alarm(context: Context, desk: FakeDesk, clock: ManualClock) -> None:
    first, second = watchman(context, desk, "a", "night@vm"), watchman(context, desk, "b", "urgent@vm")
    first.turn()
    second.turn()
    second.end()
    clock.advance(HALF_A_MINUTE)
    first.turn()
    assert silent(desk) == {"night@vm": 0}


def test_a_machine_given_up_a_day_ago_is_expected_no_more(context: Context, desk: FakeDesk, clock: ManualClock) -> None:
    signs = Signs(context.database)
    signs.leave(WORKER + "old@vm", {}, clock.now() - timedelta(days=1, seconds=1))
    signs.leave(WORKER + "lost@vm", {}, clock.now() - timedelta(hours=23, minutes=59))
    Monitor(context, desk).look()
    assert set(silent(desk)) == {"lost@vm"}
    assert signs.find(WORKER + "old@vm") is None
    assert signs.find(WORKER + "lost@vm") is not None


def test_after_a_night_switched_off_nobody_is_called_silent_before_he_could_speak(
    context: Context, desk: FakeDesk, clock: ManualClock
) -> None:
    before = watchman(context, desk, "a", "night@vm")
    before.turn()
    clock.advance(timedelta(hours=8))
    after = watchman(context, desk, "b")
    after.turn()
    assert silent(desk) == {"night@vm": 0}
    clock.advance(timedelta(seconds=45))
    after.turn()
    assert silent(desk) == {"night@vm": 45}


def test_who_takes_over_a_watch_goes_on_where_the_dead_one_stopped(
    context: Context, desk: FakeDesk, clock: ManualClock
) -> None:
    """The worker that watched dies; beat takes the lease over when it ends, and need not begin to listen anew."""
    worker, beat = watchman(context, desk, "a", "night@vm"), watchman(context, desk, "b")
    for _ in range(10):
        worker.turn()
        beat.turn()
        clock.advance(HALF_A_MINUTE)
    turns = []
    while not (turns and turns[-1]):
        turns.append(beat.turn())
        clock.advance(HALF_A_MINUTE)
    assert turns == [False, False, True]
    assert silent(desk) == {"night@vm": 90}
    beat.turn()
    assert silent(desk) == {"night@vm": 120}


def test_beat_is_given_a_minute_to_come_back_after_everything_was_off(
    context: Context, desk: FakeDesk, clock: ManualClock
) -> None:
    long_ago = clock.now() - timedelta(hours=8)
    row = {"name": "beat", "owner": "x", "term": 1, "since": long_ago, "until": long_ago, "host": "h", "pid": 1}
    with context.database.write() as connection:
        connection.execute(insert(lease), [row])
    monitor = Monitor(context, desk)
    monitor.look()
    assert desk.last("schedule") == {"facts": []}
    clock.advance(timedelta(seconds=60))
    monitor.look()
    assert [fact["fact"] for fact in desk.last("schedule")["facts"]] == ["BeatDown"]


# Who watches


def test_one_watches_at_a_time_and_its_clean_end_lets_the_next_one_at_once(context: Context, desk: FakeDesk) -> None:
    first, second = watchman(context, desk, "a"), watchman(context, desk, "b")
    assert [first.turn(), second.turn(), first.turn(), second.turn()] == [True, False, True, False]
    first.end()
    assert Signs(context.database).find(MONITOR) is None
    assert second.turn() is True


def test_a_crash_of_a_whole_pass_is_survived(context: Context, desk: FakeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    man = watchman(context, desk, "a")
    monkeypatch.setattr(desk, "watch_pass", lambda: 1 / 0)
    assert man.turn() is False
    monkeypatch.undo()
    assert man.turn() is True


# Without a database


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch, clock: ManualClock, broker: dict[str, Any]) -> Iterator[Context]:
    assert broker
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:geheim@127.0.0.1:1/none")
    made = make_context(load(), clock)
    yield made
    made.database.dispose()


def test_a_database_that_is_away_is_counted_and_everybody_watches(away: Context, desk: FakeDesk) -> None:
    first, second = watchman(away, desk, "a", "night@vm"), watchman(away, desk, "b")
    assert (first.turn(), second.turn(), first.turn()) == (True, True, True)
    assert desk.families() == ["disk", "services"]
    broker, database = desk.last("services")["services"]
    assert (broker["failures"], database["name"], database["failures"]) == (0, "database", 2)
    assert database["why"]
    assert "geheim" not in str(desk.seen)
    assert desk.passes == 3


def test_an_outage_that_was_told_without_the_database_is_entered_when_it_is_back(
    context: Context, desk: FakeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.core.errors import DatabaseUnavailable

    def refuse() -> None:
        raise DatabaseUnavailable("weg")

    monitor = Monitor(context, desk)
    with monkeypatch.context() as patch:
        patch.setattr("app.context.Context.prepare_own_tables", lambda _self: refuse())
        for _ in range(3):
            monitor.look()
    desk.seen.clear()
    monitor.look()
    told = [document["services"][-1]["failures"] for family, document in desk.seen if family == "services"]
    assert told == [3]
    desk.seen.clear()
    monitor.look()
    assert [document["services"][-1]["failures"] for family, document in desk.seen if family == "services"] == [0]


def test_an_outage_another_process_watched_the_end_of_is_not_told_later(
    context: Context, desk: FakeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.core.errors import DatabaseUnavailable

    def refuse(_context: Context) -> None:
        raise DatabaseUnavailable("weg")

    monitor = Monitor(context, desk)
    with monkeypatch.context() as patch:
        patch.setattr("app.context.Context.prepare_own_tables", refuse)
        monitor.look()
    monitor.rest()
    desk.seen.clear()
    monitor.look()
    assert [document["services"][-1]["failures"] for family, document in desk.seen if family == "services"] == [0]


def test_a_log_says_once_what_goes_on_being_wrong(away: Context, desk: FakeDesk) -> None:
    from structlog.testing import capture_logs

    man = watchman(away, desk, "a", "night@vm")
    with capture_logs() as logs:
        for _ in range(5):
            man.turn()
    assert len([line for line in logs if line["event"] == "watch_disturbed"]) == 1
    assert len([line for line in logs if line["event"] == "service_does_not_answer"]) == 1
