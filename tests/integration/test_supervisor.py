"""The supervisor with real processes: it runs in a process of its own, so that it can be killed like any other."""

import contextlib
import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.core.errors import GengfuError
from app.service.children import Child
from app.service.process_identity import ProcessIdentity
from app.service.process_lock import ProcessLock
from app.service.supervisor import Supervisor

ROOT = Path(__file__).parents[2]
DEADLINE_S = 30.0

DRIVER = """
import json, pathlib, signal, sys
from app.core.errors import GengfuError
from app.service.children import Child
from app.service.member import Backoff
from app.service.process_lock import ProcessLock
from app.service.supervisor import Supervisor

folder, spec = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2])

def say(event, fields):
    with (folder / "events").open("a") as sink:
        sink.write(json.dumps({"event": event, **fields}, ensure_ascii=False) + "\\n")

def child(fields):
    ready = fields.pop("ready_file", None)
    if ready is not None:
        fields["ready"] = (folder / ready).exists
    fields["log_file"] = folder / (fields["name"] + ".log")
    fields["stop_signal"] = signal.Signals(fields.get("stop_signal", signal.SIGTERM))
    return Child(**fields)

lock = ProcessLock(folder / "up.lock")
lock.acquire(role="gengfu up")
supervisor = Supervisor(
    [child(fields) for fields in spec["children"]],
    say=say,
    on_change=lambda states: lock.update(children=supervisor.state()),
    backoff=Backoff(**spec["backoff"]),
)
try:
    supervisor.run()
except GengfuError as error:
    sys.exit(str(error))
"""

# Every script gets the test's folder and its own name, and notes its pid first.
PROLOGUE = """
import os, pathlib, signal, sys, time
folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]

def note(file, text):
    with (folder / file).open("a") as sink:
        sink.write(text + "\\n")

"""
POLITE = "signal.signal(signal.SIGTERM, lambda *_: (note('ended', name), os._exit(0)))\n"
STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
PLAIN = ""
FORK = """
if os.fork() == 0:
    name = name + '-pool'
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
"""
RUN = """
note('pids', f'{name} {os.getpid()}')
while True:
    signal.pause()
"""


def eventually(condition: Callable[[], Any], what: str) -> Any:
    """Return the condition's first true value; polls, with a deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited in vain for: {what}"
        time.sleep(0.02)


class Up:
    """A supervisor in a process of its own, and what it has told so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[str] | None = None

    def child(self, name: str, *script: str, **fields: Any) -> dict[str, Any]:
        code = PROLOGUE + "".join(script)
        return {"name": name, "command": [sys.executable, "-S", "-c", code, str(self.folder), name], **fields}

    def start(self, *children: dict[str, Any], first_s: float = 0.05, **popen: Any) -> "subprocess.Popen[str]":
        spec = json.dumps({"children": children, "backoff": {"first_s": first_s, "longest_s": 0.4}})
        self.process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(self.folder), spec],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
            **popen,
        )
        return self.process

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self) -> tuple[int, str]:
        assert self.process is not None
        _, told = self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode, told

    def lines(self, file: str) -> list[str]:
        path = self.folder / file
        return path.read_text().splitlines() if path.exists() else []

    def events(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        told = [json.loads(line) for line in self.lines("events")]
        return [each for each in told if each["event"] == event and fields.items() <= each.items()]

    def until(self, event: str, **fields: Any) -> dict[str, Any]:
        found: list[dict[str, Any]] = eventually(lambda: self.events(event, **fields), f"{event} {fields}")
        return found[-1]

    def pids(self, name: str) -> list[int]:
        return [int(line.split()[1]) for line in self.lines("pids") if line.split()[0] == name]

    def until_runs(self, name: str, times: int = 1) -> ProcessIdentity:
        """Wait until a script has run so often and return its present process."""
        eventually(lambda: len(self.pids(name)) >= times, f"{name} runs")
        found = ProcessIdentity.of(self.pids(name)[-1])
        assert found is not None
        return found

    def clean_up(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
        for line in self.lines("pids"):
            with contextlib.suppress(psutil.Error):
                leftover = psutil.Process(int(line.split()[1]))
                if str(self.folder) in leftover.cmdline():
                    leftover.kill()


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    harness = Up(tmp_path)
    yield harness
    harness.clean_up()


def test_children_start_in_order_and_wait_for_the_readiness_of_those_before(up: Up) -> None:
    up.start(up.child("broker", RUN, ready_file="ready"), up.child("worker", RUN))
    up.until_runs("broker")
    assert up.pids("worker") == []
    (up.folder / "ready").touch()
    up.until_runs("worker")
    order = [json.loads(line)["event"] for line in up.lines("events")]
    assert order == ["child_started", "child_ready", "child_started"]


def test_the_last_child_is_stopped_first_and_all_of_them_are_asked_politely(up: Up) -> None:
    children = [up.child(name, POLITE, RUN) for name in ("broker", "worker", "beat")]
    up.start(*children)
    for name in ("broker", "worker", "beat"):
        up.until_runs(name)
    up.signal(signal.SIGTERM)
    assert up.wait() == (0, "")
    assert up.lines("ended") == ["beat", "worker", "broker"]
    assert [each["end"] for each in up.events("child_stopped")] == ["exit code 0"] * 3
    assert not up.events("child_killed")


def test_a_killed_child_is_started_again_and_the_signal_is_told(up: Up) -> None:
    up.start(up.child("worker", RUN))
    first = up.until_runs("worker")
    first.signal(signal.SIGKILL)
    second = up.until_runs("worker", times=2)
    assert second != first
    assert up.until("child_died")["end"] == "signal SIGKILL"
    assert up.until("child_died")["restart_in_s"] == 0.05


def test_a_child_that_keeps_dying_is_started_ever_more_slowly_and_leaves_no_zombie(up: Up) -> None:
    process = up.start(up.child("worker", "print('坏了', flush=True); sys.exit(3)"))
    eventually(lambda: len(up.events("child_died")) >= 5, "five deaths")
    deaths = up.events("child_died")[:5]
    assert [each["restart_in_s"] for each in deaths] == [0.05, 0.1, 0.2, 0.4, 0.4]
    assert {each["end"] for each in deaths} == {"exit code 3"}
    up.until("child_started", child="worker")
    running = psutil.Process(process.pid).children()
    assert len(running) <= 2  # the watchdog and the present worker, no zombies of its five forerunners
    assert up.lines("worker.log")[:5] == ["坏了"] * 5


def test_what_a_dead_child_left_in_its_group_is_ended_before_it_is_started_again(up: Up) -> None:
    up.start(up.child("worker", FORK, RUN))
    pool = up.until_runs("worker-pool")
    up.until_runs("worker").signal(signal.SIGKILL)
    up.until_runs("worker", times=2)
    assert pool.wait_gone(DEADLINE_S)


def test_a_child_that_ignores_the_stop_is_killed_with_its_group_after_its_grace(up: Up) -> None:
    up.start(up.child("worker", STUBBORN, FORK, RUN, stop_grace_s=0.3))
    worker, pool = up.until_runs("worker"), up.until_runs("worker-pool")
    up.signal(signal.SIGTERM)
    assert up.wait() == (0, "")
    assert up.until("child_killed")["after_s"] == 0.3
    assert up.until("child_stopped")["end"] == "signal SIGKILL"
    assert worker.wait_gone(DEADLINE_S)
    assert pool.wait_gone(DEADLINE_S)


def test_a_second_interrupt_ends_everything_at_once(up: Up) -> None:
    up.start(up.child("worker", STUBBORN, RUN, stop_grace_s=3600))
    up.until_runs("worker")

    def insist() -> bool:
        if not up.events("firm_stop"):
            up.signal(signal.SIGINT)
        return bool(up.events("firm_stop"))

    eventually(insist, "a firm stop")
    up.wait()
    assert up.until("firm_stop")["children"] == ["worker"]
    assert up.until("child_stopped")["end"] == "signal SIGKILL"


def test_one_interrupt_that_arrives_twice_is_one_wish(up: Up) -> None:
    slow = "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.3), note('ended', name), os._exit(0)))\n"
    up.start(up.child("worker", slow, RUN))
    up.until_runs("worker")
    up.signal(signal.SIGINT)
    up.until("stop_asked")
    up.signal(signal.SIGINT)
    assert up.wait() == (0, "")
    assert up.lines("ended") == ["worker"]
    assert not up.events("firm_stop")


def test_a_hangup_restarts_the_children_one_after_another_but_not_the_broker(up: Up) -> None:
    broker = up.child("broker", RUN, restart_on_hangup=False)
    up.start(broker, up.child("worker", POLITE, RUN), up.child("beat", POLITE, RUN))
    for name in ("broker", "worker", "beat"):
        up.until_runs(name)
    up.signal(signal.SIGHUP)
    for name in ("worker", "beat"):
        up.until_runs(name, times=2)
    assert len(up.pids("broker")) == 1
    assert up.lines("ended") == ["worker", "beat"]
    ran = [(each["event"], each.get("child")) for each in map(json.loads, up.lines("events"))][-4:]
    assert ran == [
        ("child_stopped", "worker"),
        ("child_started", "worker"),
        ("child_stopped", "beat"),
        ("child_started", "beat"),
    ]


def test_kill_9_of_the_supervisor_leaves_no_orphan(up: Up) -> None:
    process = up.start(
        up.child("broker", POLITE, RUN),
        up.child("worker", FORK, RUN),
        up.child("stuck", STUBBORN, FORK, RUN, stop_grace_s=0.3),
    )
    names = ("broker", "worker", "worker-pool", "stuck", "stuck-pool")
    everybody = [up.until_runs(name) for name in names]
    everybody += [found for each in psutil.Process(process.pid).children() if (found := ProcessIdentity.of(each.pid))]
    up.signal(signal.SIGKILL)
    up.wait()
    assert ProcessLock.read(up.folder / "up.lock") is None
    for one in everybody:
        assert one.wait_gone(DEADLINE_S), one
    assert up.lines("ended") == ["broker"]
    with ProcessLock(up.folder / "up.lock"):
        pass  # nobody inherited it


def test_a_killed_watchdog_is_replaced_and_still_knows_everybody(up: Up) -> None:
    process = up.start(up.child("worker", STUBBORN, FORK, RUN, stop_grace_s=0.1))
    worker, pool = up.until_runs("worker"), up.until_runs("worker-pool")

    def watchdogs() -> list[psutil.Process]:
        found = []
        for each in psutil.Process(process.pid).children():
            with contextlib.suppress(psutil.Error):
                if any(word.endswith("watchdog.py") for word in each.cmdline()):
                    found.append(each)
        return found

    (first,) = eventually(watchdogs, "a watchdog")
    first.kill()
    eventually(lambda: [each for each in watchdogs() if each.pid != first.pid], "another watchdog")
    up.signal(signal.SIGKILL)
    up.wait()
    assert worker.wait_gone(DEADLINE_S)
    assert pool.wait_gone(DEADLINE_S)


def test_a_missing_program_is_refused_before_anything_starts(up: Up) -> None:
    up.start(up.child("worker", RUN), {"name": "打更", "command": ["/nowhere/celery"]})
    code, told = up.wait()
    assert code == 1
    assert told == "can't start 打更: /nowhere/celery is not an executable program; install it\n"
    assert up.pids("worker") == []


def test_a_program_that_vanishes_is_tried_again_with_back_off_while_the_others_run_on(up: Up) -> None:
    program = up.folder / "worker"
    program.symlink_to(sys.executable)
    worker = up.child("worker", RUN)
    worker["command"][0] = str(program)
    up.start(worker, up.child("beat", RUN))
    first, beat = up.until_runs("worker"), up.until_runs("beat")
    program.unlink()
    first.signal(signal.SIGKILL)
    assert "No such file" in up.until("child_not_started", child="worker")["error"]
    program.symlink_to(sys.executable)
    up.until_runs("worker", times=2)
    assert beat.alive()
    assert up.events("child_not_started")[0]["retry_in_s"] == 0.1  # the second failure in a row: it was killed before


def test_a_critical_child_that_dies_at_once_ends_the_start_with_its_last_words(up: Up) -> None:
    dying = up.child("broker", "print('端口被占用', flush=True); sys.exit(1)", critical=True, ready_file="ready")
    up.start(up.child("first", POLITE, RUN), dying, up.child("worker", RUN))
    code, told = up.wait()
    assert (code, told) == (1, "broker ended with exit code 1 before it was ready; it wrote: 端口被占用\n")
    assert up.pids("worker") == []
    assert ProcessLock.read(up.folder / "up.lock") is None


def test_a_critical_child_that_is_never_ready_ends_the_start(up: Up) -> None:
    up.start(up.child("broker", RUN, critical=True, ready_file="never", ready_within_s=0.2), up.child("worker", RUN))
    code, told = up.wait()
    assert code == 1
    assert told.startswith("broker was not ready within 0.2 s; see ")
    assert up.pids("worker") == []


def test_a_critical_child_that_dies_later_is_only_started_again(up: Up) -> None:
    (up.folder / "ready").touch()
    up.start(up.child("broker", RUN, critical=True, ready_file="ready"), up.child("worker", RUN))
    worker = up.until_runs("worker")
    up.until_runs("broker").signal(signal.SIGKILL)
    up.until_runs("broker", times=2)
    assert worker.alive()


def test_other_children_that_are_never_ready_hold_up_nobody_for_ever(up: Up) -> None:
    up.start(up.child("web", RUN, ready_file="never", ready_within_s=0.2), up.child("worker", RUN))
    up.until_runs("worker")
    assert len(up.events("child_not_ready", child="web")) == 1


def test_the_owner_learns_pids_restarts_and_ends(up: Up) -> None:
    up.start(up.child("worker", RUN))
    up.until_runs("worker").signal(signal.SIGKILL)
    second = up.until_runs("worker", times=2)

    def told() -> Any:
        holder = ProcessLock.read(up.folder / "up.lock")
        (state,) = holder.facts.get("children", []) if holder else [{}]
        return state if state.get("pid") == second.pid else None

    state = eventually(told, "the second pid in the lock file")
    assert (state["name"], state["phase"], state["restarts"]) == ("worker", "running", 1)
    assert state["last_end"] == "signal SIGKILL"


def test_a_terminal_that_goes_away_stops_everything(up: Up) -> None:
    master, slave = pty.openpty()
    up.start(
        up.child("worker", POLITE, RUN),
        stdin=slave,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(slave)
    up.until_runs("worker")
    os.close(master)
    assert up.wait()[0] == 0
    assert up.lines("ended") == ["worker"]


def test_a_full_disk_under_the_log_does_not_stop_supervision(tmp_path: Path) -> None:
    told: list[str] = []

    def say(event: str, _fields: object) -> None:
        told.append(event)
        if event == "child_started":
            os.kill(os.getpid(), signal.SIGTERM)
        raise OSError(28, "No space left on device")

    def on_change(_states: object) -> None:
        raise GengfuError("can't write")

    child = Child(name="worker", command=[sys.executable, "-S", "-c", RUN_ONLY], log_file=tmp_path / "log")
    Supervisor([child], say=say, on_change=on_change).run()
    assert told == ["child_started", "stop_asked", "child_stopped"]


RUN_ONLY = "import signal; signal.pause()"


def test_an_error_of_our_own_leaves_nobody_behind(tmp_path: Path) -> None:
    def broken() -> bool:
        raise RuntimeError("更")

    child = Child(name="x", command=[sys.executable, "-S", "-c", RUN_ONLY], log_file=tmp_path / "log", ready=broken)
    supervisor = Supervisor([child], say=lambda _event, _fields: None)
    before = set(psutil.Process().children())
    with pytest.raises(RuntimeError):
        supervisor.run()
    assert supervisor.state()[0]["pid"] is None
    assert set(psutil.Process().children()) <= before
