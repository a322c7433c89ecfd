import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from app.service.process_identity import ProcessIdentity


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as process:
        yield process
        process.kill()


def identity(process: "subprocess.Popen[bytes]") -> ProcessIdentity:
    found = ProcessIdentity.of(process.pid)
    assert found is not None
    return found


def test_a_live_process_is_known_by_pid_and_start(sleeper: "subprocess.Popen[bytes]") -> None:
    assert identity(sleeper).alive()
    assert identity(sleeper) == identity(sleeper)


def test_another_start_time_is_another_process_and_gets_no_signal(sleeper: "subprocess.Popen[bytes]") -> None:
    impostor = ProcessIdentity(pid=sleeper.pid, started=identity(sleeper).started + 1)
    assert not impostor.alive()
    assert not impostor.signal(signal.SIGKILL)
    assert impostor.wait_gone(0)
    assert sleeper.poll() is None


def test_a_zombie_is_gone(sleeper: "subprocess.Popen[bytes]") -> None:
    known = identity(sleeper)
    assert known.signal(signal.SIGTERM)
    assert known.wait_gone(10)
    assert not known.alive()
    assert not known.signal(signal.SIGTERM)
    assert ProcessIdentity.of(sleeper.pid) is None


def test_waiting_for_a_live_process_gives_up_in_time(sleeper: "subprocess.Popen[bytes]") -> None:
    assert not identity(sleeper).wait_gone(0.05)


def test_without_pidfd_everything_still_works(
    sleeper: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    known = identity(sleeper)
    assert not known.wait_gone(0.05)
    assert known.signal(signal.SIGTERM)
    assert known.wait_gone(10)
    assert not known.signal(signal.SIGTERM)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells start times by /proc")
def test_a_process_name_with_brackets_and_blanks_does_not_confuse() -> None:
    script = "import signal; open('/proc/self/comm', 'w').write('a) Z 1 (b'); print(flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert identity(process).alive()
        process.kill()


def test_a_pid_that_nobody_has_is_nobody() -> None:
    assert ProcessIdentity.of(2**22 + 1) is None
