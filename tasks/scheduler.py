"""The beat scheduler: sends each job at its time with the slot it is for, and says that it is alive."""

import socket
import sys
from datetime import UTC, datetime
from typing import Any

import structlog
from celery.beat import PersistentScheduler
from celery.schedules import crontab, schedule

from app.context import Context
from app.core.errors import GengfuError
from app.schedule.beat_lock import beat_lock_path
from app.schedule.cron import latest_due
from app.schedule.job_spec import JobSpec
from app.schedule.settings import interval_seconds
from app.service.process_lock import ProcessLock
from tasks.base import process_context
from tasks.registry import scheduled_specs

log = structlog.get_logger("gengfu.beat")


class NightWatch(PersistentScheduler):  # type: ignore[misc] # Celery ships no types
    """Celery's scheduler with our jobs, one beat for each GENGFU_HOME, and the slot in every message."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._context: Context = process_context()
        self._specs = {spec.name: spec for spec in scheduled_specs(self._context.settings)}
        self._lock = ProcessLock(beat_lock_path(self._context.settings.paths.var))
        super().__init__(*args, **kwargs)

    def setup_schedule(self) -> None:
        """Take the lock, then read the stored times. A second beat is refused: both would send every job."""
        try:
            self._lock.acquire(host=socket.gethostname(), last_tick=_now_text(), jobs=len(self._specs))
        except GengfuError as error:
            log.error("beat_not_started", why=str(error))  # noqa: TRY400 - the reason is the news, not our stack
            sys.stderr.write(f"beat is not started: {error}\n")
            raise SystemExit(int(error.exit_code)) from None
        self.app.conf.beat_schedule = {name: self._entry(spec) for name, spec in self._specs.items()}
        super().setup_schedule()

    def install_default_entries(self, data: Any) -> None:
        """Add nothing: Celery's backend_cleanup would wake at 04:00 beside our clean-up."""

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Run one iteration and leave a sign of life: a process that only exists does not count as alive."""
        pause: float = super().tick(*args, **kwargs)
        self._lock.update(last_tick=_now_text())
        return pause

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002 - Celery's signature
        """Publish with the slot: a message that waited a day is still about the day it was meant for."""
        spec = self._specs.get(entry.name)
        now = self._context.clock.now()
        if spec is not None and spec.cron is not None:
            slot = latest_due(spec.cron, self._context.zone, now)
            entry.options["headers"] = {"slot": slot.isoformat(), "published_at": now.isoformat()}
        return super().apply_async(entry, producer, advance, **kwargs)

    def close(self) -> None:
        """Store the times and give the lock back."""
        super().close()
        self._lock.release()

    def _entry(self, spec: JobSpec) -> dict[str, Any]:
        return {"task": spec.task_name, "schedule": self._schedule(spec.cron or "")}

    def _schedule(self, cron: str) -> Any:
        if seconds := interval_seconds(cron):
            return schedule(seconds, app=self.app)
        return crontab.from_string(cron)


def _now_text() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
