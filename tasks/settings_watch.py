"""Lets a running beat follow the settings files: another schedule needs no restart."""

from collections.abc import Callable, Mapping
from typing import Protocol
from zoneinfo import ZoneInfo

import structlog

from app.core.clock import Clock
from app.core.errors import GengfuError
from app.core.file_watch import FileWatch
from app.schedule.job_spec import JobSpec
from app.settings import CONFIG_FILES, config_folder, load
from tasks.registry import scheduled_specs

log = structlog.get_logger("gengfu.beat")

_LONGEST_REFUSAL = 300


class Follower(Protocol):
    """What keeps a schedule: the dispatcher."""

    def follow(self, specs: Mapping[str, JobSpec], zone: ZoneInfo) -> None:
        """Keep this schedule from the next tick on."""
        ...


class SettingsWatch:
    """Hands each valid change of the schedule to `follower`; of an invalid one it tells, and the old stays in force.

    `refused` is called with why the present files are not followed, or None where they are.
    """

    def __init__(
        self,
        specs: Mapping[str, JobSpec],
        zone: ZoneInfo,
        *,
        follower: Follower,
        clock: Clock,
        refused: Callable[[str | None], None],
    ) -> None:
        self._specs, self._zone = specs, zone
        self._follower = follower
        self._refused = refused
        self._files = FileWatch([config_folder() / name for name in CONFIG_FILES], clock)

    def look(self) -> None:
        """Follow the files if they were changed."""
        if not self._files.changed():
            return
        try:
            settings = load()
            specs, zone = {spec.name: spec for spec in scheduled_specs(settings)}, settings.zone
        except GengfuError as error:
            log.error("settings_refused", error=str(error))  # noqa: TRY400 - told once, in one line
            self._refused("; ".join(str(error).splitlines())[:_LONGEST_REFUSAL])
            return
        self._refused(None)
        names = sorted(name for name in {*specs, *self._specs} if specs.get(name) != self._specs.get(name))
        if not names and zone == self._zone:
            return
        log.info("schedule_changed", jobs=names, timezone=zone.key)
        self._specs, self._zone = specs, zone
        self._follower.follow(specs, zone)
