"""The program's own Celery application with cheap jobs added that leave a line in a file for all they do."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from app.context import Context
from app.execution.runner import Outcome
from tasks.registry import job

_EFFECTS = Path(os.environ["EFFECTS"])
_GATE = Path(os.environ["GATE"])
_CRON = os.environ.get("CRON", "0 0 1 1 *")
_JOBS = int(os.environ.get("JOBS", "1"))


def _counting(name: str, work: Callable[[], None]) -> Callable[[Context], Outcome]:
    def count(context: Context) -> Outcome:
        """Leave a line before and one after the work."""
        _write("begun", name, context)
        work()
        _write("done", name, context)
        return Outcome(result={"success": True, "message": "完成"})

    count.__name__ = name.replace("-", "_")
    return count


def _write(what: str, name: str, context: Context) -> None:
    line = "\t".join((what, name, context.now.strftime("%Y-%m-%d %H:%M:%S"), str(os.getpid()), context.run_id))
    file = os.open(_EFFECTS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, f"{line}\n".encode())
    finally:
        os.close(file)


def _short() -> None:
    time.sleep(0.1)  # so that kills meet it at work


def _until_gate() -> None:
    while not _GATE.exists():
        time.sleep(0.02)


for number in range(_JOBS):
    job(f"count-{number}", queue="file", priority=5, cron=_CRON, missed="run_each")(
        _counting(f"count-{number}", _short)
    )
job("count-gated", queue="file", priority=5, cron="0 0 1 1 *", missed="run_each")(_counting("count-gated", _until_gate))

# Made when the jobs above are known.
from tasks.celery_app import app  # noqa: E402 - see above

if visible_s := os.environ.get("VISIBILITY_TIMEOUT_S"):
    # Shorter than the setting may be, so that a run outlasts it in a test's time.
    app.conf.broker_transport_options |= {"visibility_timeout": int(visible_s), "unacked_restore_interval": 1}
