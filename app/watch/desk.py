"""The alert desk: what jobs and monitor found is judged, written down with all that is to be told, and told."""

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TextIO

import structlog
from sqlalchemy import select

from app.alerts.alert import Alert, Severity, fingerprint_of, parse_alerts
from app.alerts.channel import Channel, ChannelContext
from app.alerts.channels import open_target
from app.alerts.channels.heartbeat import Signal
from app.alerts.delivery import without_database
from app.alerts.delivery.deliverer import Deliverer, DeliveryReport
from app.alerts.delivery.without_database import Memory, Without
from app.alerts.facts import Document
from app.alerts.heartbeats import beat, heartbeat_targets
from app.alerts.life.acknowledgements import Acknowledgements
from app.alerts.life.evaluator import Evaluation, Evaluator
from app.alerts.life.instance import Instance, outside_rule
from app.alerts.notices import day_summary
from app.alerts.notices.announcer import Announcer
from app.alerts.notices.day_summary import Entry, Heard
from app.alerts.notices.grouping import GROUP_WAIT
from app.alerts.notices.recipients import recipients
from app.alerts.notices.trimming import Trimming
from app.alerts.rules.readings import Reading, read_facts
from app.context import Context
from app.core.errors import GengfuError
from app.core.own_tables import alert_instance
from app.schedule.signs import MONITOR, WATCHED_WITHIN_S, Signs

log = structlog.get_logger("gengfu.alerts")

_RECORDS_BUDGET_S = 5.0
_PASS_BUDGET_S = 12.0
"""Seconds that sending may take: a channel gives up after ten."""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What became of figures or alerts that were handed in."""

    open: int = 0
    """Alerts that they are about and that fire now."""
    events: Mapping[str, int] = field(default_factory=dict)
    """What happened: firing, escalated, resolved ... -> how often."""
    without: Without | None = None
    """How it was told where the database was away."""


class AlertDesk:
    """Judges, writes down and tells. Raises nothing for a database that is away or a channel that is broken.

    Keep one for each process that watches: it remembers which targets hang.
    """

    def __init__(self, context: Context, *, stderr: TextIO | None = None, at_once: bool = False) -> None:
        """With `at_once` no message waits for others of its group: there is no monitor that would send it later."""
        self._context = context
        self._settings = context.settings.alerts
        self._channels = ChannelContext(
            logs=context.settings.paths.logs, stderr=stderr or sys.stderr, clock=context.clock
        )
        wait = timedelta(0) if at_once else GROUP_WAIT
        self._announcer = Announcer(self._settings, context.zone, group_wait=wait, heard=self._heard)
        self._evaluator = Evaluator(context.database, context.clock, self._settings, self._announcer.announce)
        self._deliverer = Deliverer(context.database, context.clock, self._settings, self.open_target)
        self._trimming = Trimming(database=context.database, clock=context.clock, settings=self._settings)
        self._beating: threading.Thread | None = None
        self._memory = Memory()

    def open_target(self, name: str) -> Channel:
        """Return the channel of a target. Raises ModuleNotFoundError where there is none."""
        return open_target(name, self._channels, self._settings.targets)

    def observe(self, documents: Mapping[str, Document], *, sparse: bool = True) -> Taken:
        """Judge what was found, family by family; `sparse` where it stands for the time since the job's last run."""
        return self._taken(
            lambda: self._evaluator.evaluate_all(documents, sparse=sparse), lambda: self._bad_ones(documents)
        )

    def assert_outside(self, items: object, *, source: str, complete: bool) -> Taken:
        """Take in alerts (plain dicts) that no rule of ours found; of what is malformed among them the log tells."""
        alerts, refused = parse_alerts(items)
        if refused:
            log.error("alerts_refused", source=source, count=len(refused), first=refused[0].why)
        # What can't be read may name any of those that fire.
        return self.take(alerts, source=source, complete=complete and not refused)

    def take(self, alerts: Sequence[Alert], *, source: str, complete: bool) -> Taken:
        """Take in alerts of a source; with `complete` those it no longer names are over."""
        return self._taken(
            lambda: self._evaluator.outside(source, alerts, complete=complete),
            # Under the name that the database will know them by.
            lambda: [replace(alert, rule=outside_rule(source, alert.rule)) for alert in alerts],
        )

    def enter_what_was_told(self) -> Taken:
        """Enter into the database, once it is back, what people were told without it, whoever told it.

        What is over by then is found to be so like anything else, and its end is told.
        """
        at = self._context.clock.now().astimezone(self._context.zone)
        entries = day_summary.told_lately(self._context.settings.paths.alert_reports, at)
        told = [(one, entry.last_at) for entry in entries if (one := self._reading(entry)) is not None]
        return self._taken(lambda: self._evaluator.enter(told), list)

    def acknowledge(self, fingerprint: str, *, by: str, comment: str, lasts: timedelta) -> Instance:
        """Acknowledge an open alert. Raises BadArgument where there is none, and the errors of `Database`."""
        book = Acknowledgements(self._context.database, self._context.clock, self._announcer.announce)
        acked = book.ack(fingerprint, by=by, comment=comment, lasts=lasts)
        self._write_records()
        return acked

    def watch_pass(self) -> DeliveryReport | None:
        """Do what only time brings about, send what is due, and have the others told of targets that are broken.

        Returns None where the database is away.
        """
        if not self._settings.enabled:
            return DeliveryReport()
        try:
            report = self._passed()
        except GengfuError as error:
            log.warning("alerts_not_delivered", error=str(error))
            self._beat("fail", "the database does not answer", ())
            return None
        self._beat("success", "", self._open_levels())
        return report

    def monitor_watches(self) -> bool:
        """Tell whether a monitor, of whatever machine, looks regularly and sends what is due."""
        try:
            sign = Signs(self._context.database).find(MONITOR)
        except GengfuError:
            return False
        return sign is not None and sign.age_s(self._context.clock.now()) <= WATCHED_WITHIN_S

    def _passed(self) -> DeliveryReport:
        transitions = self._evaluator.tick().transitions
        with self._context.database.write() as connection:
            self._announcer.flush(connection, self._context.clock.now())
        report = self._deliverer.deliver(budget_s=_PASS_BUDGET_S)
        if transitions:
            self._sum_up()
        self.observe({"channels": report.document()})
        self._trim()
        return report

    def _taken(self, evaluate: Callable[[], Evaluation], bad_ones: Callable[[], Sequence[Alert]]) -> Taken:
        if not self._settings.enabled:
            return Taken()
        try:
            evaluation = evaluate()
        except GengfuError as error:
            log.warning("alerts_told_without_database", error=str(error))
            return self._told_directly(bad_ones())
        if evaluation.transitions:
            self._write_records()
            self._sum_up()
        return Taken(open=len(evaluation.open), events=Counter(one.event for one in evaluation.transitions))

    def _write_records(self) -> None:
        """Bring what happened into the files and onto the console at once, whoever brings it elsewhere later."""
        mine = [one.name for one in recipients(self._settings) if not one.grouped]
        try:
            self._deliverer.deliver(budget_s=_RECORDS_BUDGET_S, only=mine)
        except GengfuError as error:
            log.warning("alerts_not_delivered", error=str(error))

    def _sum_up(self) -> None:
        """Write the day's file anew; it is made from what the database knows, so the next one mends it."""
        at = self._context.clock.now().astimezone(self._context.zone)
        try:
            with self._context.database.read() as connection:
                day_summary.write(connection, self._context.settings.paths.alert_reports, at)
        except GengfuError as error:
            log.warning("alert_summary_failed", error=str(error))

    def _trim(self) -> None:
        try:
            removed = self._trimming.trim()
        except GengfuError as error:
            log.warning("alert_history_not_trimmed", error=str(error))
            return
        if removed:
            log.info("alert_history_trimmed", **removed)

    def _heard(self, at: datetime) -> Heard:
        return day_summary.heard(self._context.settings.paths.alert_reports, at.astimezone(self._context.zone))

    def _told_directly(self, alerts: Sequence[Alert]) -> Taken:
        at = self._context.clock.now()
        without = without_database.tell(
            [alert for alert in alerts if not self._is_muted(alert, at)],
            settings=self._settings,
            open_target=self.open_target,
            reports=self._context.settings.paths.alert_reports,
            at=at.astimezone(self._context.zone),
            memory=self._memory,
        )
        return Taken(open=len(alerts), events=without.events, without=without)

    def _reading(self, entry: Entry) -> Reading | None:
        """Return what one of our rules found; None for alerts of others, which name them again themselves."""
        rule_ids = (name for name in self._settings.rules if fingerprint_of(name, entry.labels) == entry.fingerprint)
        rule_id = next(rule_ids, None)
        if rule_id is None:
            return None
        return Reading(
            rule_id=rule_id,
            labels=entry.labels,
            level=entry.history[-1].severity if entry.history else entry.severity,
            value=entry.value,
            threshold=entry.threshold,
            message=entry.message,
        )

    def _is_muted(self, alert: Alert, at: datetime) -> bool:
        """Silences stand in the database; the hours of a rule hold without it, as where it is away by plan."""
        rule = self._settings.rules.get(alert.rule)
        return rule is not None and any(window.covers(at) for window in rule.mute_windows)

    def _bad_ones(self, documents: Mapping[str, Document]) -> list[Alert]:
        """What is bad in this very moment: without the database nobody knows for how long."""
        rules = self._settings.rules
        readings = [one for family, document in documents.items() for one in read_facts(family, document, rules, {})]
        return [self._alert(one, level) for one, level in _with_levels(readings)]

    def _alert(self, reading: Reading, level: Severity) -> Alert:
        rule = self._settings.rules.get(reading.rule_id)
        return Alert(
            type=rule.type if rule else reading.rule_id,
            alertname=rule.alertname if rule else reading.rule_id,
            message=reading.message,
            severity=level,
            rule=reading.rule_id,
            value=reading.value,
            threshold=reading.threshold,
            labels=reading.labels,
        )

    def _open_levels(self) -> Sequence[Severity]:
        if not heartbeat_targets(self._settings):
            return ()
        query = select(alert_instance.c.level).where(alert_instance.c.state.in_(("firing", "recovering"))).distinct()
        try:
            with self._context.database.read() as connection:
                return list(connection.execute(query).scalars())
        except GengfuError:
            return ()

    def _beat(self, signal: Signal, text: str, open_levels: Sequence[Severity]) -> None:
        """Ping who waits for signs of life, in a thread of its own: a ping that hangs must not hold up alerts."""
        if not heartbeat_targets(self._settings) or (self._beating is not None and self._beating.is_alive()):
            return
        self._beating = threading.Thread(
            target=beat,
            args=(self._settings, self._channels, signal, text),
            kwargs={"open_levels": open_levels},
            name="heartbeat-ping",
            daemon=True,
        )
        self._beating.start()


def _with_levels(readings: Sequence[Reading]) -> Iterator[tuple[Reading, Severity]]:
    yield from ((one, one.level) for one in readings if one.level is not None)
