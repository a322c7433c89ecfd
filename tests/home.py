"""One GENGFU_HOME of a test with its own broker, and the real beats and workers that run on it."""

import os
import signal
import sqlite3
import subprocess
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from processes import environment, free_port, started, valkey

_QUEUES = "receipt,file,high_priority,low_priority"
_LONG_AGO = "2000-01-01 00:00:00"


@dataclass(frozen=True, kw_only=True)
class Line:
    """What a job of tests/faults/counted_jobs.py wrote when it had `begun` and when it was `done`."""

    what: str
    job: str
    slot: str
    pid: int


@dataclass(kw_only=True)
class Home:
    """A home on SQLite; what it starts ends with `stack`."""

    folder: Path
    stack: ExitStack
    port: int = field(default_factory=free_port)
    """Where beats and workers look for the broker."""
    celery_app: str = "tasks"
    more: dict[str, str] = field(default_factory=dict)
    """Environment of beats and workers."""
    processes: "list[subprocess.Popen[bytes]]" = field(default_factory=list)
    _broker: "subprocess.Popen[bytes] | None" = None

    def configure(self, toml: str) -> None:
        (self.folder / "config").mkdir()
        (self.folder / "config" / "settings.toml").write_text(toml)

    @property
    def env(self) -> dict[str, str]:
        return environment(
            self.folder / "home",
            GENGFU_CONFIG=str(self.folder / "config"),
            CELERY_BROKER_URL=f"redis://127.0.0.1:{self.port}/0",
            **self.more,
        )

    def broker(self, port: int | None = None) -> None:
        """Start the broker, with all that it held before."""
        self._broker = self.stack.enter_context(valkey(self.folder / "valkey", port or self.port))

    def stop_broker(self) -> None:
        """Kill the broker; it comes back with `broker`."""
        assert self._broker is not None
        self._broker.kill()
        self._broker.wait()

    def worker(self, name: str = "worker", *, children: int = 1) -> "subprocess.Popen[bytes]":
        return self._celery("worker", "-Q", _QUEUES, "-c", str(children), "-n", f"{name}@%h", log=name)

    def beat(self, name: str = "beat") -> "subprocess.Popen[bytes]":
        return self._celery("beat", log=name)

    def log(self, name: str) -> str:
        """What stands in a file of the home's log folder."""
        file = self.folder / "home" / "logs" / name
        return file.read_text() if file.exists() else ""

    def rows(self, query: str, *values: object) -> list[tuple[object, ...]]:
        """What a statement returns; nothing where the home has no database or table yet."""
        file = self.folder / "home" / "var" / "gengfu.db"
        if not file.exists():
            return []
        with closing(sqlite3.connect(file, timeout=20)) as database, database:
            try:
                return database.execute(query, values).fetchall()
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):
                    return []
                raise

    def number(self, query: str, *values: object) -> int:
        """The first value of the first row; 0 where there is none."""
        found = self.rows(query, *values)
        return int(str(found[0][0])) if found else 0

    def leader(self) -> int:
        """The process that holds the lease, or held it last."""
        return self.number("SELECT pid FROM gengfu_lease WHERE name = 'beat'")

    def term(self) -> int:
        return self.number("SELECT term FROM gengfu_lease WHERE name = 'beat'")

    def plan(self, job: str, due: str = "now") -> None:
        """Enter a slot as a beat does; `due` is SQLite's way to name a time."""
        self.rows(
            "INSERT INTO gengfu_slot (job, due_at, state, attempt, term, planned_at) "
            "VALUES (?, datetime(?), 'planned', 0, 0, datetime('now'))",
            *(job, due),
        )

    def slots(self, job: str) -> list[tuple[object, ...]]:
        """State and term of each slot that was due, oldest first."""
        return self.rows(
            "SELECT state, term FROM gengfu_slot WHERE job = ? AND due_at <= datetime('now') ORDER BY due_at", job
        )

    def effects(self) -> list[Line]:
        """What the counted jobs wrote, in the order in which they did."""
        file = self.folder / "effects"
        found = [text.split("\t") for text in file.read_text().splitlines()] if file.exists() else []
        return [Line(what=what, job=job, slot=slot, pid=int(pid)) for what, job, slot, pid, _ in found]

    def let_leases_of_the_dead_end(self) -> None:
        """Let the time pass for which processes that are gone still hold slots, jobs and the leadership."""
        for job, due, owner in self.rows("SELECT job, due_at, owner FROM gengfu_slot WHERE state = 'running'"):
            if not psutil.pid_exists(owner_pid(str(owner))):
                self.rows(
                    "UPDATE gengfu_slot SET lease_until = ? WHERE job = ? AND due_at = ? AND owner = ?",
                    *(_LONG_AGO, job, due, owner),
                )
        for name, owner, pid in self.rows("SELECT name, owner, pid FROM gengfu_lease WHERE until > ?", _LONG_AGO):
            if not psutil.pid_exists(int(str(pid))):
                self.rows("UPDATE gengfu_lease SET until = ? WHERE name = ? AND owner = ?", _LONG_AGO, name, owner)

    def end(self) -> None:
        """Kill beats and workers: what they would do at their leisure is not waited for."""
        for process in self.processes:
            if process.poll() is None:
                kill_family(process.pid)

    def _celery(self, *command: str, log: str) -> "subprocess.Popen[bytes]":
        line = ("-m", "celery", "-A", self.celery_app, *command)
        process = self.stack.enter_context(started(*line, env=self.env, log=self.folder / f"{log}.out"))
        self.processes.append(process)
        return process


def owner_pid(owner: str) -> int:
    """The process that an owner's name in the ledger ends with: `worker@host/PID#...`."""
    return int(owner.rpartition("/")[2].partition("#")[0])


def kill_family(pid: int) -> list[int]:
    """Kill a process and all below it as the kernel does when memory runs out: nobody gets to say a word."""
    first = psutil.Process(pid)
    family = [first, *first.children(recursive=True)]
    for process in family:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    psutil.wait_procs(family, timeout=10)
    return [process.pid for process in family]
