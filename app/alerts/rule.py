"""One row of config/alert_rules.toml, and the rows that hold where the file says nothing."""

import string
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from app.alerts.alert import RANK, Severity
from app.alerts.facts import SOURCES
from app.core.settings_file import Section, nearest

_ALWAYS = frozenset({"value", "threshold", "samples"})

Operator = Literal[">", ">=", "<", "<=", "=="]


class Rule(Section):
    """`[alerts.rules.<id>]`: one condition; at most one alert per set of labels, at the highest level reached."""

    enabled: bool = True
    alertname: str = Field(min_length=1, max_length=100)
    """CamelCase name shown to people and other tools."""
    type: str = Field(min_length=1, max_length=100)
    """Slug shown as the alert's `type`."""
    source: str
    """The fact that is compared, such as `daily.failure_rate`."""
    op: Operator = ">"
    levels: dict[Severity, float] = Field(min_length=1)
    """Severity -> threshold, in the fact's own unit."""
    min_samples: int = Field(default=0, ge=0)
    """Quiet when the fact rests on fewer rows than this."""
    message: str = Field(min_length=1, max_length=500)
    """One line; `{value}`, `{threshold}`, `{samples}` and the source's own words are filled in."""

    @field_validator("source")
    @classmethod
    def _known_source(cls, value: str) -> str:
        if value not in SOURCES:
            raise ValueError(f"{value!r} is no fact we know{nearest(value, SOURCES)}; known: {', '.join(SOURCES)}")
        return value

    @field_validator("levels", mode="before")
    @classmethod
    def _known_levels(cls, value: Any) -> Any:
        for name in value if isinstance(value, dict) else ():
            if name not in RANK:
                raise ValueError(f"{name!r} is none of critical, warning, error{nearest(str(name), RANK)}")
        return value

    @field_validator("levels")
    @classmethod
    def _finite(cls, value: dict[Severity, float]) -> dict[Severity, float]:
        for name, threshold in value.items():
            if not -1e15 < threshold < 1e15:  # noqa: PLR2004 - also refuses NaN and infinity
                raise ValueError(f"{name} = {threshold} is no usable threshold")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self._check_message()
        self._check_order()
        return self

    def _check_message(self) -> None:
        known = _ALWAYS | SOURCES[self.source]
        try:
            parts = list(string.Formatter().parse(self.message))
        except ValueError as error:
            raise ValueError(f"message {self.message!r}: {error}; write a literal brace twice") from error
        for _, name, form, conversion in parts:
            if name is not None and (name not in known or form or conversion):
                raise ValueError(f"message names {{{name}}}; {self.source} fills in {', '.join(sorted(known))}")

    def _check_order(self) -> None:
        """A higher level that is reached before the lower one would hide it."""
        ranked = [self.levels[name] for name in sorted(self.levels, key=RANK.__getitem__)]
        if self.op != "==" and ranked != sorted(ranked, reverse=self.op.startswith("<")):
            raise ValueError(f"levels {dict(self.levels)}: the more severe must be reached later (op is {self.op!r})")


DEFAULT_RULES: dict[str, dict[str, Any]] = {
    "task_failure_rate_high": {
        "alertname": "TaskFailureRateHigh",
        "type": "failure_rate",
        "source": "daily.failure_rate",
        "levels": {"warning": 20, "critical": 50},
        # One failure among four tasks of a quiet day is no rate.
        "min_samples": 5,
        "message": "{value} % of the {samples} tasks of {date} failed; the threshold is {threshold} %",
    },
    "no_tasks_processed": {
        "alertname": "NoTasksProcessed",
        "type": "no_tasks",
        "source": "daily.total_tasks",
        "op": "==",
        "levels": {"warning": 0},
        "message": "{value} tasks on {date}; are tasks still being created?",
    },
    "error_concentration": {
        "alertname": "ErrorConcentration",
        "type": "error_concentration",
        "source": "daily.top_error_share",
        "levels": {"warning": 50},
        "min_samples": 20,
        "message": "{value} % of the {samples} errors of {date} are {category}; the threshold is {threshold} %",
    },
    "disk_usage_high": {
        "alertname": "DiskUsageHigh",
        "type": "disk_usage",
        "source": "disk.usage_percent",
        "levels": {"warning": 80, "critical": 90},
        "message": "{mount} is {value} % full, {free_gb} GB are free; the threshold is {threshold} %",
    },
    "inode_usage_high": {
        "alertname": "InodeUsageHigh",
        "type": "inode_usage",
        "source": "disk.inodes_percent",
        "levels": {"warning": 80, "critical": 90},
        "message": "{mount} has used {value} % of its inodes; the threshold is {threshold} %",
    },
    "disk_will_fill": {
        "alertname": "DiskWillFill",
        "type": "disk_will_fill",
        "source": "disk.will_fill",
        "op": "<",
        # A week and a day.
        "levels": {"warning": 168, "critical": 24},
        "message": "{mount} will have no {of} left in {value} h, at {full_at} ({method} estimate)",
    },
    "disk_check_errors": {
        "alertname": "DiskCheckErrors",
        "type": "disk_check_errors",
        "source": "disk.errors",
        "levels": {"error": 0},
        "message": "{value} mounts could not be measured: {first}",
    },
    "cleanup_errors": {
        "alertname": "CleanupErrors",
        "type": "cleanup_errors",
        "source": "cleanup.error_percent",
        # One file of ten thousand that could not be removed is tried again and tells nobody anything.
        "levels": {"error": 1},
        "message": "the cleanup met {errors} errors, {value} % of all it tried: {first}",
    },
    "cleanup_refused_paths": {
        "alertname": "CleanupRefusedPaths",
        "type": "cleanup_refused_paths",
        "source": "cleanup.refused_paths",
        "levels": {"error": 0},
        "message": "the cleanup refused {value} paths: {first}",
    },
    "cleanup_held": {
        "alertname": "CleanupHeld",
        "type": "cleanup_held",
        "source": "cleanup.held",
        "levels": {"error": 0},
        "message": "{what} was {state} in run {run_id}, nothing was deleted there: {first}",
    },
    "cleanup_deleted_unusual": {
        "alertname": "CleanupDeletedUnusual",
        "type": "cleanup_deleted_unusual",
        "source": "cleanup.deleted_percent",
        "levels": {"warning": 300},
        # Below that three times the usual is any quiet Sunday.
        "min_samples": 1000,
        "message": "the rule {rule} deleted {rows} rows, {value} % of the {usual} that are usual",
    },
    "retention_lag": {
        "alertname": "RetentionLag",
        "type": "retention_lag",
        "source": "cleanup.lag_growing",
        "op": ">=",
        "levels": {"warning": 3},
        "message": "the rule {rule} falls behind: its lag grew in {value} runs in a row, to {lag_hours} hours",
    },
    "schedule_missed": {
        "alertname": "ScheduleMissed",
        "type": "schedule_missed",
        "source": "schedule.missed",
        "levels": {"error": 0},
        "message": "{job}: {value} slots of the last day were missed, the last one {slot}",
    },
    "run_too_long": {
        "alertname": "RunTooLong",
        "type": "run_too_long",
        "source": "schedule.run_too_long",
        "levels": {"warning": 100},
        "message": "{job} takes {seconds} s; {allowed_s} s are usual at most",
    },
    "run_too_short": {
        "alertname": "RunTooShort",
        "type": "run_too_short",
        "source": "schedule.run_too_short",
        "op": "<",
        "levels": {"warning": 100},
        "message": "{job} took {seconds} s; below {minimum_s} s it can't have done its work",
    },
    "run_too_often": {
        "alertname": "RunTooOften",
        "type": "run_too_often",
        "source": "schedule.run_too_often",
        "levels": {"warning": 150},
        "message": "{job} ran {runs} times within a day; {expected} runs were due",
    },
    "beat_down": {
        "alertname": "BeatDown",
        "type": "beat_down",
        "source": "schedule.beat_down",
        "levels": {"critical": 60},
        "message": "no beat has led since {since}, for {value} s; nothing is scheduled",
    },
}
"""Rule id -> row; config/alert_rules.toml states the same rows, and a test holds the two in step."""
