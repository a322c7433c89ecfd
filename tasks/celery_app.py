"""The Celery instance: `celery -A tasks worker`, `celery -A tasks beat`."""

import sys
from typing import Any

from celery import Celery, Task, signals
from celery.utils.log import get_multiprocessing_logger

from app.context import Context
from app.execution.confinement import confine_process
from app.observability.structured_logs import configure_logs
from app.service.settings import QUEUES
from app.watch.watchman import WorkerFacts
from config.celery_settings import celery_settings, is_redis, transport_priority
from tasks import ack_guard, base, broker_guard, monitor_thread, visibility, worker_sign
from tasks.registry import Job, all_jobs, effective_specs


class PrioritisedTask(Task):  # type: ignore[misc] # Celery ships no types
    """A task for which `apply_async(priority=...)` means the same on every broker: 9 is the most urgent."""

    abstract = True

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Publish; as Celery's, with `priority` in our meaning."""
        # A retry repeats the options of a published message: its priority is the transport's already.
        if "priority" in options and not options.get("retries"):
            options["priority"] = transport_priority(options["priority"], redis=is_redis(self.app.conf.broker_url))
        return super().apply_async(args, kwargs, **options)


def make_app(context: Context) -> Celery:
    """Build an instance from the settings, with one Celery task for each job of the registry."""
    made = Celery("tasks", task_cls=PrioritisedTask)
    made.conf.update(celery_settings(context.settings, context.broker_url))
    specs = effective_specs(context.settings)
    for name, declared in all_jobs().items():
        _bind(made, declared, specs[name])
    redis = is_redis(context.broker_url)
    made.conf.task_routes = {
        spec.task_name: {"queue": spec.queue, "priority": transport_priority(spec.priority, redis=redis)}
        for spec in specs.values()
    }
    if redis:
        broker_guard.install()
        ack_guard.install()
        made.steps["consumer"].add(visibility.RenewVisibility)
    return made


def _bind(made: Celery, declared: Job, spec: Any) -> None:
    def entry(self: Task, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return base.run_in_task(self, declared, args, kwargs)

    entry.__doc__ = declared.__doc__
    entry.__module__, entry.__name__ = spec.task_name.rsplit(".", 1)
    made.task(
        entry,
        name=spec.task_name,
        bind=True,
        shared=False,  # else every other instance in the process would get it too
        typing=False,  # arguments are checked where a message arrives, too: base.run_in_task
        soft_time_limit=spec.soft_time_limit,
        time_limit=spec.time_limit,
        max_retries=base.MOST_RETRIES,
    )


def task_of(declared: Job) -> Task:
    """Return the Celery task behind a job."""
    return app.tasks[declared.spec.task_name]


@signals.setup_logging.connect(weak=False)  # type: ignore[untyped-decorator] # Celery ships no types
def _set_up_logs(**_facts: Any) -> None:
    """Keep Celery from configuring the root logger; worker and beat write to their own files."""
    settings = base.process_context().settings
    configure_logs("beat" if "beat" in sys.argv else "worker", settings.logging, settings.paths.logs)
    # The pool tells of children that were killed, and tells it to stderr: a line in the log without time or form.
    get_multiprocessing_logger().propagate = True


@signals.celeryd_after_setup.connect(weak=False)  # type: ignore[untyped-decorator] # Celery ships no types
def _serve_all_queues_unless_told(instance: Any, **_facts: Any) -> None:
    """`celery -A tasks worker` without -Q serves all four queues."""
    if not instance.app.amqp.queues.consume_from:
        instance.app.amqp.queues.select(QUEUES)


@signals.worker_ready.connect(weak=False)  # type: ignore[untyped-decorator] # Celery ships no types
def _tell_ready(sender: Any, **_facts: Any) -> None:
    name, queues = str(sender.hostname), sorted(sender.app.amqp.queues.consume_from)
    worker_sign.leave(name, queues)
    base.tell_what_is_missing()
    monitor_thread.start(worker=WorkerFacts(name=name, queues=tuple(queues), still_s=sender.main_loop.still_s))


@signals.worker_process_init.connect(weak=False)  # type: ignore[untyped-decorator] # Celery ships no types
def _forget_the_parents_sign(**_facts: Any) -> None:
    worker_sign.drop()
    monitor_thread.forget()


@signals.worker_process_init.connect(weak=False)  # type: ignore[untyped-decorator] # Celery ships no types
def _confine_child(**_facts: Any) -> None:
    confine_process(base.process_context())


@signals.worker_shutdown.connect(weak=False)  # type: ignore[untyped-decorator] # Celery ships no types
def _tell_gone(**_facts: Any) -> None:
    monitor_thread.stop()
    worker_sign.drop()


app = make_app(base.process_context())
app.set_default()
