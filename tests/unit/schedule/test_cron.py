"""When a job is due, in its zone, over clock changes."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from app.schedule.cron import in_words, latest_due, next_due

SHANGHAI = ZoneInfo("Asia/Shanghai")
BERLIN = ZoneInfo("Europe/Berlin")


def test_two_in_the_night_is_meant_in_the_configured_zone() -> None:
    noon = datetime(2026, 3, 10, 4, 0, tzinfo=UTC)
    assert next_due("0 2 * * *", SHANGHAI, noon) == datetime(2026, 3, 10, 18, 0, tzinfo=UTC)
    assert latest_due("0 2 * * *", SHANGHAI, noon) == datetime(2026, 3, 9, 18, 0, tzinfo=UTC)


def test_the_instant_itself_is_the_latest_and_not_the_next() -> None:
    slot = datetime(2026, 3, 9, 18, 0, tzinfo=UTC)
    assert latest_due("0 2 * * *", SHANGHAI, slot) == slot
    assert latest_due("0 2 * * *", SHANGHAI, slot - timedelta(microseconds=1)) == slot - timedelta(days=1)
    assert next_due("0 2 * * *", SHANGHAI, slot) == slot + timedelta(days=1)


def test_a_time_that_does_not_exist_is_due_once_at_the_next_valid_minute() -> None:
    before = datetime(2026, 3, 28, 12, 0, tzinfo=UTC)
    first = next_due("30 2 * * *", BERLIN, before)
    assert first == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
    assert next_due("30 2 * * *", BERLIN, first) == datetime(2026, 3, 30, 0, 30, tzinfo=UTC)


def test_a_time_that_comes_twice_is_due_once() -> None:
    first = next_due("30 2 * * *", BERLIN, datetime(2026, 10, 24, 12, 0, tzinfo=UTC))
    assert next_due("30 2 * * *", BERLIN, first).astimezone(BERLIN).date().isoformat() == "2026-10-26"


def test_every_n_seconds_counts_from_the_epoch_whatever_the_zone() -> None:
    at = datetime(2026, 3, 10, 4, 0, 7, tzinfo=UTC)
    assert latest_due("@every 5s", BERLIN, at) == at - timedelta(seconds=2)
    assert next_due("@every 5s", SHANGHAI, at) == at + timedelta(seconds=3)


@pytest.mark.parametrize(("cron", "words"), [("0 2 * * *", "02:00"), ("15 * * * *", "15"), ("@every 30s", "30 s")])
def test_a_schedule_reads_as_words(cron: str, words: str) -> None:
    assert words in in_words(cron)
