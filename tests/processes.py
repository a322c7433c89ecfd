"""Real processes for tests: started with a clean environment, awaited on conditions, stopped by their own handle."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from app.service.embedded_broker import find_server

PROJECT = Path(__file__).resolve().parent.parent
_DEADLINE_S = 90.0


def environment(home: Path, **more: str) -> dict[str, str]:
    """The environment of a user with nothing set but GENGFU_HOME and `more`."""
    dropped = ("GENGFU_", "MONITORING_", "ALERT_", "CELERY_", "TEST_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(dropped) and k not in {"DATABASE_URL", "REDIS_URL"}}
    return {**kept, "GENGFU_HOME": str(home), "PYTHONPATH": str(PROJECT), "COLUMNS": "80", **more}


def run(*command: str, env: Mapping[str, str], timeout: float = 120.0) -> "subprocess.CompletedProcess[str]":
    """Run a command in the checkout, as a user would, and return what it printed."""
    line = [sys.executable, *command]
    return subprocess.run(
        line, cwd=PROJECT, env=dict(env), capture_output=True, text=True, timeout=timeout, check=False
    )


@contextmanager
def started(
    *command: str, env: Mapping[str, str], log: Path, program: str = sys.executable
) -> "Iterator[subprocess.Popen[bytes]]":
    """A process for the time of the block; at its end it and all it started are gone."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as sink:
        process = subprocess.Popen(
            [program, *command], cwd=PROJECT, env=dict(env), stdout=sink, stderr=sink, start_new_session=True
        )
    try:
        yield process
    finally:
        family = _family(process.pid)
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for each in family:
            _end(each)


def wait_until(condition: Callable[[], object], what: str, *, within_s: float = _DEADLINE_S) -> None:
    """Wait until `condition` is true; fail telling `what` was awaited."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {what}")
        time.sleep(0.05)


@contextmanager
def valkey(folder: Path, port: int) -> "Iterator[subprocess.Popen[bytes]]":
    """A Valkey on a loopback port with an append-only file in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    options = f"--port {port} --bind 127.0.0.1 --dir {folder} --appendonly yes --save".split()
    program = str(find_server().path)
    with started(*options, "", env=dict(os.environ), log=folder / "valkey.log", program=program) as server:
        wait_until(lambda: answers(port), "valkey answers")
        yield server


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def _family(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _end(process: psutil.Process) -> None:
    try:
        process.wait(10)
    except psutil.NoSuchProcess:
        return
    except psutil.TimeoutExpired:
        process.kill()
