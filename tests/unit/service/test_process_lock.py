import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.core.clock import ManualClock
from app.core.errors import GengfuError, Locked, OutputUnwritable
from app.service.process_identity import ProcessIdentity
from app.service.process_lock import ProcessLock

HOLDER = """
import os, sys, pathlib
from app.service.process_lock import ProcessLock
lock = ProcessLock(pathlib.Path(sys.argv[1]))
lock.acquire(role="beat", 备注="更夫")
print("held", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "var" / "beat.lock"


@pytest.fixture
def holder(path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the lock until its stdin closes."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_free_lock_is_taken_and_tells_who_holds_it(path: Path) -> None:
    now = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
    lock = ProcessLock(path, ManualClock(now))
    lock.acquire(role="beat", port=5555)
    found = ProcessLock.read(path)
    assert found is not None
    assert (found.pid, found.since, found.host) == (os.getpid(), now, socket.gethostname())
    assert found.facts["role"] == "beat"
    assert found.facts["port"] == 5555
    assert sys.executable in found.facts["command"] or "python" in found.facts["command"]
    lock.release()


def test_nobody_holds_a_lock_that_was_never_taken(path: Path) -> None:
    assert ProcessLock.read(path) is None
    assert not path.exists()


def test_a_released_lock_has_no_holder_although_the_file_stays(path: Path) -> None:
    with ProcessLock(path):
        pass
    assert path.exists()
    assert ProcessLock.read(path) is None


def test_the_second_one_is_told_who_was_first_and_since_when(path: Path, holder: "subprocess.Popen[str]") -> None:
    with pytest.raises(Locked, match=rf"beat already runs as process {holder.pid} on \S+ since \d{{4}}-"):
        ProcessLock(path).acquire()


def test_two_locks_of_one_process_exclude_each_other(path: Path) -> None:
    with ProcessLock(path), pytest.raises(Locked, match=str(os.getpid())):
        ProcessLock(path).acquire()


def test_acquiring_twice_with_one_object_is_refused_and_keeps_the_lock(path: Path) -> None:
    with ProcessLock(path) as lock:
        with pytest.raises(Locked, match="release it first"):
            lock.acquire()
        assert ProcessLock.read(path) is not None


def test_facts_of_another_process_survive_chinese(path: Path, holder: "subprocess.Popen[str]") -> None:
    found = ProcessLock.read(path)
    assert found is not None
    assert found.pid == holder.pid
    assert found.facts["备注"] == "更夫"


def test_kill_9_frees_the_lock(path: Path, holder: "subprocess.Popen[str]") -> None:
    found = ProcessLock.read(path)
    assert found is not None
    assert found.signal(signal.SIGKILL)
    assert found.wait_gone(10)
    assert ProcessLock.read(path) is None
    ProcessLock(path).acquire()
    assert holder.wait() == -signal.SIGKILL


def test_a_file_that_names_a_live_process_is_not_believed_without_the_lock(path: Path) -> None:
    with ProcessLock(path):
        content = path.read_bytes()
    path.write_bytes(content)
    assert ProcessLock.read(path) is None


def test_a_reused_pid_is_not_believed_although_the_lock_is_taken(path: Path) -> None:
    with ProcessLock(path) as lock:
        mine = ProcessIdentity.of(os.getpid())
        assert mine is not None
        lock.update(start_time=mine.started - 1)
        assert ProcessLock.read(path) is None
        lock.update(start_time=mine.started)
        assert ProcessLock.read(path) is not None


def test_a_lock_held_by_nobody_who_can_be_named_is_still_respected(path: Path) -> None:
    with ProcessLock(path) as lock:
        lock.update(pid=2**22 + 1)
        with pytest.raises(Locked, match="does not say who it is"):
            ProcessLock(path).acquire()


def test_a_holder_on_another_host_is_believed_but_not_signalled(path: Path) -> None:
    with ProcessLock(path) as lock:
        lock.update(host="夜更-2", start_time=1.0)
        found = ProcessLock.read(path)
        assert found is not None
        with pytest.raises(GengfuError, match="runs on 夜更-2"):
            found.signal(signal.SIGTERM)
        with pytest.raises(GengfuError, match="runs on 夜更-2"):
            found.wait_gone(0)


@pytest.mark.parametrize("content", [b"", b"123", b"\xff\xfe", b"[]", b'{"pid": 1}'])
def test_rubbish_in_the_file_is_replaced(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    assert ProcessLock.read(path) is None
    with ProcessLock(path):
        assert ProcessLock.read(path) is not None


def test_heartbeats_replace_their_field_and_keep_the_others(path: Path) -> None:
    with ProcessLock(path) as lock:
        lock.update(last_tick="2026-03-01T02:00:00+00:00", note="长" * 2000)
        lock.update(last_tick="2026-03-01T02:00:05+00:00", note="短")
        found = ProcessLock.read(path)
        assert found is not None
        assert found.facts["last_tick"] == "2026-03-01T02:00:05+00:00"
        assert found.facts["note"] == "短"
        assert found.facts["role"] == "beat"


def test_facts_of_a_lock_that_is_not_held_are_refused(path: Path) -> None:
    with pytest.raises(Locked, match="acquire it"):
        ProcessLock(path).update(last_tick=1)


def test_a_reader_never_sees_a_half_written_heartbeat(path: Path) -> None:
    with ProcessLock(path) as lock:
        done = threading.Event()

        def beat() -> None:
            count = 0
            while not done.is_set():
                count += 1
                lock.update(first=count, filler="更" * (count % 700), last=count)

        writer = threading.Thread(target=beat)
        lock.update(first=0, last=0)
        writer.start()
        try:
            for _ in range(2000):
                found = ProcessLock.read(path)
                assert found is not None
                assert found.facts["first"] == found.facts["last"]
        finally:
            done.set()
            writer.join()


def test_readers_never_make_a_free_lock_look_taken(path: Path) -> None:
    with ProcessLock(path):
        pass
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            ProcessLock.read(path)

    readers = [threading.Thread(target=look) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(300):
            with ProcessLock(path):
                pass
    finally:
        done.set()
        for reader in readers:
            reader.join()


def test_a_lock_file_deleted_under_its_holder_does_not_lock_the_next_file(path: Path) -> None:
    with ProcessLock(path):
        path.unlink()
        with ProcessLock(path):
            assert ProcessLock.read(path) is not None


def test_children_do_not_inherit_the_lock(path: Path) -> None:
    lock = ProcessLock(path)
    lock.acquire()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False) as child:
        lock.release()
        assert child.poll() is None
        ProcessLock(path).acquire()


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("a file where a folder should be")
    with pytest.raises(OutputUnwritable, match=r"can't write .*beat\.lock"):
        ProcessLock(tmp_path / "var" / "beat.lock").acquire()


def test_a_lock_file_that_is_a_link_is_refused(tmp_path: Path, path: Path) -> None:
    path.parent.mkdir()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputUnwritable):
        ProcessLock(path).acquire()
    assert not (tmp_path / "elsewhere").exists()


def test_the_content_is_one_json_object(path: Path) -> None:
    with ProcessLock(path) as lock:
        lock.update(last_tick="now")
        facts = json.loads(path.read_text())
    assert {"pid", "start_time", "host", "since", "command", "role", "last_tick"} <= set(facts)
    assert datetime.fromisoformat(facts["since"]).utcoffset() == timedelta(0)
