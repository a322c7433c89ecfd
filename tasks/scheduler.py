"""The beat scheduler over the slot ledger: `celery -A tasks beat` needs no other option and writes no shelve file."""

import os
import secrets
import socket
import sys
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import structlog
from celery.beat import Scheduler
from kombu.exceptions import OperationalError

from app.context import Context
from app.core.errors import GengfuError, Locked
from app.schedule.beat_lock import beat_lock_paths
from app.schedule.dispatcher import Dispatcher
from app.schedule.in_force import Schedules
from app.schedule.job_spec import JobSpec
from app.schedule.leadership import LIFE, Leadership
from app.schedule.leases import Leases
from app.schedule.ledger import Ledger
from app.schedule.pauses import paused_jobs
from app.service.process_lock import ProcessLock
from tasks import monitor_thread
from tasks.base import process_context
from tasks.registry import scheduled_specs
from tasks.settings_watch import SettingsWatch

log = structlog.get_logger("gengfu.beat")

_AFTER_ERROR_S = 2.0
_PUBLISH_POLICY = {"max_retries": 1, "interval_start": 0.0, "interval_step": 0.2}


class NightWatch(Scheduler):  # type: ignore[misc] # Celery ships no types
    """One of any number of beats: it leads, or stands by until the leader is gone."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._context: Context = process_context()
        self._specs = {spec.name: spec for spec in scheduled_specs(self._context.settings)}
        self._dispatcher: Dispatcher | None = None
        self._leadership: Leadership | None = None
        self._watch: SettingsWatch | None = None
        self._in_trouble = False
        self._silent = False
        super().__init__(*args, **kwargs)

    def setup_schedule(self) -> None:
        """Leave a sign of life on this machine and enter the election."""
        context = self._context
        try:
            self._lock = _free_lock(context.settings.paths.var)
            self._lock.update(last_tick=_now_text(), jobs=len(self._specs), leads=False)
        except GengfuError as error:
            log.error("beat_not_started", why=str(error))  # noqa: TRY400 - the reason is the news, not our stack
            sys.stderr.write(f"beat is not started: {error}\n")
            raise SystemExit(int(error.exit_code)) from None
        self._leadership = Leadership(
            Leases(context.database, LIFE),
            context.clock,
            owner=secrets.token_hex(16),
            host=socket.gethostname(),
            pid=os.getpid(),
        )
        self._dispatcher = Dispatcher(
            ledger=Ledger(context.database),
            leadership=self._leadership,
            schedules=Schedules(context.database),
            specs=self._specs,
            zone=context.zone,
            clock=context.clock,
            publish=self._publish,
            paused=lambda: paused_jobs(context.database),
        )
        self._watch = SettingsWatch(
            self._specs,
            context.zone,
            follower=self._dispatcher,
            clock=context.clock,
            refused=lambda why: self._sign(settings_refused=why),
        )
        monitor_thread.start()

    def tick(self, *_args: Any, **_kwargs: Any) -> float:
        """Run one iteration and leave a sign of life; a dead database or broker costs time, never this process."""
        if self._watch is not None:
            self._watch.look()
        pause = self._dispatched()
        self._sign(last_tick=_now_text(), leads=self._dispatcher is not None and self._dispatcher.leading)
        return pause

    def _sign(self, **facts: Any) -> None:
        """Rewrite the sign of life; a full disk costs the sign, not the schedule."""
        try:
            self._lock.update(**facts)
        except GengfuError as error:
            if not self._silent:
                log.warning("sign_of_life_not_written", error=str(error))
            self._silent = True
        else:
            self._silent = False

    def _dispatched(self) -> float:
        if self._dispatcher is None:
            return _AFTER_ERROR_S
        try:
            self._context.prepare_own_tables()
            pause = self._dispatcher.tick()
        except GengfuError as error:
            if not self._in_trouble:
                log.error("tick_failed", error=str(error))  # noqa: TRY400 - told once, in one line
            self._in_trouble = True
            return _AFTER_ERROR_S
        if self._in_trouble:
            log.info("tick_works_again")
        self._in_trouble = False
        return pause

    @cached_property
    def producer(self) -> Any:
        """Celery's own waits here for ever while no broker answers: the tick would hang and with it the lease."""
        return self.Producer(self.connection, auto_declare=False)

    def _publish(self, spec: JobSpec, due_at: datetime) -> None:
        headers = {"slot": due_at.isoformat(), "published_at": self._context.clock.now().isoformat()}
        try:
            self.app.tasks[spec.task_name].apply_async(
                queue=spec.queue,  # not the route that was made when this process began
                priority=spec.priority,
                headers=headers,
                producer=self.producer,
                retry=True,
                retry_policy=_PUBLISH_POLICY,
            )
        except OperationalError as error:
            raise ConnectionError(str(error)) from error

    def close(self) -> None:
        """Make room for a stand-by at once."""
        super().close()
        try:
            if self._leadership is not None:
                self._leadership.resign()
        except GengfuError as error:
            log.warning("leadership_not_given_back", error=str(error))
        monitor_thread.stop()
        self._lock.release()

    @property
    def info(self) -> str:
        """A line of Celery's banner."""
        return f"    . ledger -> {self._context.database.display_url}"


def _free_lock(var: Path) -> ProcessLock:
    """Take the first lock that no other beat of this home holds. Raises Locked where all are taken."""
    *others, last = (ProcessLock(path) for path in beat_lock_paths(var))
    for lock in others:
        try:
            lock.acquire()
        except Locked:
            continue
        return lock
    last.acquire()
    return last


def _now_text() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
