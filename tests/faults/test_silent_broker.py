"""A network that falls silent, breaks, forgets or crawls in front of the broker: beat and worker go on alone."""

from collections import Counter
from collections.abc import Iterator

import pytest
from home import Home
from network import Proxy, proxied, tcp
from processes import free_port, wait_until

_JOB = "count-0"
_BEHIND = 2
"""So many slots fall due while the network is down: then beat has met it, too."""


@pytest.fixture
def proxy(counted: Home) -> Iterator[Proxy]:
    """Stands between the home and its broker."""
    port = free_port()
    counted.broker(port)
    with proxied(tcp(port)) as made:
        counted.port = made.port
        # Half-open connections are given up after this, and asked for as often.
        counted.more |= {"CRON": "@every 1s", "GENGFU_BROKER__SOCKET_TIMEOUT_S": "2"}
        yield made


def test_a_worker_and_a_beat_go_on_after_whatever_their_network_did(counted: Home, proxy: Proxy) -> None:
    worker, beat = counted.worker(), counted.beat()
    _more_done(counted, 1, "before anything happened")
    for break_it in (Proxy.silence, Proxy.reset, Proxy.hang_up):
        break_it(proxy)
        goal = _late(counted) + _BEHIND
        wait_until(lambda goal=goal: _late(counted) >= goal, f"slots wait, {break_it.__name__}")
        proxy.resume()
        wait_until(lambda: _late(counted) <= 1, f"what waited is run, {break_it.__name__}")
    proxy.forget()
    _more_done(counted, _BEHIND, "forgotten connections are given up")
    proxy.delay_s = 0.1
    _more_done(counted, _BEHIND, "slow is not broken")
    assert (worker.poll(), beat.poll()) == (None, None)
    assert set(Counter((line.what, line.slot) for line in counted.effects()).values()) == {1}
    states = counted.slots(_JOB)
    assert {state for state, _ in states} <= {"succeeded", "planned", "sent", "running"}


def _more_done(home: Home, slots: int, why: str) -> None:
    goal = len(home.effects()) + 2 * slots
    wait_until(lambda: len(home.effects()) >= goal, why)


def _late(home: Home) -> int:
    return sum(state in {"planned", "sent", "running"} for state, _ in home.slots(_JOB))


pytestmark = pytest.mark.slow
