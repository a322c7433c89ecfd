"""Several at once: evaluators, monitors and senders of other processes, here threads with engines of their own."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from alert_lab import NOON, Lab, Target, alert, settings

from app.alerts.notices import outbox
from app.core.clock import ManualClock
from app.core.database import Database, DatabaseSettings

AT_ONCE = 3


@pytest.fixture
def labs(database_url: str) -> Iterator[list[Lab]]:
    """Installations that share database and targets, and nothing else."""
    targets = {name: Target(name) for name in ("log_files", "ops")}
    databases = [Database(database_url, DatabaseSettings()) for _ in range(AT_ONCE)]
    yield [
        Lab(database=one, clock=ManualClock(NOON), targets=targets, settings=settings(tuple(targets)))
        for one in databases
    ]
    for one in databases:
        one.dispose()


def at_once(labs: list[Lab], act: Callable[[Lab], object]) -> None:
    """Do the same in all of them at the same moment."""
    start = threading.Barrier(len(labs))
    errors: list[BaseException] = []

    def run(lab: Lab) -> None:
        start.wait(20)
        try:
            act(lab)
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=run, args=(lab,)) for lab in labs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []


def advance(labs: list[Lab], **time: float) -> None:
    for lab in labs:
        lab.clock.advance(timedelta(**time))


def test_several_evaluators_tell_one_alert_once(labs: list[Lab]) -> None:
    at_once(labs, lambda lab: lab.fire(*(alert(f"{number}") for number in range(20))))
    advance(labs, seconds=30)
    at_once(labs, Lab.watch)
    ops, files = labs[0].targets["ops"], labs[0].targets["log_files"]
    assert [len(one.alerts) for one in ops.got] == [20]
    assert Counter(files.told()) == Counter({("firing", f"{number}"): 1 for number in range(20)})


def test_alerts_of_one_group_that_different_evaluators_find_are_all_told(labs: list[Lab]) -> None:
    def act(lab: Lab) -> None:
        number = labs.index(lab)
        lab.evaluator.outside(f"source {number}", [alert(f"{number}-{one}") for one in range(5)], complete=True)

    at_once(labs, act)
    with labs[0].database.read() as connection:
        waiting = [row for row in outbox.listed(connection, states=["pending"]) if row.target == "ops"]
    assert [len(row.marks) for row in waiting] == [15]
    advance(labs, seconds=30)
    at_once(labs, Lab.watch)
    ops = labs[0].targets["ops"]
    assert sorted(what for _, what in ops.told()) == sorted(f"{n}-{one}" for n in range(AT_ONCE) for one in range(5))


def test_several_senders_send_each_message_once(labs: list[Lab]) -> None:
    labs[0].fire(*(alert(f"{number}", labels={"component": f"{number}"}) for number in range(25)))
    advance(labs, seconds=30)
    at_once(labs, lambda lab: lab.deliverer.deliver())
    for target in labs[0].targets.values():
        assert Counter(target.told()) == Counter({("firing", f"{number}"): 1 for number in range(25)})


def test_monitors_that_flush_while_evaluators_judge_lose_and_double_nothing(labs: list[Lab]) -> None:
    def act(lab: Lab) -> None:
        number = labs.index(lab)
        for one in range(6):
            lab.evaluator.outside(f"source {number}", [alert(f"{number}-{one}", "critical")], complete=False)
            lab.watch()

    at_once(labs, act)
    advance(labs, minutes=5)
    at_once(labs, Lab.watch)
    advance(labs, minutes=5)
    at_once(labs, Lab.watch)
    expected = Counter({("firing", f"{n}-{one}"): 1 for n in range(AT_ONCE) for one in range(6)})
    assert Counter(labs[0].targets["ops"].told()) == expected
    assert Counter(labs[0].targets["log_files"].told()) == expected


def test_several_monitors_write_one_digest(labs: list[Lab]) -> None:
    labs[0].fire(alert("a"))
    advance(labs, hours=21)
    at_once(labs, Lab.flush)
    at_once(labs, lambda lab: lab.deliverer.deliver())
    assert Counter(one.kind for one in labs[0].targets["ops"].got) == Counter({"digest": 1, "group": 1})
