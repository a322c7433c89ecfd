"""`[health]`: what is measured and from when on it is no longer normal."""

from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

from app.core.settings_file import Section


class DiskSettings(Section):
    """`[health.disk]`: the words normal, warning and critical of the disk check; alerts have rules of their own."""

    mounts: tuple[Path, ...] = ()
    """Folders whose file systems are measured; empty means those of the program's home and of the retention roots."""
    warning_percent: float = Field(default=80, ge=1, le=100)
    """Warning above this share of the space that ordinary users can have (percent, as `df` shows it)."""
    critical_percent: float = Field(default=90, ge=1, le=100)
    inodes_warning_percent: float = Field(default=80, ge=1, le=100)
    inodes_critical_percent: float = Field(default=90, ge=1, le=100)

    @field_validator("mounts")
    @classmethod
    def _absolute(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        for path in value:
            if not path.is_absolute():
                raise ValueError(f"{str(path)!r} is no full path; write it from / on")
        return value

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for kind in ("", "inodes_"):
            warning, critical = getattr(self, f"{kind}warning_percent"), getattr(self, f"{kind}critical_percent")
            if warning >= critical:
                raise ValueError(f"{kind}warning_percent {warning:g} must be below {kind}critical_percent {critical:g}")
        return self


class HealthSettings(Section):
    """`[health]`."""

    interval_s: int | None = Field(default=None, ge=10, le=86400)
    """Seconds between health checks; not set: the schedule's cron line holds."""
    cpu_percent: float = Field(default=90, ge=1, le=100)
    """Warning above this use of all processors together."""
    memory_percent: float = Field(default=80, ge=1, le=100)
    """Warning above this share of memory that can't be had any more."""
    disk: DiskSettings = Field(default_factory=DiskSettings)
