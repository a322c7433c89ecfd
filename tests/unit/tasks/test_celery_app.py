"""Celery's configuration and the wrapper around every job."""

from collections.abc import Iterator

import pytest
from celery import Celery
from celery.utils.log import get_multiprocessing_logger

from app.context import Context, make_context
from app.core.errors import DatabaseUnavailable
from app.execution.runner import Outcome
from tasks import base
from tasks import celery_app as worker
from tasks.celery_app import make_app
from tasks.registry import Job, all_jobs


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    made = make_context()
    monkeypatch.setattr(base, "_contexts", {0: made})
    yield made
    made.database.dispose()


@pytest.fixture
def celery_app(context: Context) -> Iterator[Celery]:
    with make_app(context) as made:
        yield made


def test_only_json_goes_in_and_out(celery_app: Celery) -> None:
    conf = celery_app.conf
    assert set(conf.accept_content) == set(conf.result_accept_content) == {"json"}
    assert {conf.task_serializer, conf.result_serializer, conf.event_serializer} == {"json"}


def test_a_lost_worker_loses_no_job_and_a_typing_error_makes_no_queue(celery_app: Celery) -> None:
    conf = celery_app.conf
    assert conf.task_acks_late
    assert conf.task_reject_on_worker_lost
    assert conf.worker_prefetch_multiplier == 1
    assert conf.task_create_missing_queues is False
    assert {queue.name for queue in conf.task_queues} == {"receipt", "file", "high_priority", "low_priority"}
    assert conf.broker_transport_options["visibility_timeout"] == 300


def test_remote_control_events_results_and_celerys_own_cleanup_are_off(celery_app: Celery) -> None:
    conf = celery_app.conf
    assert conf.worker_enable_remote_control is False
    assert conf.worker_send_task_events is False
    assert conf.task_ignore_result
    assert conf.result_backend is None
    assert conf.result_expires is None


def test_every_job_is_a_task_with_limits_and_the_route_of_the_registry(celery_app: Celery) -> None:
    for declared in all_jobs().values():
        task = celery_app.tasks[declared.spec.task_name]
        assert 0 < task.soft_time_limit < task.time_limit
        route = celery_app.amqp.router.route({}, task.name)
        assert route["queue"].name == declared.spec.queue
        assert route["priority"] == 9 - declared.spec.priority


def test_on_rabbitmq_the_priority_goes_out_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "amqp://guest:guest@127.0.0.1:5672//")
    context = make_context()
    with make_app(context) as made:
        route = made.amqp.router.route({}, "tasks.monitoring_tasks.check_disk_space")
        assert route["priority"] == 5
        assert made.conf.task_queues[0].queue_arguments == {"x-max-priority": 9}
    context.database.dispose()


def test_a_temporary_failure_of_a_delivered_message_is_tried_again_and_a_shell_run_is_not(
    celery_app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = all_jobs()["disk-space-check"]

    def away(_context: Context) -> Outcome:
        raise DatabaseUnavailable("the database is away")

    failing = Job(declared.spec, away)
    task = celery_app.tasks[declared.spec.task_name]
    retried: list[float] = []
    monkeypatch.setattr(task, "retry", lambda **options: retried.append(options["countdown"]) or RuntimeError("again"))
    task.push_request(id="1f0e", is_eager=True, retries=0)
    assert base.run_in_task(task, failing, (), {})["error"] == "the database is away"
    task.pop_request()
    for retries in (0, 1):
        task.push_request(id="1f0e", is_eager=False, called_directly=False, retries=retries)
        with pytest.raises(RuntimeError, match="again"):
            base.run_in_task(task, failing, (), {})
        task.pop_request()
    task.push_request(id="1f0e", is_eager=False, called_directly=False, retries=base.MOST_RETRIES)
    assert base.run_in_task(task, failing, (), {})["success"] is False
    task.pop_request()
    assert retried == [30, 60]


def test_a_child_that_was_killed_stands_in_the_log_as_all_else(
    context: Context, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert context
    monkeypatch.setattr(worker, "configure_logs", lambda *_facts: None)
    pool = get_multiprocessing_logger()
    monkeypatch.setattr(pool, "propagate", False)
    pool.error("unheard")
    worker._set_up_logs()
    pool.error("Process %r exited with %r", "ForkPoolWorker-1", "signal 9 (SIGKILL)")
    assert [record.getMessage() for record in caplog.records] == [
        "Process 'ForkPoolWorker-1' exited with 'signal 9 (SIGKILL)'"
    ]
