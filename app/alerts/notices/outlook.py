"""What holds alerts back and who wants to hear of them, at one instant: looked up once, then asked for each alert."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from functools import cached_property

from sqlalchemy import Connection

from app.alerts.life import instance_rows
from app.alerts.life.instance import Instance
from app.alerts.notices.decision import Wishes
from app.alerts.notices.grouping import group_labels
from app.alerts.notices.recipients import Recipient
from app.alerts.notices.settling import Outlook
from app.alerts.notices.silences import Silence, in_force
from app.alerts.notices.suppression import Flags, Inhibitors, flags, rules_that_inhibit
from app.alerts.rules.rule import Rule
from app.alerts.rules.rule_parts import Repeat
from app.alerts.settings import AlertSettings
from app.alerts.targets import TargetSettings
from app.core.own_tables import alert_instance

_USUAL_GROUPS = TargetSettings().group_by
_USUAL_REPEAT = Repeat()
_OWN_CHANNELS = "channels.broken"


class View:
    """The silences in force, the alerts that inhibit others, and the settings."""

    def __init__(self, connection: Connection, settings: AlertSettings, at: datetime, group_wait: timedelta) -> None:
        self._connection = connection
        self._settings = settings
        self.at = at
        self._group_wait = group_wait
        self._flags: dict[tuple[str, int], Flags] = {}

    def rule(self, instance: Instance) -> Rule | None:
        """Return an alert's rule; None where another source found it, or the rule is gone."""
        return self._settings.rules.get(instance.rule)

    def flags(self, instance: Instance) -> Flags:
        """Return what holds an alert back."""
        key = (instance.fingerprint, instance.version)
        if key not in self._flags:
            self._flags[key] = flags(instance, self._silences, self._inhibitors, self.rule(instance), self.at)
        return self._flags[key]

    def wishes(self, recipient: Recipient, instance: Instance) -> Wishes:
        """Return what a recipient wants to hear of an alert."""
        rule = self.rule(instance)
        # Whoever can't be reached is not told so.
        itself = rule is not None and rule.source == _OWN_CHANNELS and instance.labels.get("target") == recipient.name
        return Wishes(
            repeat=(rule.repeat if rule is not None else _USUAL_REPEAT).of(instance.level),
            wanted=recipient.wants(instance.level) and not itself,
            send_resolved=recipient.options.send_resolved,
        )

    def labels(self, recipient: Recipient, instance: Instance) -> dict[str, str]:
        """Return what makes an alert part of a group: its rule's own labels, or else those of the target."""
        rule = self.rule(instance)
        own = rule.group_by if rule is not None and rule.group_by != _USUAL_GROUPS else recipient.options.group_by
        return group_labels(instance, own)

    def outlook(self, recipient: Recipient) -> Outlook:
        """Return how a recipient sees alerts."""
        return Outlook(
            flags=self.flags,
            wishes=lambda instance: self.wishes(recipient, instance),
            group_wait=self._group_wait,
        )

    def open_alerts(self, alertnames: Collection[str] | None) -> list[Instance]:
        """Return the alerts that are open, all or those of some names."""
        wanted = [alert_instance.c.state.in_(("firing", "recovering"))]
        if alertnames is not None:
            wanted.append(alert_instance.c.alertname.in_(sorted(alertnames)))
        return instance_rows.load(self._connection, *wanted)

    def alerts(self, fingerprints: Iterable[str]) -> list[Instance]:
        """Return these alerts, open or not."""
        return list(instance_rows.by_fingerprint(self._connection, fingerprints).values())

    @cached_property
    def _silences(self) -> list[Silence]:
        return in_force(self._connection, self.at)

    @cached_property
    def _inhibitors(self) -> Inhibitors:
        rules = rules_that_inhibit(self._settings.rules)
        if not rules:
            return Inhibitors()
        wanted = (alert_instance.c.rule.in_(sorted(rules)), alert_instance.c.state.in_(("firing", "recovering")))
        return Inhibitors(instance_rows.load(self._connection, *wanted))
