"""The store of samples, on both databases."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, insert, select

from app.core.clock import ManualClock
from app.core.database import Database
from app.core.own_tables import metric_sample
from app.health.samples import HOURLY_DAYS, RAW_DAYS, SampleStore

EVER = datetime(2000, 1, 1, tzinfo=UTC)
SERIES = "disk.used_bytes:/数据"


@pytest.fixture
def store(database: Database, clock: ManualClock) -> SampleStore:
    return SampleStore(database=database, clock=clock)


def count(store: SampleStore) -> int:
    with store.database.read() as connection:
        return connection.execute(select(func.count()).select_from(metric_sample)).scalar_one()


def test_samples_come_back_by_series_from_an_instant_on_and_in_order(store: SampleStore, clock: ManualClock) -> None:
    now = clock.now()
    for minutes in (5, 15, 0, 10):
        store.record({SERIES: float(minutes), "other": 1.0}, now - timedelta(minutes=minutes))
    found = store.read([SERIES, "unknown"], now - timedelta(minutes=10))
    assert found == {
        SERIES: [(now - timedelta(minutes=minutes), float(minutes)) for minutes in (10, 5, 0)],
        "unknown": [],
    }


def test_a_second_value_for_the_same_second_replaces_the_first(store: SampleStore, clock: ManualClock) -> None:
    now = clock.now()
    store.record({SERIES: 1.0}, now)
    store.record({SERIES: 2.5}, now + timedelta(microseconds=999_999))
    assert store.read([SERIES], now) == {SERIES: [(now, 2.5)]}


def test_old_hours_become_their_means_and_young_ones_stay(store: SampleStore, clock: ManualClock) -> None:
    begin = clock.now()
    for minutes in range(0, 120, 20):
        store.record({SERIES: float(minutes)}, begin + timedelta(minutes=minutes))
    clock.advance(timedelta(days=RAW_DAYS, minutes=59))
    store.record({}, clock.now())
    assert len(store.read([SERIES], EVER)[SERIES]) == 6
    clock.advance(timedelta(minutes=1))
    store.record({}, clock.now())
    half = begin + timedelta(minutes=30)
    young = [(begin + timedelta(minutes=minutes), float(minutes)) for minutes in (60, 80, 100)]
    assert store.read([SERIES], EVER)[SERIES] == [(half, 20.0), *young]


def test_a_mean_stays_what_it_is_however_often_samples_are_pruned(store: SampleStore, clock: ManualClock) -> None:
    store.record({SERIES: 7.0}, clock.now())
    clock.advance(timedelta(days=RAW_DAYS + 1))
    for _ in range(3):
        store.record({}, clock.now())
        clock.advance(timedelta(hours=1))
    assert [value for _, value in store.read([SERIES], EVER)[SERIES]] == [7.0]


def test_means_go_after_ninety_days(store: SampleStore, clock: ManualClock) -> None:
    store.record({SERIES: 7.0}, clock.now())
    clock.advance(timedelta(days=HOURLY_DAYS))
    store.record({}, clock.now())
    assert count(store) == 1
    clock.advance(timedelta(hours=1))
    store.record({}, clock.now())
    assert count(store) == 0


def test_a_long_pause_of_the_checks_is_pruned_at_once(store: SampleStore, clock: ManualClock) -> None:
    begin = clock.now()
    rows = [
        {"series": SERIES, "at": begin + timedelta(minutes=5 * number), "value": float(number)}
        for number in range(12 * 24 * 10)
    ]
    with store.database.write() as connection:
        connection.execute(insert(metric_sample), rows)
    clock.advance(timedelta(days=30))
    store.record({SERIES: 1.0}, clock.now())
    assert count(store) == 24 * 10 + 1
    assert store.read([SERIES], EVER)[SERIES][0] == (begin + timedelta(minutes=30), 5.5)


def test_a_series_whose_name_looks_like_a_pattern_is_its_own(store: SampleStore, clock: ManualClock) -> None:
    store.record({"disk.used_bytes:/a_b%": 1.0, "disk.used_bytes:/axbc": 2.0}, clock.now())
    assert [value for _, value in store.read(["disk.used_bytes:/a_b%"], EVER)["disk.used_bytes:/a_b%"]] == [1.0]
