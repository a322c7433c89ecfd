"""`[alerts]`: which conditions are watched and where people are told."""

from datetime import timedelta
from typing import Annotated, Any

from msgspec import Meta, field

from app.alerts.channels import check_options, known_channels
from app.alerts.rules.default_rules import DEFAULT_RULES
from app.alerts.rules.rule import Rule, consistent
from app.alerts.rules.rule_parts import Level, level_tables
from app.alerts.targets import TargetSettings
from app.core.measures import Age
from app.core.settings_file import Before, Check, Section, nearest
from app.core.settings_reader import read

DEFAULT_CHANNELS = ("log_files", "console")
"""These need no settings."""
TargetName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_\-]{0,30}\Z")]


def _once(value: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value))


def _over_defaults(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    for rule_id, row in value.items():
        if rule_id not in DEFAULT_RULES and not (isinstance(row, Rule) or (isinstance(row, dict) and "source" in row)):
            raise ValueError(
                f"{rule_id!r} is no rule of ours{nearest(rule_id, DEFAULT_RULES)}; "
                "a rule of your own needs alertname, type, source, levels and message"
            )
    rows = {rule_id: _merged(DEFAULT_RULES[rule_id], value.get(rule_id, {})) for rule_id in DEFAULT_RULES}
    return rows | {rule_id: row for rule_id, row in value.items() if rule_id not in rows}


def _merged(default: dict[str, Any], row: Any) -> Any:
    if not isinstance(row, dict):
        return row
    levels = row.get("levels", {})
    # One level set by the environment must not silently take the other away.
    return default | row | {"levels": _levels(default["levels"], levels) if isinstance(levels, dict) else levels}


def _levels(default: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    known: dict[str, Any] = level_tables(default)
    new: dict[str, Any] = level_tables(given)
    return known | {name: row if isinstance(row, Level) else known.get(name, {}) | row for name, row in new.items()}


def default_rules() -> dict[str, Rule]:
    """Return the rules that hold where the file says nothing."""
    return {rule_id: read(Rule, row) for rule_id, row in DEFAULT_RULES.items()}


class AlertSettings(Section):
    """`[alerts]`: conditions and channels."""

    enabled: bool = True
    """False: nothing is evaluated or sent."""
    channels: Annotated[tuple[str, ...], Check(_once)] = DEFAULT_CHANNELS
    """Where each alert goes: files of app/alerts/channels, or targets."""
    targets: dict[TargetName, TargetSettings] = field(default_factory=dict)
    """Name -> a place beyond this machine, and the channel that leads there."""
    told_once_for: Age = timedelta(hours=24)
    """An alert of another source that says nothing when it ends is over when it was not told again for this long."""
    keep_history_days: Annotated[int, Meta(ge=0, le=36_500)] = 365
    """What happened longer ago is removed, and what was silent until then; 0 keeps it for ever."""
    rules: Annotated[dict[str, Rule], Before(_over_defaults), Check(consistent)] = field(default_factory=default_rules)
    """Rule id -> row. A row of ours, or a key or level of it, that the file leaves out keeps its default."""

    def __post_init__(self) -> None:
        known = known_channels()
        for name, target in self.targets.items():
            _check_target(name, target, known)
        for name in self.channels:
            if name not in known and name not in self.targets:
                every = list(dict.fromkeys([*known, *self.targets]))
                why = f"{name!r} is no channel or target we know{nearest(name, every)}; known: {', '.join(every)}"
                raise ValueError(f"channels: {why}")
            if name not in self.targets and name not in DEFAULT_CHANNELS:
                _check_target(name, TargetSettings(), known)

    def target(self, name: str) -> TargetSettings:
        """Return what holds for the target or channel called `name`."""
        return self.targets.get(name, TargetSettings())


def _check_target(name: str, target: TargetSettings, known: list[str]) -> None:
    channel = target.channel or name
    if channel not in known:
        raise ValueError(
            f"targets.{name}: {channel!r} is no channel we know{nearest(channel, known)}; "
            f"set channel to one of {', '.join(known)}"
        )
    try:
        check_options(channel, target)
    except ValueError as error:
        raise ValueError(f"targets.{name}: {error} (channel {channel})") from error
