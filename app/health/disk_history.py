"""What was used of each file system: kept in the database, and in the day's reports where it is away."""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy.exc import SQLAlchemyError

from app.core.errors import GengfuError
from app.core.redaction import redact
from app.health.disk_report import append_disk_report, disk_report_path, read_disk_report
from app.health.forecast import HISTORY, Forecast, Sample, forecast
from app.health.samples import SampleStore, whole_second

_log = structlog.get_logger("gengfu.health")
_GIB, _MIB = 1024**3, 1024**2
_NAME_CHARACTERS = 200
_BYTES, _INODES = "disk.used_bytes", "disk.used_inodes"
_FIGURES = {_BYTES: "used_bytes", _INODES: "inodes_used"}


@dataclass(frozen=True, kw_only=True)
class DiskHistory:
    """The samples of all file systems. No method raises for a database that is away: the disk check works without."""

    store: SampleStore
    reports: Path
    """Folder of the daily reports."""
    zone: ZoneInfo

    def keep(self, result: Mapping[str, Any], at: datetime) -> str | None:
        """Keep what a disk check measured. Returns in one line why it could not; None where it was kept."""
        try:
            self.store.record(_values(result), at)
        except (GengfuError, SQLAlchemyError) as error:
            return _one_line(error)
        return None

    def keep_anywhere(self, result: Mapping[str, Any], at: datetime) -> None:
        """Keep it in the day's report where the database can't be written. Raises OutputUnwritable."""
        if why := self.keep(result, at):
            _log.warning("disk_sample_kept_in_report", error=why)
            local = at.astimezone(self.zone)
            append_disk_report(disk_report_path(self.reports, local), result, local)

    def with_forecasts(self, result: Mapping[str, Any], at: datetime, *, away: str | None = None) -> dict[str, Any]:
        """Return the result of `check_disks` with `forecast` and `inode_forecast` of each mount, and `history_errors`.

        `at` is when it was measured. `away` tells why the database can't be asked; the reports then serve alone. A
        forecast has full_at, hours_left, rate_bytes_per_hour (or rate_inodes_per_hour), method, confidence, samples,
        verdict and reason; see `app.health.forecast`. `inode_forecast` is None where there is no fixed number of
        inodes. `history_errors` has a line for each source of samples that could not be read.
        """
        samples: dict[str, list[Sample]] = {name: [] for name in _values(result)}
        errors = [*self._add_stored(samples, at, away), *self._add_reported(samples, at)]
        mounts = [self._judged(mount, samples, at) for mount in result["mounts"]]
        fullest = [new for new, old in zip(mounts, result["mounts"], strict=True) if old is result["disk_info"]]
        return {**result, "mounts": mounts, "disk_info": fullest[0] if fullest else None, "history_errors": errors}

    def _judged(self, mount: Mapping[str, Any], samples: Mapping[str, list[Sample]], at: datetime) -> dict[str, Any]:
        space = _forecast(mount, at, samples[_series(_BYTES, mount)], _shown_bytes, "used_bytes", "free_bytes")
        judged = {**mount, "forecast": self._told(space, "rate_bytes_per_hour"), "inode_forecast": None}
        if mount["inodes_used"] is not None:
            inodes = _forecast(mount, at, samples[_series(_INODES, mount)], _shown_inodes, "inodes_used", "inodes_free")
            judged["inode_forecast"] = self._told(inodes, "rate_inodes_per_hour")
        return judged

    def _told(self, found: Forecast, rate: str) -> dict[str, Any]:
        local = found.full_at and found.full_at.astimezone(self.zone).isoformat(timespec="minutes")
        return {
            "full_at": local,
            "hours_left": found.hours_left,
            rate: None if found.rate_per_hour is None else round(found.rate_per_hour),
            "method": found.method,
            "confidence": found.confidence,
            "samples": found.samples,
            "verdict": found.verdict,
            "reason": found.reason,
        }

    def _add_stored(self, samples: dict[str, list[Sample]], at: datetime, away: str | None) -> list[str]:
        if away is not None:
            return [away]
        try:
            stored = self.store.read(samples, at - HISTORY)
        except (GengfuError, SQLAlchemyError) as error:
            return [_one_line(error)]
        for name, found in stored.items():
            samples[name] += found
        return []

    def _add_reported(self, samples: dict[str, list[Sample]], at: datetime) -> list[str]:
        """Add what the days' reports tell: what was measured while the database was away stands only there."""
        errors: list[str] = []
        today = at.astimezone(self.zone)
        for back in range(HISTORY.days + 1):
            path = disk_report_path(self.reports, today - timedelta(days=back))
            try:
                reported = [(when, _values({"mounts": mounts})) for when, mounts in read_disk_report(path)]
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                errors.append(f"{path} can't be read: {type(error).__name__}: {_one_line(error)}")
                continue
            for when, values in reported:
                for name in values.keys() & samples.keys():
                    samples[name].append((when, values[name]))
        return errors


def _forecast(
    mount: Mapping[str, Any], at: datetime, samples: list[Sample], shown: Callable[[float], str], used: str, free: str
) -> Forecast:
    if mount["read_only"]:
        return Forecast(verdict="steady", reason="mounted read-only: nothing can be written", samples=len(samples))
    return forecast(samples, whole_second(at), used=mount[used], free=mount[free], shown=shown)


def _values(result: Mapping[str, Any]) -> dict[str, float]:
    return {
        _series(figure, mount): float(used)
        for mount in result["mounts"]
        for figure, key in _FIGURES.items()
        if (used := mount.get(key)) is not None
    }


def _series(figure: str, mount: Mapping[str, Any]) -> str:
    """Return the name of a mount's series: of limited length, and without the lone surrogates of undecodable names."""
    name = os.fsencode(mount["mount"]).decode("utf-8", "backslashreplace")
    if len(name) > _NAME_CHARACTERS:
        name = f"{name[:_NAME_CHARACTERS]}~{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    return f"{figure}:{name}"


def _shown_bytes(amount: float) -> str:
    if abs(amount) >= _GIB:
        return f"{amount / _GIB:,.1f} GB"
    return f"{amount / _MIB:,.0f} MB".replace("-0 MB", "0 MB")


def _shown_inodes(amount: float) -> str:
    return f"{round(amount):,} inodes"


def _one_line(error: Exception) -> str:
    return redact(" ".join(str(error).split()))
