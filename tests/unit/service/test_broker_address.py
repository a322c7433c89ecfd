import os
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from kombu import Connection
from kombu.utils.url import url_to_parts

from app.service import broker_address
from app.service.broker_address import answers_ping, broker_url, listens, socket_path

LONGEST = 107 if sys.platform == "linux" else 103


def var_with_socket_path_of(length: int) -> Path:
    """Return a folder name (nothing is created) whose broker socket path has `length` bytes."""
    return Path("/nowhere-" + "x" * (length - len("/nowhere-/broker/broker.sock")))


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder short enough for sockets, wherever pytest puts its own."""
    with tempfile.TemporaryDirectory(prefix="gf") as folder:
        yield Path(folder).resolve()


def test_the_longest_path_that_fits_stays_below_var() -> None:
    var = var_with_socket_path_of(LONGEST)
    assert socket_path(var) == var / "broker" / "broker.sock"
    assert len(os.fsencode(socket_path(var))) == LONGEST


def test_one_byte_more_moves_to_the_temporary_folder() -> None:
    found = socket_path(var_with_socket_path_of(LONGEST + 1))
    assert found.name == "broker.sock"
    assert found.parent.name.startswith(f"gengfu-{os.getuid()}-")
    assert len(os.fsencode(found)) <= LONGEST


def test_bytes_count_not_characters() -> None:
    assert socket_path(Path("/" + "更" * 25)).is_relative_to("/" + "更" * 25)
    assert not socket_path(Path("/" + "更" * 40)).is_relative_to("/" + "更" * 40)


def test_two_homes_never_share_a_temporary_folder() -> None:
    one = socket_path(Path("/" + "a" * 200))
    two = socket_path(Path("/" + "b" * 200))
    assert one != two
    assert one == socket_path(Path("/" + "a" * 200))


def test_a_temporary_folder_that_is_too_long_itself_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/tmp/" + "t" * 100)  # noqa: S108 - a name only
    assert len(os.fsencode(socket_path(Path("/" + "a" * 200)))) <= LONGEST


@pytest.mark.parametrize("name", ["plain", "夜 更", "a%20b", "a?b#c", "ab:c@d", "a+b&c=d"])
def test_celery_reads_the_same_path_out_of_the_url(name: str) -> None:
    var = Path("/srv") / name
    # kombu parses twice: the transport's name first, the rest when it connects.
    parts = url_to_parts(Connection(broker_url(var)).hostname)
    assert parts.scheme == "socket"
    assert f"/{parts.path}" == str(socket_path(var))
    assert parts.query == {"virtual_host": "0"}


def serve_once(path: Path, reply: bytes) -> threading.Thread:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def run() -> None:
        with listener:
            connection, _ = listener.accept()
            with connection:
                connection.recv(64)
                connection.sendall(reply)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize(("reply", "expected"), [(b"+PONG\r\n", True), (b"-LOADING\r\n", False), (b"", False)])
def test_only_a_pong_is_an_answer(short_folder: Path, reply: bytes, *, expected: bool) -> None:
    path = short_folder / "s"
    thread = serve_once(path, reply)
    assert answers_ping(path) is expected
    thread.join()


def test_a_server_that_never_answers_listens_but_is_not_alive(short_folder: Path) -> None:
    path = short_folder / "s"
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(path))
        hung.listen()
        assert listens(path)
        assert not answers_ping(path, timeout_s=0.05)


def test_a_socket_file_without_a_server_is_stale(short_folder: Path) -> None:
    path = short_folder / "s"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))
    assert path.is_socket()
    assert not listens(path)
    assert not answers_ping(path)


def test_no_file_no_server(short_folder: Path) -> None:
    assert not listens(short_folder / "s")
    assert not listens(short_folder / "nothing" / "s")
    assert not answers_ping(short_folder / "s")


def test_the_address_needs_no_redis_client() -> None:
    source = Path(broker_address.__file__).read_text()
    assert "import redis" not in source
