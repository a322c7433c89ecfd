"""Evaluations of many alerts in a process of their own: `python alerts_child.py WORK`, arguments on stdin."""

import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import structlog
from measure import answer, peak_rss_mb

from app.alerts.alert import parse_alerts
from app.alerts.channel import ChannelContext
from app.alerts.channels import open_target
from app.alerts.delivery.deliverer import Deliverer
from app.alerts.life.evaluator import Announce, Evaluator
from app.alerts.notices.announcer import Announcer
from app.alerts.notices.outbox import counted
from app.alerts.settings import AlertSettings
from app.core.clock import ManualClock
from app.core.database import Database, DatabaseSettings
from app.core.settings_reader import read

_START = datetime(2026, 3, 10, 4, 0, tzinfo=UTC)
_STEP = timedelta(minutes=10)
_WARNING, _CRITICAL, _GOOD = 130.0, 700.0, 10.0
_ROUNDS = 5
_LONGEST_S = 600.0


def evaluate(url: str, alerts: int, rules: int, *, announced: bool) -> dict[str, Any]:
    """Judge `alerts` figures by `rules` rules: as they begin, stay, change, rise and end.

    Returns the seconds of each and the memory that it took above the imports.
    """
    database = Database(url, DatabaseSettings())
    settings = _settings(rules)
    announce: Announce = Announcer(settings, ZoneInfo("Asia/Shanghai")).announce if announced else lambda *_: None
    clock = ManualClock(_START)
    evaluator = Evaluator(database, clock, settings, announce)
    workers = max(1, alerts // rules)
    before = peak_rss_mb()

    def judged(seconds: float) -> float:
        document = {"workers": [{"name": f"night-{n}@工厂", "silent_s": seconds, "deaths": 0} for n in range(workers)]}
        clock.advance(_STEP)
        return _timed(lambda: evaluator.evaluate("workers", document))

    told = {
        "begin": judged(_WARNING),
        "stay the same": min(judged(_WARNING) for _ in range(_ROUNDS)),
        "stay, new figures": min(judged(_WARNING + number) for number in range(1, _ROUNDS)),
        "rise": judged(_CRITICAL),
        "begin to recover": judged(_GOOD),
        "end": judged(_GOOD),
        "stay good": min(judged(_GOOD) for _ in range(_ROUNDS)),
        "nothing but time": _timed(evaluator.tick),
    }
    database.dispose()
    return {"seconds": told, "grown_mb": round(peak_rss_mb() - before, 1), "alerts": workers * rules}


def deliver(url: str, receiver: str, messages: int) -> dict[str, Any]:
    """Send `messages` alerts, a message each, to a receiver of webhooks and into the log files.

    Returns the seconds of each, with the outbox's claim and mark, and the memory that it took above the imports.
    """
    database, clock = Database(url, DatabaseSettings()), ManualClock(_START)
    target = {"channel": "webhook", "url": receiver, "allow_private": True, "group_by": ["what"]}
    settings = read(AlertSettings, {"channels": ["log_files", "receiver"], "targets": {"receiver": target}})
    announcer = Announcer(settings, ZoneInfo("Asia/Shanghai"))
    evaluator = Evaluator(database, clock, settings, announcer.announce)
    # Critical ones: of others a target gets thirty an hour.
    words = {
        "type": "trouble",
        "alertname": "Trouble",
        "message": "队列积压",
        "severity": "critical",
        "rule": "trouble",
    }
    alerts, _ = parse_alerts([{**words, "labels": {"what": f"{number}"}} for number in range(messages)])
    evaluator.outside("bench", alerts, complete=True)
    before = peak_rss_mb()
    with tempfile.TemporaryDirectory() as folder:
        context = ChannelContext(logs=Path(folder), stderr=None, clock=clock)
        opened = partial(open_target, context=context, targets=settings.targets)
        deliverer = Deliverer(database, clock, settings, opened)

        def sent(name: str) -> float:
            seconds = _timed(lambda: deliverer.deliver(budget_s=_LONGEST_S, only={name}))
            with database.read() as connection:
                delivered = counted(connection)[name].get("sent", 0)
            if delivered != messages:
                raise RuntimeError(f"{name} got {delivered} of {messages} messages; the figure would be none")
            return seconds

        told = {"webhook": sent("receiver"), "log file": sent("log_files")}
    database.dispose()
    return {"seconds": told, "grown_mb": round(peak_rss_mb() - before, 1)}


def _settings(rules: int) -> AlertSettings:
    row = {"type": "silent", "source": "workers.silent_s", "levels": {"warning": 120, "critical": 600}}
    words = {"alertname": "WorkerSilent", "message": "{worker} is silent for {value} s", "keep_firing_for": "0s"}
    own = {f"silent_{number}": {**row, **words, "labels": {"component": f"c{number}"}} for number in range(rules)}
    return read(AlertSettings, {"channels": ["log_files"], "rules": {"worker_down": {"enabled": False}, **own}})


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


_WORKS = {"evaluate": evaluate, "deliver": deliver}

if __name__ == "__main__":
    logging.disable()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    os.umask(0o077)
    answer(_WORKS[sys.argv[1]](**json.load(sys.stdin)))
