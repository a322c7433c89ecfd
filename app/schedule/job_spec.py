"""What is declared about a scheduled job."""

from dataclasses import dataclass


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
    enabled: bool = True
    summary: str = ""
