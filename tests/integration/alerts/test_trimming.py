"""What is kept of alerts, and what is not: to the microsecond, and never anything that somebody still waits for."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from alert_lab import NOON, Lab, alert, an_instance, lab
from sqlalchemy import insert, select, update

from app.alerts.life import instance_rows
from app.alerts.life.instance import Transition
from app.alerts.notices import trimming as trimming_module
from app.alerts.notices.matchers import parse_matchers
from app.alerts.notices.silences import Silences
from app.alerts.notices.trimming import KEPT_DEAD, KEPT_SENT, Trimming
from app.context import Context, make_context
from app.core.clock import ManualClock
from app.core.database import Database
from app.core.errors import DatabaseBusy
from app.core.own_tables import alert_event, alert_instance, alert_outbox, notify_group, silence
from app.settings import load
from app.watch.desk import AlertDesk

YEAR, DAY, MOMENT = timedelta(days=365), timedelta(days=1), timedelta(microseconds=1)
LONG_AGO = NOON - 2 * YEAR


@pytest.fixture
def desk(database: Database, clock: ManualClock) -> Lab:
    return lab(database, clock, ("ops", "log_files"))


def trimming(desk: Lab, **more: Any) -> Trimming:
    return Trimming(database=desk.database, clock=more.pop("clock", desk.clock), settings=desk.settings)


def trim(desk: Lab) -> Mapping[str, int]:
    return trimming(desk).trim()


def happened(desk: Lab, what: str, at: datetime, event: Any = "resolved", *, is_open: bool = False) -> str:
    """Enter an alert with one event of `at`, over since then unless it is open; return its fingerprint."""
    ended = {} if is_open else {"state": "resolved", "resolved_at": at}
    instance = an_instance(what, fired_at=at, pending_since=at, last_bad_at=at, last_seen_at=at, **ended)
    with desk.database.write() as connection:
        assert instance_rows.write(connection, [instance])
        transition = Transition(instance=instance, event=event, at=at, before="warning")
        instance_rows.append_events(connection, [transition])
    return instance.fingerprint


def message(desk: Lab, state: str, **changed: Any) -> None:
    times = dict.fromkeys(("created_at", "next_at", "expires_at"), LONG_AGO)
    row = {"channel": "ops", "group_key": "g", "kind": "group", "level": "warning", "payload": {}, "attempts": 1}
    with desk.database.write() as connection:
        number = len(connection.execute(select(alert_outbox.c.id)).all())
        connection.execute(
            insert(alert_outbox), [{**row, **times, "dedupe_key": f"k{number}", "state": state, **changed}]
        )


def kept(desk: Lab, table: Any, column: str) -> list[Any]:
    with desk.database.read() as connection:
        return sorted(connection.execute(select(table.c[column])).scalars())


def test_what_happened_longer_ago_than_the_settings_say_is_removed_to_the_microsecond(desk: Lab) -> None:
    happened(desk, "vorher", NOON - YEAR - MOMENT)
    younger = happened(desk, "刚好", NOON - YEAR)
    assert trim(desk) == {"events": 1, "alerts": 1}
    assert (kept(desk, alert_event, "fingerprint"), kept(desk, alert_instance, "fingerprint")) == ([younger], [younger])


def test_an_open_alert_and_its_beginning_stay_however_old_they_are(desk: Lab) -> None:
    fingerprint = happened(desk, "磁盘", LONG_AGO, "firing", is_open=True)
    assert trim(desk) == {}
    assert kept(desk, alert_event, "fingerprint") == kept(desk, alert_instance, "fingerprint") == [fingerprint]


def test_a_condition_that_has_come_again_stays_whatever_else_is_known_of_it(desk: Lab) -> None:
    again = an_instance("又来了", state="pending", fired_at=None, resolved_at=LONG_AGO)
    with desk.database.write() as connection:
        assert instance_rows.write(connection, [again])
    assert trim(desk) == {}
    assert kept(desk, alert_instance, "fingerprint") == [again.fingerprint]


def test_of_an_open_alert_only_the_earlier_times_it_fired_are_forgotten(desk: Lab) -> None:
    fingerprint = happened(desk, "磁盘", LONG_AGO, "firing", is_open=True)
    with desk.database.write() as connection:
        connection.execute(update(alert_instance).values(episode=2))
    assert trim(desk) == {"events": 1}
    assert kept(desk, alert_instance, "fingerprint") == [fingerprint]


def test_an_alert_stays_while_something_younger_is_known_of_it(desk: Lab) -> None:
    fingerprint = happened(desk, "磁盘", LONG_AGO)
    with desk.database.write() as connection:
        row = connection.execute(select(alert_event)).one()
        connection.execute(insert(alert_event), [{**row._mapping, "id": row.id + 1, "at": NOON - DAY}])
    assert trim(desk) == {"events": 1}
    assert kept(desk, alert_instance, "fingerprint") == [fingerprint]


def test_an_alert_whose_end_is_still_to_be_sent_stays(desk: Lab) -> None:
    """Its message is made anew before it is sent, and without the alert it would not be made."""
    waits = happened(desk, "等着", LONG_AGO)
    message(desk, "pending", payload={"marks": {waits: None}})
    assert trim(desk) == {"events": 1}
    assert kept(desk, alert_instance, "fingerprint") == [waits]
    assert kept(desk, alert_outbox, "state") == ["pending"]


def test_who_could_not_be_reached_for_years_still_hears_the_end(desk: Lab) -> None:
    trouble, ops = alert("磁盘"), desk.targets["ops"]
    desk.fire(trouble)
    desk.wait(minutes=1)
    ops.refuse()
    desk.end(trouble)
    desk.wait(minutes=6)
    desk.clock.advance(2 * YEAR)  # the machine was off
    trim(desk)
    desk.wait(minutes=1)
    ops.accept()
    desk.wait(minutes=30)
    assert ops.told() == [("firing", "磁盘"), ("resolved", "磁盘")]


def test_an_alert_that_a_target_knows_of_stays(desk: Lab) -> None:
    known = happened(desk, "知道", LONG_AGO)
    group = {"channel": "ops", "group_key": "g", "group_labels": {}, "version": 1, "next_at": NOON + DAY}
    mark = {"level": "warning", "at": LONG_AGO.isoformat(), "episode": 1}
    with desk.database.write() as connection:
        connection.execute(insert(notify_group), [{**group, "told": {known: mark}}])
    assert "alerts" not in trim(desk)
    with desk.database.write() as connection:
        connection.execute(update(notify_group).values(channel="", group_key=known, told={"console": mark}))
    desk.clock.advance(DAY)
    assert trim(desk) == {}
    assert kept(desk, alert_instance, "fingerprint") == [known]


@pytest.mark.parametrize(("state", "age"), [("sent", KEPT_SENT), ("superseded", KEPT_SENT), ("dead", KEPT_DEAD)])
def test_messages_that_are_done_with_are_kept_for_a_while(desk: Lab, state: str, age: timedelta) -> None:
    message(desk, state, next_at=NOON - age)
    assert trim(desk) == {}
    desk.clock.advance(DAY)
    assert trim(desk) == {"messages": 1}


def test_a_message_that_is_to_be_sent_stays_however_old_it_is(desk: Lab) -> None:
    message(desk, "pending")
    assert trim(desk) == {}


def test_a_dead_letter_that_was_replayed_is_as_young_as_its_last_attempt(desk: Lab) -> None:
    message(desk, "dead", next_at=NOON)
    assert trim(desk) == {}


def test_a_silence_is_forgotten_when_it_was_over_for_as_long(desk: Lab) -> None:
    silences = Silences(desk.database, desk.clock)
    times = {"starts_at": NOON, "author": "值班", "comment": "换盘"}
    matchers = parse_matchers(["mount=/数据"])
    ran_out, ended, lasting = (
        silences.create(matchers, ends_at=NOON + lasts, **times).id for lasts in (DAY, 3 * YEAR, 3 * YEAR)
    )
    silences.end(ended)
    desk.clock.advance(YEAR)
    assert trim(desk) == {}
    desk.clock.advance(DAY)
    assert trim(desk) == {"silences": 1}
    assert kept(desk, silence, "id") == sorted([ran_out, lasting])
    desk.clock.advance(DAY)
    assert trim(desk) == {"silences": 1}
    assert kept(desk, silence, "id") == [lasting]


def test_a_group_is_forgotten_with_its_last_message(desk: Lab) -> None:
    trouble = alert("磁盘")
    desk.fire(trouble)
    desk.wait(minutes=1)
    desk.end(trouble)
    desk.wait(minutes=10, every=timedelta(minutes=2))
    desk.clock.advance(KEPT_SENT)
    removed = trim(desk)
    assert removed["messages"] > 1
    assert (kept(desk, alert_outbox, "id"), kept(desk, notify_group, "group_key")) == ([], [])


def test_zero_days_keep_history_for_ever_and_messages_for_a_week(database: Database, clock: ManualClock) -> None:
    desk = lab(database, clock, keep_history_days=0)
    fingerprint = happened(desk, "磁盘", LONG_AGO)
    message(desk, "sent")
    assert trim(desk) == {"messages": 1}
    assert kept(desk, alert_event, "fingerprint") == kept(desk, alert_instance, "fingerprint") == [fingerprint]


def test_it_is_done_once_a_day_whoever_does_it(desk: Lab) -> None:
    assert trim(desk) == {}
    happened(desk, "磁盘", LONG_AGO)
    desk.clock.advance(DAY - MOMENT)
    assert trim(desk) == {}
    desk.clock.advance(MOMENT)
    assert trim(desk) == {"events": 1, "alerts": 1}


def test_a_clock_set_back_does_not_put_it_off(desk: Lab) -> None:
    desk.clock.advance(YEAR)
    trim(desk)
    happened(desk, "磁盘", LONG_AGO)
    assert trimming(desk, clock=ManualClock(NOON)).trim() == {"events": 1, "alerts": 1}


class Slow(ManualClock):
    """A clock on which every look at it takes a second."""

    def monotonic(self) -> float:
        self.advance(timedelta(seconds=1))
        return super().monotonic()


def test_much_is_removed_in_small_transactions_over_several_passes(desk: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(7):
        happened(desk, f"磁盘{number}", LONG_AGO + number * DAY)
    monkeypatch.setattr(trimming_module, "AT_ONCE", 3)
    monkeypatch.setattr(trimming_module, "BUDGET_S", 1.5)
    slow = trimming(desk, clock=Slow(NOON))
    assert [slow.trim() for _ in range(4)] == [{"events": 6}, {"events": 1, "alerts": 6}, {"alerts": 1}, {}]


def test_the_oldest_goes_first(desk: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (3, 1, 2):
        happened(desk, f"磁盘{number}", LONG_AGO + number * DAY)
    monkeypatch.setattr(trimming_module, "AT_ONCE", 1)
    with desk.database.write() as connection:
        trimming_module._events(NOON)(connection)
    assert kept(desk, alert_event, "at") == [LONG_AGO + 2 * DAY, LONG_AGO + 3 * DAY]


# At the desk


@pytest.fixture
def context(database_url: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    made = make_context(load(), clock)
    yield made
    made.database.dispose()


def test_the_monitors_pass_trims(context: Context, clock: ManualClock) -> None:
    desk = lab(context.database, clock)
    happened(desk, "磁盘", LONG_AGO)
    AlertDesk(context).watch_pass()
    assert kept(desk, alert_event, "id") == kept(desk, alert_instance, "fingerprint") == []


def test_a_pass_goes_on_where_trimming_finds_the_database_busy(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(_trimming: Trimming) -> None:
        raise DatabaseBusy("忙")

    monkeypatch.setattr(Trimming, "trim", busy)
    assert AlertDesk(context).watch_pass() is not None
