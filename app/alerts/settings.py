"""`[alerts]`: which conditions are watched and where people are told."""

from typing import Any

from pydantic import Field, field_validator

from app.alerts.channels import known_channels
from app.alerts.rule import DEFAULT_RULES, Rule
from app.core.settings_file import Section, nearest


class AlertSettings(Section):
    """`[alerts]`: conditions and channels."""

    enabled: bool = True
    """False: nothing is evaluated or sent."""
    channels: tuple[str, ...] = ("log_files", "console")
    """Where each alert goes; a name is that of a file in app/alerts/channels."""
    rules: dict[str, Rule] = Field(default={}, validate_default=True)
    """Rule id -> row. A row of ours, or a key or level of it, that the file leaves out keeps its default."""

    @field_validator("channels")
    @classmethod
    def _known_channels(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        known = known_channels()
        for name in value:
            if name not in known:
                raise ValueError(f"{name!r} is no channel we know{nearest(name, known)}; known: {', '.join(known)}")
        return tuple(dict.fromkeys(value))

    @field_validator("rules", mode="before")
    @classmethod
    def _over_defaults(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        for rule_id, row in value.items():
            if rule_id not in DEFAULT_RULES and not (
                isinstance(row, Rule) or (isinstance(row, dict) and "source" in row)
            ):
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
    return default | row | {"levels": default["levels"] | levels if isinstance(levels, dict) else levels}
