"""The monitor: looks at everything every half minute, has it judged by the alert rules, and has people told.

Every worker and every beat has one; a lease lets one of all look at a time. So whoever dies is told by somebody else.
"""

import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog
from sqlalchemy import select, update

from app.context import Context
from app.core.errors import GengfuError
from app.core.own_tables import service_state
from app.core.redaction import redact
from app.health.checks.system import resources
from app.schedule.limits import BEAT_DOWN_AFTER
from app.schedule.signs import DEADLINE_S, MONITOR, Signs, deaths_lately
from app.schedule.waits import p95, queue_waits
from app.watch.sampling import (
    broken_limits,
    broker_facts,
    disk_history,
    ended_today,
    measured_disks,
    missing_reports,
)

log = structlog.get_logger("gengfu.monitor")

_GAP = timedelta(minutes=2)
"""Between two monitors: what is longer was a time in which nobody listened."""
_LATE = timedelta(seconds=45)
"""So much later than it is due a look comes only where the machine slept, or nothing could be heard."""
_A_MINUTE_S = 60.0
"""What reads the history of runs or disks need not do so more often."""

_TOUCH = update(service_state).where(service_state.c.key == MONITOR).values(updated_at=service_state.c.updated_at)
"""Changes nothing, and fails where nothing can be changed."""

Document = dict[str, Any]
Probe = Callable[[], Document | None]


class Desk(Protocol):
    """Where what was seen is judged and told: `app.watch.desk.AlertDesk`. Its methods never raise."""

    def observe(self, documents: Mapping[str, Mapping[str, Any]], *, sparse: bool) -> object:
        """Judge what was seen, family by family, by the alert rules."""
        ...

    def assert_outside(self, items: object, *, source: str, complete: bool) -> object:
        """Take in alerts that no rule of ours found."""
        ...

    def enter_what_was_told(self) -> object:
        """Enter what people were told while the database was away."""
        ...

    def watch_pass(self) -> object:
        """Do what only time brings about, and send what is due."""
        ...


@dataclass(frozen=True, kw_only=True)
class _Look:
    """When a family is looked at again, and by what."""

    probe: Probe
    every_s: float = 0.0


class Monitor:
    """Looks, hands over what it saw, and survives whatever goes wrong with either."""

    def __init__(self, context: Context, desk: Desk, *, minimum_s: Mapping[str, float] | None = None) -> None:
        """`minimum_s` (job -> seconds) is what the registry declares of the shortest run."""
        self._context = context
        self._desk = desk
        self._minimum_s = minimum_s
        self._longest_pause = timedelta(seconds=context.settings.health.interval_s) + _LATE
        self._signs = Signs(context.database)
        self._since: datetime | None = None
        self._looked_at: datetime | None = None
        self._failures: Counter[str] = Counter()
        self._why: dict[str, str] = {}
        self._due: dict[str, float] = {}
        self._blind: dict[str, dict[str, Any]] = {}
        self._broker: Document | None = None
        self._latency_s: dict[str, float] = {}
        self._entered = False
        self._ended = False

    def look(self) -> list[str]:
        """Look once at all that is due; return the families that were judged. Never raises what a probe raises.

        What is due to be sent is sent even where what was seen can't be judged: the error is raised after that.
        """
        self._broker = None
        try:
            return self._judged(reachable=self._ask_database())
        finally:
            self._desk.watch_pass()

    def _judged(self, *, reachable: bool) -> list[str]:
        if reachable and not self._entered:
            self._desk.enter_what_was_told()
        seen = {name: self._seen(name, look) for name, look in self._looks(reachable=reachable).items()}
        documents = {family: document for family, document in seen.items() if document is not None}
        self._desk.observe(documents, sparse=False)
        if reachable:
            self._desk.assert_outside(list(self._blind.values()), source="monitor", complete=True)
            self._note_what_was_kept()
        return list(documents)

    def rest(self) -> None:
        """Forget since when this process has watched, and what it saw: another one does so now."""
        self._since = None
        self._entered = False
        self._failures.clear()
        self._why.clear()
        self._due.clear()
        self._blind.clear()

    def end(self) -> None:
        """Take back the sign of life: nobody shall wonder why it grows old. A look that is going on leaves none."""
        self._ended = True
        self._signs.take_back(MONITOR)

    def _looks(self, *, reachable: bool) -> dict[str, _Look]:
        without = {
            "services": _Look(probe=self._services),
            "disk": _Look(probe=lambda: self._disks(reachable=reachable), every_s=_A_MINUTE_S),
        }
        if not reachable:
            return without
        return without | {
            "system": _Look(probe=lambda: resources(self._context.clock)),
            "queues": _Look(probe=self._queues),
            "workers": _Look(probe=self._workers),
            "schedule": _Look(probe=self._schedule, every_s=_A_MINUTE_S),
            "reports": _Look(probe=lambda: missing_reports(self._context), every_s=_A_MINUTE_S),
            "runs": _Look(probe=lambda: ended_today(self._context), every_s=_A_MINUTE_S),
        }

    def _seen(self, family: str, look: _Look) -> Document | None:
        now = self._context.clock.monotonic()
        if now < self._due.get(family, float("-inf")):
            return None
        self._due[family] = now + look.every_s
        try:
            found = look.probe()
        except GengfuError as error:
            log.warning("not_seen", family=family, error=str(error))
        except Exception as error:  # one probe that breaks must not blind the others; the alert names it
            log.exception("probe_failed", family=family)
            # Until it works again: families are not looked at in every pass.
            self._blind[family] = _blind(family, error)
        else:
            self._blind.pop(family, None)
            return found
        return None

    def _ask_database(self) -> bool:
        now = self._context.clock.now()
        try:
            self._context.prepare_own_tables()
            with self._timed("database"), self._context.database.read(deadline_s=DEADLINE_S) as connection:
                connection.execute(select(1))
            self._try_to_write()
            self._failures.setdefault("database", 0)
            if self._since is None:
                self._since = self._watched_since(now)
            elif self._looked_at is not None and now - self._looked_at > self._longest_pause:
                # The machine slept, or the database was away: whoever wanted to sign could not.
                self._since = now
        except GengfuError as error:
            self._failed("database", str(error))
            self._entered = False
            return False
        return True

    def _try_to_write(self) -> None:
        """A standby, a full disk or a lock that stays: it answers questions and keeps nothing of what is seen."""
        with self._context.database.write(deadline_s=DEADLINE_S) as connection:
            connection.execute(_TOUCH)

    def _note_what_was_kept(self) -> None:
        """Only what was entered is past: until then an outage that was told without the database goes on."""
        if self._leave_sign():
            self._answered("database")
            self._entered = True
            self._looked_at = self._context.clock.now()

    def _watched_since(self, now: datetime) -> datetime:
        """Since when somebody has watched without a gap, this process or those before it."""
        sign = self._signs.find(MONITOR)
        if sign is None or now - sign.at > _GAP:
            return now
        return min(now, datetime.fromisoformat(sign.facts["since"]))

    def _services(self) -> Document:
        broker = self._broker_facts()
        if broker.get("available"):
            self._answered("broker")
        elif broker["status"] == "critical":
            self._failed("broker", str(broker["detail"]))
        else:  # what can't be asked at all, such as RabbitMQ without Celery, is neither well nor ill
            self._failures.pop("broker", None)
        told = [name for name in ("broker", "database") if name in self._failures]
        return {"services": [self._service(name) for name in told]}

    def _service(self, name: str) -> dict[str, Any]:
        failures = self._failures[name]
        latency_s = None if failures else self._latency_s.get(name)
        return {"name": name, "failures": failures, "why": self._why.get(name, ""), "latency_s": latency_s}

    def _broker_facts(self) -> Document:
        """Asked once in a pass."""
        if self._broker is None:
            with self._timed("broker"):
                self._broker = broker_facts(self._context)
        return self._broker

    @contextmanager
    def _timed(self, service: str) -> Iterator[None]:
        """Note how long a service takes to answer; one that does not has no time."""
        started = self._context.clock.monotonic()
        self._latency_s.pop(service, None)
        yield
        self._latency_s[service] = round(self._context.clock.monotonic() - started, 3)

    def _disks(self, *, reachable: bool) -> Document:
        at = self._context.clock.now()
        away = None if reachable else "the database is away"
        return disk_history(self._context).with_forecasts(measured_disks(self._context), at, away=away)

    def _queues(self) -> Document:
        broker = self._broker_facts()
        waits = queue_waits(self._context.database, self._context.clock.now())
        longest = p95(waits)
        return {
            "depths": dict(broker.get("queues") or {}),
            "wait_p95_s": None if longest is None else round(longest, 1),
            "wait_samples": len(waits),
        }

    def _workers(self) -> Document:
        now = self._context.clock.now()
        workers = [
            {
                "name": sign.worker,
                "silent_s": round(min(sign.age_s(now), self._watched_s(now)), 1),
                "deaths": len(deaths_lately(sign, now)),
            }
            for sign in self._signs.workers(now)
        ]
        return {"workers": workers}

    def _schedule(self) -> Document | None:
        facts = broken_limits(self._context, self._minimum_s)
        if facts is None:
            return None
        watched = self._watched_s(self._context.clock.now())
        if watched < BEAT_DOWN_AFTER.total_seconds():
            facts = [fact for fact in facts if fact["fact"] != "BeatDown"]
        return {"facts": facts}

    def _watched_s(self, now: datetime) -> float:
        """How long monitors have watched: nobody was silent for longer than somebody listened.

        Where everything was off for hours, workers and beat get the time to come back.
        """
        return (now - (self._since or now)).total_seconds()

    def _answered(self, service: str) -> None:
        self._failures[service] = 0
        self._why.pop(service, None)

    def _failed(self, service: str, why: str) -> None:
        self._failures[service] += 1
        if self._why.get(service) != why:
            log.warning("service_does_not_answer", service=service, why=why)
        self._why[service] = why

    def _leave_sign(self) -> bool:
        if self._ended:
            return False
        now = self._context.clock.now()
        facts = {"host": socket.gethostname(), "pid": os.getpid(), "since": (self._since or now).isoformat()}
        try:
            self._signs.leave(MONITOR, facts, now)
        except GengfuError as error:
            log.warning("sign_of_life_not_written", error=str(error))
            return False
        return True


def _blind(family: str, error: Exception) -> dict[str, Any]:
    """The alert that something is not seen any more."""
    return {
        "type": "monitor_blind",
        "alertname": "MonitorBlind",
        "message": f"the monitor can't look at {family}: {type(error).__name__}: {redact(str(error))}",
        "severity": "error",
        "labels": {"family": family},
    }
