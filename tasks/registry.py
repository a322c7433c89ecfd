"""The one registry of jobs: name, schedule, queue, priority and limits stand beside the function they concern."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from msgspec import structs

from app.core.errors import UnknownJob
from app.core.settings_file import nearest
from app.schedule.job_spec import JobSpec, MissedPolicy
from app.schedule.settings import checked_cron
from app.service.settings import QUEUES
from app.settings import Settings

if TYPE_CHECKING:
    from app.execution.runner import Outcome

TASK_MODULES = ("tasks.monitoring_tasks", "tasks.receipt_tasks", "tasks.file_tasks", "tasks.health_tasks")

_jobs: dict[str, "Job"] = {}


class Job:
    """A job function under its job name. `.apply()`, `.delay()` and all else of a Celery task work on it.

    The Celery task behind it is made when it is first asked for, so that reading the registry needs no Celery.
    """

    def __init__(self, spec: JobSpec, function: "Callable[..., Outcome]") -> None:
        self.spec = spec
        self.function = function
        self.__doc__ = function.__doc__
        self.__name__ = spec.name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(import_module("tasks.celery_app").task_of(self), name)

    def __call__(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Run the job here and now and return its result."""
        result: dict[str, Any] = self.apply(args=args, kwargs=kwargs).result
        return result


def job(  # noqa: PLR0913 - one keyword for each thing a job may declare
    name: str,
    *,
    queue: str,
    priority: int,
    cron: str | None = None,
    soft_time_limit: int = 600,
    missed: MissedPolicy = "run_once",
    max_age_s: int = 20 * 3600,
    minimum_s: float | None = None,
    enabled: bool = True,
) -> "Callable[[Callable[..., Outcome]], Job]":
    """Declare a job. Its function takes the context first, then the arguments a message may carry.

    `missed` says what becomes of slots that passed while no beat was there, `max_age_s` how late one may still run,
    `minimum_s` (seconds) how long a run takes at least: one that succeeds sooner is told as too short.
    A job that is not `enabled` runs by schedule only where `[schedule.jobs.NAME]` switches it on.
    The hard limit follows the soft one by a minute: time to write the report of what was done.
    """
    if queue not in QUEUES:
        raise ValueError(f"job {name!r} names queue {queue!r}; there are {', '.join(QUEUES)}")
    if cron is not None:
        checked_cron(cron)

    def declare(function: "Callable[..., Outcome]") -> Job:
        spec = JobSpec(
            name=name,
            task_name=f"{function.__module__}.{function.__name__}",
            cron=cron,
            queue=queue,
            priority=priority,
            soft_time_limit=soft_time_limit,
            time_limit=soft_time_limit + 60,
            missed=missed,
            max_age_s=max_age_s,
            minimum_s=minimum_s,
            enabled=enabled,
            summary=(function.__doc__ or "").strip().split("\n")[0],
        )
        declared = _jobs[name] = Job(spec, function)
        return declared

    return declare


def all_jobs() -> dict[str, Job]:
    """Return every declared job by name, in the order of declaration."""
    for module in TASK_MODULES:
        import_module(module)
    return dict(_jobs)


def find_job(name: str) -> Job:
    """Return the job of this name. Raises UnknownJob with the nearest known name."""
    jobs = all_jobs()
    if name not in jobs:
        raise UnknownJob(f"there is no job {name!r}{nearest(name, jobs)}; `celery_beat_manager.py list` shows all")
    return jobs[name]


def effective_specs(settings: Settings) -> dict[str, JobSpec]:
    """Return what is declared about each job with the overrides of `[schedule.jobs.NAME]` applied.

    Raises SettingsError where an override names a job or a queue that does not exist.
    """
    jobs = all_jobs()
    settings.schedule.refuse_unknown(jobs, QUEUES)
    return {name: _overridden(declared.spec, settings) for name, declared in jobs.items()}


def scheduled_specs(settings: Settings) -> Iterator[JobSpec]:
    """Yield the jobs that beat is to send: those with a time, not switched off."""
    yield from (spec for spec in effective_specs(settings).values() if spec.cron and spec.enabled)


def minimum_durations(settings: Settings) -> dict[str, float]:
    """Return the seconds that a run of a job takes at least, for each job that has such a limit."""
    specs = effective_specs(settings).values()
    return {spec.name: spec.minimum_s for spec in specs if spec.minimum_s is not None}


def _overridden(spec: JobSpec, settings: Settings) -> JobSpec:
    override = settings.schedule.jobs.get(spec.name)
    changes = {} if override is None else {k: v for k, v in structs.asdict(override).items() if v is not None}
    spec = replace(spec, **changes)
    return replace(spec, enabled=spec.enabled and settings.schedule.enabled)
