"""What is declared about a scheduled job."""

from dataclasses import dataclass
from typing import Literal
from zoneinfo import ZoneInfo

MissedPolicy = Literal["run_once", "run_each", "skip"]


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """What is declared about a job. Limits are seconds; priority 9 is the most urgent on every broker."""

    name: str
    task_name: str
    cron: str | None
    queue: str
    priority: int
    soft_time_limit: int
    time_limit: int
    timezone: str = ""
    """IANA name of the zone in which `cron` is meant; empty: the general one."""
    enabled: bool = True
    summary: str = ""
    missed: MissedPolicy = "run_once"
    """What becomes of slots that passed while no beat was there: the newest runs, each runs, none does."""
    max_age_s: int = 20 * 3600
    """A missed slot older than this is not run any more."""
    start_grace_s: int = 60
    """A slot at most this late was not missed."""
    minimum_s: float | None = None
    """A run that succeeds in less can't have done its work; None: it may be as short as it likes."""

    def zone(self, general: ZoneInfo) -> ZoneInfo:
        """Return the zone in which `cron` is meant: the job's own, or `general` where it names none."""
        return ZoneInfo(self.timezone) if self.timezone else general
