"""Where the embedded broker listens, and whether somebody answers there; light enough for every command."""

import hashlib
import os
import socket
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

SOCKET_NAME = "broker.sock"
# sun_path without its closing NUL: 108 bytes on Linux, 104 on macOS and the BSDs.
_LONGEST_SOCKET_PATH = 107 if sys.platform == "linux" else 103
_PING = b"*1\r\n$4\r\nPING\r\n"


def broker_folder(var: Path) -> Path:
    """Return the folder that holds the broker's data, configuration and lock."""
    return var.resolve() / "broker"


def socket_path(var: Path) -> Path:
    """Return the absolute path of the broker's unix socket.

    It lies below `var`, or in a folder of its own below the temporary folder where that would be too long.
    Every process with the same `var`, user and TMPDIR gets the same answer.
    """
    usual = broker_folder(var) / SOCKET_NAME
    if _fits(usual):
        return usual
    folder = f"gengfu-{os.getuid()}-{hashlib.sha256(os.fsencode(usual)).hexdigest()[:12]}"
    short = Path(tempfile.gettempdir()).resolve() / folder / SOCKET_NAME
    return short if _fits(short) else Path("/tmp") / folder / SOCKET_NAME  # noqa: S108 - the server's folder check refuses a foreign one


def broker_url(var: Path) -> str:
    """Return the address of the embedded broker as Celery takes it."""
    return f"redis+socket://{quote(os.fsencode(socket_path(var)))}?virtual_host=0"


def listens(path: Path) -> bool:
    """Say whether a process listens on this unix socket, even one that no longer answers."""
    try:
        with _connected(path, timeout_s=1.0):
            return True
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        return False
    except OSError:
        return path.is_socket()  # a full queue of connections means that somebody is there


def answers_ping(path: Path, timeout_s: float = 1.0) -> bool:
    """Say whether a server answers PING on this unix socket: False while it loads, hangs or is not there."""
    # By hand: importing redis-py takes 250 ms, and commands like `status` ask this each time.
    try:
        return command(path, _PING, timeout_s).startswith(b"+PONG")
    except OSError:
        return False


def command(path: Path, request: bytes, timeout_s: float = 1.0) -> bytes:
    """Send one encoded request and return the first piece of the reply, 64 KiB at most. Raises OSError."""
    with _connected(path, timeout_s) as connection:
        connection.sendall(request)
        return connection.recv(65536)


def _connected(path: Path, timeout_s: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_s)
        connection.connect(str(path))
    except BaseException:
        connection.close()
        raise
    return connection


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH
