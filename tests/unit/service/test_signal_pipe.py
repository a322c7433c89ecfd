import os
import signal

import pytest

from app.service.signal_pipe import SignalPipe


def test_signals_arrive_as_numbers_in_order() -> None:
    with SignalPipe([signal.SIGUSR1, signal.SIGUSR2]) as pipe:
        os.kill(os.getpid(), signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGUSR1)
        came: list[int] = []
        while len(came) < 2:
            came += pipe.wait(5)
    assert came == [signal.SIGUSR2, signal.SIGUSR1]


def test_nothing_comes_when_nothing_was_sent() -> None:
    with SignalPipe([signal.SIGUSR1]) as pipe:
        assert pipe.wait(0) == []
        assert pipe.wait(-1) == []


def test_the_old_handlers_are_back_afterwards_even_after_an_error() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(RuntimeError), SignalPipe([signal.SIGINT]):
        assert signal.getsignal(signal.SIGINT) is not before
        raise RuntimeError
    assert signal.getsignal(signal.SIGINT) is before
    assert signal.set_wakeup_fd(-1) == -1


def test_a_hangup_ignored_by_nohup_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with SignalPipe([signal.SIGHUP], keep_ignored=[signal.SIGHUP]) as pipe:
            os.kill(os.getpid(), signal.SIGHUP)
            assert pipe.wait(0) == []
        with SignalPipe([signal.SIGHUP]) as pipe:
            os.kill(os.getpid(), signal.SIGHUP)
            assert pipe.wait(5) == [signal.SIGHUP]
    finally:
        signal.signal(signal.SIGHUP, before)
