"""The command lines of worker and beat, for `gengfu up` and the beat manager alike."""

import os
import sys
from pathlib import Path

from app.service.settings import WorkerPool

_PROJECT = Path(__file__).resolve().parent.parent.parent
_CELERY = (sys.executable, "-m", "celery", "-A", "tasks")


def worker_command(pool: WorkerPool, level: str) -> list[str]:
    """Return the command of a worker of this pool."""
    options = ["-n", f"{pool.name}@%h", "-Q", ",".join(pool.queues), "-c", str(pool.concurrency), "-l", level]
    # Gossip, mingle and heartbeats serve remote control, which is off; without them a worker is ready sooner.
    return [*_CELERY, "worker", *options, "--without-gossip", "--without-mingle", "--without-heartbeat"]


def beat_command(level: str) -> list[str]:
    """Return the command of beat; its lock takes the place of a pid file."""
    return [*_CELERY, "beat", "-l", level, "--pidfile="]


def packages_on_path() -> dict[str, str]:
    """Return the environment that lets a child find the packages from any folder, installed or not."""
    known = os.environ.get("PYTHONPATH", "")
    return {"PYTHONPATH": f"{_PROJECT}{os.pathsep}{known}" if known else str(_PROJECT)}
