"""`gengfu up`: everything on this machine under one supervisor."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from app.context import Context
    from app.service.children import Child
    from app.service.member import ChildState


@click.command()
@click.option("--night", is_flag=True, help="Once everything is ready, run the night's jobs once and print a summary.")
def command(night: bool) -> None:
    """Start the embedded broker (if no URL is set), the workers and beat; Ctrl-C ends everything."""
    from msgspec import structs

    from app.context import open_context
    from app.jobs import check_schedule
    from app.observability.structured_logs import configure_logs
    from app.service.process_lock import ProcessLock
    from app.service.supervisor import Supervisor

    with open_context() as context, contextlib.ExitStack() as stack:
        paths = context.settings.paths
        logging = context.settings.logging
        # What people should know is said in plain lines; the log has it all.
        quiet = structs.replace(logging, console="off" if logging.console == "auto" else logging.console)
        configure_logs("service", quiet, paths.logs)
        check_schedule(context.settings)
        context.prepare_own_tables()
        context.mark_log_folder()
        lock = stack.enter_context(ProcessLock(paths.var / "run" / "up.lock"))
        children = list(stack.enter_context(_children(context)))
        names = [child.name for child in children]
        watch = stack.enter_context(_Watch(lock, names, night=night))
        click.echo(f"starting {', '.join(names)}; logs in {paths.logs}")
        Supervisor(children, say=_say, on_change=watch.changed, on_turn=watch.collect).run()
    click.echo("everything has ended")


@contextlib.contextmanager
def _children(context: "Context") -> Iterator[list["Child"]]:
    from app.service.embedded_broker import EmbeddedBroker

    paths = context.settings.paths
    ours = [*_workers(context), _beat(context)]
    if context.settings.broker.url.get_secret_value():
        yield ours
        return
    with EmbeddedBroker(paths.var, paths.logs / "broker.log").reserved() as broker:
        yield [broker, *ours]


def _workers(context: "Context") -> Iterator["Child"]:
    from app.service.children import Child
    from app.service.commands import packages_on_path, worker_command
    from app.service.worker_lock import worker_lock_path

    settings = context.settings
    for pool in settings.service.workers:
        yield Child(
            name=pool.name,
            command=worker_command(pool, settings.logging.level),
            log_file=settings.paths.logs / "celery_worker.log",
            # SIGTERM then ends a worker within its grace instead of waiting for the job however long.
            env={"REMAP_SIGTERM": "SIGQUIT", **packages_on_path()},
            ready=partial(_held, worker_lock_path(settings.paths.var, pool.name)),
            ready_within_s=30.0,
            stop_grace_s=float(settings.service.stop_grace_s),
        )


def _beat(context: "Context") -> "Child":
    from app.schedule.beat_lock import beat_lock_paths
    from app.service.children import Child
    from app.service.commands import beat_command, packages_on_path

    settings = context.settings
    return Child(
        name="beat",
        command=beat_command(settings.logging.level),
        log_file=settings.paths.logs / "celerybeat.log",
        env=packages_on_path(),
        ready=partial(_held, *beat_lock_paths(settings.paths.var)),
        ready_within_s=30.0,
    )


def _held(*locks: Path) -> bool:
    from app.service.process_lock import ProcessLock

    return any(ProcessLock.read(lock) is not None for lock in locks)


class _Watch(contextlib.AbstractContextManager["_Watch"]):
    """Writes the children's state where `status` reads it, and starts the night's jobs once all are ready."""

    def __init__(self, lock: Any, names: list[str], *, night: bool) -> None:
        self._lock = lock
        self._names = names
        self._night_wanted = night
        self._night: subprocess.Popen[bytes] | None = None
        self._told = False

    def changed(self, states: list["ChildState"]) -> None:
        from dataclasses import asdict

        self._lock.update(children=[asdict(state) for state in states])
        if not self._told and all(state.phase == "running" for state in states):
            self._told = True
            click.echo(f"ready: {', '.join(self._names)} - Ctrl-C ends everything")
            if self._night_wanted:
                self._start_night()

    def collect(self) -> None:
        """Collect the night's process once it has ended: no zombie stays for as long as we run."""
        if self._night is not None:
            self._night.poll()

    def _start_night(self) -> None:
        import os
        import signal

        from app.service.children import die_with_parent
        from app.service.commands import packages_on_path

        self._night = subprocess.Popen(
            [sys.executable, "-m", "celery_beat_manager", "night"],
            env={**os.environ, **packages_on_path()},
            preexec_fn=die_with_parent(signal.SIGTERM),  # noqa: PLW1509 - one system call; see die_with_parent
        )

    def __exit__(self, *_facts: object) -> None:
        if self._night is not None:
            self._night.terminate()
            self._night.wait()


def _say(event: str, fields: Mapping[str, Any]) -> None:
    from app.service.supervisor import log_event

    log_event(event, fields)
    text = {
        "child_died": "{child} died ({end}) after {lived_s} s; started again in {restart_in_s} s",
        "child_killed": "{child} did not end within {after_s} s and was killed",
        "child_not_ready": "{child} is not ready after {after_s} s; still waiting",
        "child_not_started": "{child} could not be started: {error}; next try in {retry_in_s} s",
        "stop_asked": "ending {children}; again Ctrl-C ends it at once",
    }.get(event)
    if text is not None:
        click.echo(
            text.format(**{key: ", ".join(v) if isinstance(v, list) else v for key, v in fields.items()}), err=True
        )
