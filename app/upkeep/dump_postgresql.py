"""Copy a PostgreSQL database with its own `pg_dump`."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from psycopg2.extensions import make_dsn
from sqlalchemy import make_url, text

from app.core.database import Database
from app.core.redaction import redact
from app.upkeep.dump import BackupFailed

_LOCK_WAIT = "--lock-wait-timeout=30s"
_QUICK_S = 60
_SECRET = frozenset({"password", "sslpassword"})
# The first minor releases without CVE-2025-8714 and 8715: a dump could run code when it was restored.
_SAFE_MINOR = {13: 22, 14: 19, 15: 14, 16: 10, 17: 6}
_VERSION = re.compile(r"\(PostgreSQL\)\D*(\d+)(?:\.(\d+))?")


def dump(database: Database, target: Path, timeout_s: int) -> list[str]:
    """Dump the database into `target` in custom format, check the dump, return warnings. Raises BackupFailed."""
    pg_dump, pg_restore = _tool("pg_dump"), _tool("pg_restore")
    warnings = _version_warnings(pg_dump, _server_major(database))
    _, address = database.engine.dialect.create_connect_args(make_url(database.url))
    arguments = [pg_dump, "-w", "-Fc", _LOCK_WAIT, f"--dbname={_connection_string(address)}"]
    with _password_file(address.get("password")) as environment, target.open("wb") as output:
        _run(arguments, timeout_s, stdout=output, env=environment)
    _run([pg_restore, "--list", str(target)], timeout_s)
    return warnings


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise BackupFailed(f"there is no {name} on the PATH; install PostgreSQL's client programs")
    return path


def _server_major(database: Database) -> int:
    with database.read() as connection:
        return int(connection.execute(text("SHOW server_version_num")).scalar_one()) // 10000


def _version_warnings(pg_dump: str, server_major: int) -> list[str]:
    """Return what speaks against this pg_dump. Raises BackupFailed where it is older than the server."""
    told = _run([pg_dump, "--version"], _QUICK_S).strip()
    found = _VERSION.search(told)
    if found is None:
        raise BackupFailed(f"{pg_dump} does not tell its version but {told[:100]!r}; is it PostgreSQL's?")
    major, minor = int(found[1]), int(found[2] or 0)
    if major < server_major:
        raise BackupFailed(
            f"{pg_dump} is version {major}, the server {server_major}; put the client programs of version "
            f"{server_major} first on the PATH"
        )
    if minor < _SAFE_MINOR.get(major, 0):
        return [f"{pg_dump} {major}.{minor} has known security holes; update to {major}.{_SAFE_MINOR[major]} or later"]
    return []


def _connection_string(address: Mapping[str, Any]) -> str:
    """Return what libpq needs to connect, without the password: everybody on the machine may read a command line."""
    shown = {key: value for key, value in address.items() if key not in _SECRET}
    return make_dsn(**({"connect_timeout": 10} | shown))


@contextmanager
def _password_file(password: str | None) -> Iterator[dict[str, str]]:
    """Give an environment whose PGPASSFILE, readable by us alone, holds the password; it is gone afterwards."""
    environment = dict(os.environ)
    if password is None:
        yield environment
        return
    if re.search(r"[\r\n\0]", password):
        raise BackupFailed(
            "the database password holds a line break, which PostgreSQL's password file can't; change it"
        )
    with tempfile.NamedTemporaryFile("w", prefix="gengfu-", encoding="utf-8") as file:
        escaped = password.replace("\\", "\\\\").replace(":", "\\:")
        file.write(f"*:*:*:*:{escaped}\n")
        file.flush()
        yield environment | {"PGPASSFILE": file.name}


def _run(arguments: list[str], timeout_s: int, **options: Any) -> str:
    """Run a client program and return its output. Raises BackupFailed with the line that says why."""
    name = Path(arguments[0]).name
    given: dict[str, Any] = {"stdout": subprocess.PIPE} | options
    try:
        done = subprocess.run(
            arguments,
            check=False,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=timeout_s,
            umask=0o077,
            **given,
        )
    except subprocess.TimeoutExpired as error:
        raise BackupFailed(f"{name} did not end within {timeout_s} s; raise [upkeep] backup_timeout_s") from error
    if done.returncode:
        raise BackupFailed(f"{name} failed: {_complaint(done.stderr) or f'exit {done.returncode}'}")
    return (done.stdout or b"").decode("utf-8", "replace")


def _complaint(stderr: bytes) -> str:
    lines = stderr.decode("utf-8", "replace").strip().splitlines()
    errors = [line for line in lines if "error:" in line] or lines[-1:]
    return redact(errors[0][:500]) if errors else ""
