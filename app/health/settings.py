"""`[health]`: what is measured and from when on it is no longer normal."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from app.core.settings_file import Check, Section


def _absolute(value: tuple[Path, ...]) -> tuple[Path, ...]:
    for path in value:
        if not path.is_absolute():
            raise ValueError(f"{str(path)!r} is no full path; write it from / on")
    return value


Percent = Annotated[float, Meta(ge=1, le=100)]


class DiskSettings(Section):
    """`[health.disk]`: the words normal, warning and critical of the disk check; alerts have rules of their own."""

    mounts: Annotated[tuple[Path, ...], Check(_absolute)] = ()
    """Folders whose file systems are measured; empty means those of the program's home and of the retention roots."""
    warning_percent: Percent = 80
    """Warning above this share of the space that ordinary users can have (percent, as `df` shows it)."""
    critical_percent: Percent = 90
    inodes_warning_percent: Percent = 80
    inodes_critical_percent: Percent = 90

    def __post_init__(self) -> None:
        for kind in ("", "inodes_"):
            warning, critical = getattr(self, f"{kind}warning_percent"), getattr(self, f"{kind}critical_percent")
            if warning >= critical:
                raise ValueError(f"{kind}warning_percent {warning:g} must be below {kind}critical_percent {critical:g}")


class HealthSettings(Section):
    """`[health]`."""

    interval_s: Annotated[int, Meta(ge=1, le=60)] = 30
    """Seconds between two looks of the monitor, which judges what it sees by the alert rules. Workers sign as often:
    with more than a minute between, each would be called down after a sign that came late."""
    cpu_percent: Percent = 90
    """Warning above this use of all processors together."""
    memory_percent: Percent = 80
    """Warning above this share of memory that can't be had any more."""
    disk: DiskSettings = DiskSettings()
