"""The slot ledger and the election of a leader, on both databases."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from app.core.clock import ManualClock
from app.core.database import Database, DatabaseSettings
from app.core.migrate import upgrade
from app.schedule.leadership import BEAT, LIFE, Leadership
from app.schedule.leases import Leases
from app.schedule.ledger import LEASE, MOST_ATTEMPTS, RESEND_AFTER, Ledger
from tests.steps import Steps

DUE = datetime(2026, 3, 10, 18, 0, tzinfo=UTC)
JOB = "generate-daily-statistics"


@pytest.fixture
def ledger(database: Database) -> Ledger:
    made = Ledger(database)
    made.plan([(JOB, DUE)], DUE - timedelta(hours=1))
    return made


@pytest.fixture
def steps(database: Database) -> Steps:
    return Steps(database, ManualClock(DUE))


def test_a_slot_planned_twice_is_one_slot(ledger: Ledger) -> None:
    assert ledger.plan([(JOB, DUE), (JOB, DUE + timedelta(days=1))], DUE) == 1


def test_a_slot_is_due_at_its_instant_and_not_a_microsecond_before(ledger: Ledger) -> None:
    assert ledger.due(DUE - timedelta(microseconds=1)) == []
    assert [slot.due_at for slot in ledger.due(DUE)] == [DUE]


def test_a_sent_slot_is_not_sent_again_and_can_be_claimed(ledger: Ledger, steps: Steps) -> None:
    assert ledger.mark_sent(JOB, DUE, DUE)
    assert not ledger.mark_sent(JOB, DUE, DUE)
    assert ledger.due(DUE) == []
    assert steps.claim(JOB, DUE, "a", "r1", DUE) is not None


@pytest.mark.usefixtures("ledger")
def test_a_second_delivery_gets_no_claim_and_neither_does_a_finished_or_unknown_slot(steps: Steps) -> None:
    claim = steps.claim(JOB, DUE, "a", "r1", DUE)
    assert claim is not None
    assert steps.claim(JOB, DUE, "b", "r2", DUE) is None
    assert steps.close(claim, "succeeded", DUE)
    assert steps.claim(JOB, DUE, "b", "r2", DUE) is None
    assert steps.claim(JOB, DUE + timedelta(days=1), "b", "r2", DUE) is None
    assert steps.claim("没有", DUE, "b", "r2", DUE) is None


def test_of_many_workers_at_once_exactly_one_gets_the_claim(database_url: str) -> None:
    opened = [Database(database_url, DatabaseSettings()) for _ in range(4)]
    upgrade(opened[0])
    Ledger(opened[0]).plan([(JOB, DUE + timedelta(minutes=n)) for n in range(10)], DUE)
    claims: list[object] = []
    gate = threading.Barrier(4)

    def work(number: int) -> None:
        gate.wait()
        for minute in range(10):
            due = DUE + timedelta(minutes=minute)
            claims.append(Steps(opened[number], ManualClock(DUE)).claim(JOB, due, f"w{number}", "r", DUE))

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for each in opened:
        each.dispose()
    assert len(claims) == 40
    assert sum(claim is not None for claim in claims) == 10


def test_a_dead_workers_slot_is_offered_again_when_its_lease_is_over_and_not_before(
    ledger: Ledger, steps: Steps
) -> None:
    claim = steps.claim(JOB, DUE, "a", "r1", DUE)
    assert claim is not None
    assert ledger.repair(DUE + LEASE).offered == 0
    assert ledger.repair(DUE + LEASE + timedelta(microseconds=1)).offered == 1
    again = steps.claim(JOB, DUE, "b", "r2", DUE + LEASE)
    assert again is not None
    assert (again.term, again.attempt) == (2, 2)
    # The first worker was only slow: it can't renew or close what another one has.
    assert not steps.renew(claim, DUE + LEASE)
    assert not steps.close(claim, "failed", DUE + LEASE)
    assert steps.close(again, "succeeded", DUE + LEASE)


def test_a_renewed_claim_is_not_taken_away(ledger: Ledger, steps: Steps) -> None:
    claim = steps.claim(JOB, DUE, "a", "r1", DUE)
    assert claim is not None
    for minutes in range(1, 60):
        assert steps.renew(claim, DUE + timedelta(minutes=minutes))
        assert ledger.repair(DUE + timedelta(minutes=minutes)).offered == 0


def test_a_slot_that_kills_its_workers_is_given_up_and_said_so(ledger: Ledger, steps: Steps) -> None:
    now = DUE
    for _ in range(MOST_ATTEMPTS):
        assert steps.claim(JOB, DUE, "a", "r", now) is not None
        now += LEASE + timedelta(seconds=1)
        last = ledger.repair(now)
    assert last.given_up == 1
    slot = ledger.get(JOB, DUE)
    assert slot is not None
    assert slot.state == "interrupted"


def test_a_lost_message_is_sent_again_after_its_time_and_not_before(ledger: Ledger) -> None:
    ledger.mark_sent(JOB, DUE, DUE)
    assert ledger.repair(DUE + RESEND_AFTER).resent == 0
    assert ledger.repair(DUE + RESEND_AFTER + timedelta(microseconds=1)).resent == 1
    assert [slot.due_at for slot in ledger.due(DUE + RESEND_AFTER)] == [DUE]


def test_a_slot_given_back_waits_for_its_time(ledger: Ledger, steps: Steps) -> None:
    claim = steps.claim(JOB, DUE, "a", "r1", DUE)
    assert claim is not None
    assert steps.offer_again(claim, DUE + timedelta(seconds=30))
    assert ledger.due(DUE + timedelta(seconds=29)) == []
    assert len(ledger.due(DUE + timedelta(seconds=30))) == 1


def test_a_missed_slot_stays_visible_and_is_never_run(ledger: Ledger, steps: Steps) -> None:
    assert ledger.close_unrun(JOB, DUE, "missed", DUE, "beat was down")
    assert steps.claim(JOB, DUE, "a", "r", DUE) is None
    assert ledger.last_due(until=DUE) == {JOB: DUE}


def test_the_newest_slot_of_each_job_counts_whatever_its_state(ledger: Ledger) -> None:
    hour = timedelta(hours=1)
    ledger.plan(
        [("物流", DUE), ("物流", DUE - hour), ("a", DUE - hour), (JOB, DUE + hour)], DUE, missed=[("物流", DUE)]
    )
    assert ledger.last_due(until=DUE + hour) == {JOB: DUE + hour, "物流": DUE, "a": DUE - hour}


def test_a_slot_that_is_due_later_is_not_the_newest(ledger: Ledger) -> None:
    second = timedelta(seconds=1)
    ledger.plan([("物流", DUE + timedelta(days=1)), ("a", DUE - timedelta(days=1)), ("a", DUE + second)], DUE)
    assert ledger.last_due(until=DUE) == {JOB: DUE, "a": DUE - timedelta(days=1)}
    assert ledger.last_due(until=DUE + second) == {JOB: DUE, "a": DUE + second}
    assert ledger.last_due(until=DUE - second) == {"a": DUE - timedelta(days=1)}


def test_a_ledger_without_slots_has_no_newest(database: Database) -> None:
    assert Ledger(database).last_due(until=DUE) == {}


class Beats:
    """Two beats on one database, each with a clock of its own that can be frozen."""

    def __init__(self, database: Database) -> None:
        self.clocks = (ManualClock(DUE), ManualClock(DUE))
        self.beats = tuple(
            Leadership(Leases(database, LIFE), clock, owner=name, host="h", pid=number)
            for number, (name, clock) in enumerate(zip("ab", self.clocks, strict=True))
        )

    def advance(self, seconds: float) -> None:
        for clock in self.clocks:
            clock.advance(timedelta(seconds=seconds))


@pytest.fixture
def two(database: Database) -> Beats:
    return Beats(database)


def test_one_of_two_beats_leads_and_goes_on_leading(two: Beats) -> None:
    a, b = two.beats
    assert a.campaign()
    for _ in range(20):
        assert not b.campaign()
        two.advance(5)
        assert a.campaign()


def test_a_stand_by_takes_over_when_the_lease_is_over_and_not_before(two: Beats) -> None:
    a, b = two.beats
    assert a.campaign()
    two.advance(LIFE.total_seconds() - 0.001)
    assert not b.campaign()
    assert not a.leads
    two.advance(0.001)
    assert b.campaign()
    assert not a.campaign()


def test_a_leader_that_resigns_is_followed_at_once(two: Beats) -> None:
    a, b = two.beats
    assert a.campaign()
    a.resign()
    assert not a.leads
    assert b.campaign()


def test_a_leader_steps_down_by_itself_a_second_before_anybody_may_follow(two: Beats) -> None:
    a, _ = two.beats
    assert a.campaign()
    two.advance(LIFE.total_seconds() - 1.001)
    assert a.leads
    two.advance(0.001)
    assert not a.leads


def test_a_frozen_and_continued_leader_does_not_lead(two: Beats) -> None:
    a, b = two.beats
    assert a.campaign()
    two.advance(60)
    assert b.campaign()
    assert not a.leads
    assert not a.campaign()


def test_the_lease_tells_who_leads(two: Beats, database: Database) -> None:
    leases = Leases(database, LIFE)
    assert leases.holder(BEAT) is None
    two.beats[1].campaign()
    leader = leases.holder(BEAT)
    assert leader is not None
    assert (leader.owner, leader.pid, leader.since) == ("b", 1, DUE)
    assert leader.holds_at(DUE)
    assert not leader.holds_at(DUE + LIFE)
