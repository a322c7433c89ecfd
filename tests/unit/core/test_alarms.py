"""Alarms ring once their time is over, and never after their block."""

import threading
import time

import pytest

from app.core.alarms import alarm

_LONG_S = 60.0


def test_an_alarm_rings_once_while_the_block_goes_on() -> None:
    rung = threading.Event()
    with alarm(0.01, rung.set):
        assert rung.wait(_LONG_S)


def test_an_earlier_alarm_that_is_set_later_rings_in_time_and_leaves_the_others_alone() -> None:
    rung, others = threading.Event(), threading.Event()
    with alarm(_LONG_S * 10, others.set):
        with alarm(0.01, rung.set):
            assert rung.wait(_LONG_S)
        again = threading.Event()
        with alarm(0.01, again.set):
            assert again.wait(_LONG_S)
        assert not others.is_set()


def test_an_alarm_never_rings_once_its_block_has_ended() -> None:
    early, later = threading.Event(), threading.Event()
    with alarm(0.05, later.set):
        with pytest.raises(ZeroDivisionError), alarm(0.02, early.set):
            raise ZeroDivisionError
        assert later.wait(_LONG_S)
    assert not early.is_set()


def test_a_block_that_ends_while_its_alarm_rings_waits_for_it() -> None:
    begun, ended = threading.Event(), threading.Event()

    def ring() -> None:
        begun.set()
        time.sleep(0.05)  # rings for longer than the block takes to end
        ended.set()

    with alarm(0.0, ring):
        assert begun.wait(_LONG_S)
    assert ended.is_set()
