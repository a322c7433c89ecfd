"""The beat manager: start and stop beat, see what is due and what became of it, run a job by hand.

`status` and `list` read locks and the database only, so that they tell the truth while the broker is down.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from app.cli import ErrorsInOneLine, leave
from app.core.errors import ExitCode, GengfuError, Locked, OutputUnwritable

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from app.context import Context
    from app.schedule.runs import RunRecord
    from app.views import BeatStatus, JobLine

_START_WITHIN_S = 20.0
_STOP_WITHIN_S = 20.0
_POLL_S = 0.1
_PUBLISH_TWICE = {"max_retries": 1, "interval_start": 0.0, "interval_step": 0.2}
as_json_option = click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")


@click.group(cls=ErrorsInOneLine, context_settings={"help_option_names": ["-h", "--help"]})
def manager() -> None:
    """Celery beat under control: start, stop, status, list, logs, run."""


@manager.command()
@click.option("--detach", is_flag=True, help="Go on in the background; output goes to logs/celerybeat.log.")
def start(detach: bool) -> None:
    """Start beat, in the foreground unless --detach is given."""
    _refuse_wrong_settings()
    _refuse_second_beat()
    if not detach:
        _become_beat()
    pid = _start_detached()
    click.echo(f"beat runs as process {pid}")


@manager.command()
def foreground() -> None:
    """Start beat in the foreground; Ctrl-C ends it."""
    _refuse_wrong_settings()
    _refuse_second_beat()
    _become_beat()


@manager.command()
def stop() -> None:
    """End beat and wait until it has gone."""
    status = _beat()
    if status.holder is None:
        click.echo("beat does not run")
        return
    keeper = _keeper()
    if keeper is not None:
        raise Locked(f"beat is kept running by `gengfu up` (process {keeper}); end that one, or use restart")
    _end(status)
    click.echo(f"beat (process {status.pid}) has ended")


@manager.command()
def restart() -> None:
    """End beat, wait until it has gone, start it again."""
    status = _beat()
    keeper = _keeper()
    if status.holder is not None:
        _end(status)
    pid = _wait_for_beat(other_than=status.pid) if keeper is not None else _start_detached()
    click.echo(f"beat runs as process {pid}" + (" (started again by `gengfu up`)" if keeper is not None else ""))


@manager.command()
@as_json_option
def status(as_json: bool) -> None:
    """Tell whether beat is at work, and of each job its next run and its last result; exit 0 only if beat ticks."""
    with _context() as context:
        beat = _beat(context)
        latest, blind = _latest(context)
        lines = _job_lines(context, latest)
        facts = _status_facts(context, beat, lines, blind)
        if as_json:
            click.echo(json.dumps(facts, ensure_ascii=False, default=str))
        else:
            _print_status(context, beat, lines, facts)
    leave(ExitCode.OK if beat.state == "running" else ExitCode.FAILED)


@manager.command(name="list")
@as_json_option
def list_jobs(as_json: bool) -> None:
    """List every job: when, next run, queue, priority (9 = most urgent), state."""
    with _context() as context:
        lines = _job_lines(context, {})
        if as_json:
            click.echo(json.dumps([_json_line(line) for line in lines], ensure_ascii=False, default=str))
            return
        table = _table("job", "when", "next run", "queue", "prio", "state")
        for line in lines:
            when = line.words[:1].lower() + line.words[1:]
            table.add_row(
                line.name, when, _local(line.next_run, context.zone), line.queue, str(line.priority), line.state
            )
        _console().print(table)


@manager.command()
@click.option("--lines", "-n", default=50, show_default=True, type=click.IntRange(0, 100_000), help="How many lines.")
@click.option("--follow", "-f", is_flag=True, help="Go on with new lines, over rotations too; Ctrl-C ends it.")
@click.option(
    "--level",
    default="debug",
    type=click.Choice(["debug", "info", "warning", "error", "critical"], case_sensitive=False),
    help="Only lines of this level and above.",
)
def logs(lines: int, follow: bool, level: str) -> None:
    """Show beat's log."""
    from app.observability import log_view
    from app.settings import home_folder

    path = home_folder() / "logs" / "celerybeat.log"
    if not path.exists() and not follow:
        raise GengfuError(f"{path} does not exist yet; start beat with `celery_beat_manager.py start`")
    for line in log_view.last_lines(path, lines):
        if log_view.at_least(line, level):
            click.echo(log_view.readable(line))
    if follow:
        for line in log_view.follow(path):
            if log_view.at_least(line, level):
                click.echo(log_view.readable(line))


@manager.command()
@click.argument("name")
@click.option("--wait", is_flag=True, help="Wait for the result and print it; exit non-zero if the job failed.")
@click.option("--timeout", default=3600.0, show_default=True, help="With --wait: give up after this many seconds.")
@as_json_option
def run(name: str, wait: bool, timeout: float, as_json: bool) -> None:
    """Send a job to its queue now."""
    with _context() as context:
        run_id = _publish(name)
        if not wait:
            click.echo(json.dumps({"run_id": run_id, "job": name}) if as_json else f"sent {name} as run {run_id}")
            return
        record = _await(context, run_id, name, timeout)
        if as_json:
            click.echo(json.dumps(asdict(record), ensure_ascii=False, default=str))
        else:
            click.echo(_told(record))
    leave(ExitCode.OK if record.state in {"succeeded", "skipped"} else ExitCode.FAILED)


@manager.command()
def night() -> None:
    """Run the jobs of a night once, now, through the workers, and print a summary."""
    from app.cli._night import NIGHT, summary

    records = {}
    with _context() as context:
        for name in NIGHT:
            click.echo(f"running {name} ...")
            records[name] = _await(context, _publish(name), name, timeout=3600.0)
        for line in summary(context.settings.paths, {name: record.result or {} for name, record in records.items()}):
            click.echo(line)
    leave(ExitCode.FAILED if any(record.state == "failed" for record in records.values()) else ExitCode.OK)


@manager.command()
def clear() -> None:
    """Forget when each job was last sent; beat must not run. Nothing that was missed is then caught up."""
    import shelve

    _refuse_second_beat()
    from app.settings import home_folder

    stored_times = home_folder() / "var" / "run" / "celerybeat-schedule"
    if not list(stored_times.parent.glob(f"{stored_times.name}*")):
        click.echo("forgot the times of 0 jobs: beat has not run here yet")
        return
    with shelve.open(str(stored_times)) as stored:  # noqa: S301 - beat's own file
        entries = len(stored.get("entries", {}))
        stored.clear()
    click.echo(f"forgot the times of {entries} jobs")


@contextmanager
def _context() -> "Iterator[Context]":
    from app.context import open_context

    with open_context() as context:
        yield context


def _beat(context: "Context | None" = None) -> "BeatStatus":
    from app.core.clock import SystemClock
    from app.settings import home_folder
    from app.views import beat_status

    var = context.settings.paths.var if context else home_folder() / "var"
    return beat_status(var, (context.clock if context else SystemClock()).now())


def _keeper() -> int | None:
    from app.service.process_lock import ProcessLock
    from app.settings import home_folder

    holder = ProcessLock.read(home_folder() / "var" / "run" / "up.lock")
    return holder.pid if holder else None


def _refuse_second_beat() -> None:
    status = _beat()
    if status.holder is not None:
        raise Locked(f"beat already runs as process {status.pid} since {status.since:%Y-%m-%d %H:%M:%S} UTC")


def _refuse_wrong_settings() -> None:
    from app.settings import load
    from tasks.registry import effective_specs

    effective_specs(load())


def _beat_process() -> tuple[list[str], dict[str, str]]:
    from app.service.commands import beat_command, packages_on_path
    from app.settings import load

    return beat_command(load().logging.level), {**os.environ, **packages_on_path()}


def _become_beat() -> None:
    command, environment = _beat_process()
    sys.stdout.flush()
    os.execve(sys.executable, command, environment)  # noqa: S606 - this very process becomes beat


def _start_detached() -> int:
    from app.settings import home_folder

    log = home_folder() / "logs" / "celerybeat.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        sink = log.open("ab")
    except OSError as error:
        raise OutputUnwritable(f"can't write {log}: {error.strerror}; free space or fix its permissions") from error
    command, environment = _beat_process()
    with sink:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env=environment, start_new_session=True
        )
    return _wait_for_beat(process=process)


def _wait_for_beat(*, process: "subprocess.Popen[bytes] | None" = None, other_than: int | None = None) -> int:
    deadline = time.monotonic() + _START_WITHIN_S
    while time.monotonic() < deadline:
        status = _beat()
        if status.pid is not None and status.pid != other_than:
            return status.pid
        if process is not None and process.poll() is not None:
            raise GengfuError(f"beat ended with exit code {process.returncode}; see `celery_beat_manager.py logs`")
        time.sleep(_POLL_S)
    raise GengfuError(f"beat did not start within {_START_WITHIN_S:g} s; see `celery_beat_manager.py logs`")


def _end(status: "BeatStatus") -> None:
    import signal

    if status.holder is None:
        return
    # Graceful, then firm.
    for number in (signal.SIGTERM, signal.SIGKILL):
        status.holder.signal(number)
        if status.holder.wait_gone(_STOP_WITHIN_S):
            return
    raise GengfuError(f"beat (process {status.pid}) does not end, not even after SIGKILL; look at the machine")


def _latest(context: "Context") -> "tuple[dict[str, RunRecord], str | None]":
    """The newest run of each job, or nothing and why."""
    try:
        context.prepare_own_tables()
        return context.history.latest(), None
    except GengfuError as error:
        return {}, str(error)


def _job_lines(context: "Context", latest: "dict[str, RunRecord]") -> "list[JobLine]":
    from app.views import job_lines
    from tasks.registry import effective_specs

    return job_lines(effective_specs(context.settings).values(), context.zone, context.clock.now(), latest)


def _status_facts(context: "Context", beat: "BeatStatus", lines: "list[JobLine]", blind: str | None) -> dict[str, Any]:
    from app.views import worker_statuses

    return {
        "beat": {key: value for key, value in asdict(beat).items() if key != "holder"},
        "workers": [asdict(worker) for worker in worker_statuses(context.settings.paths.var)],
        "jobs": [_json_line(line) for line in lines],
        "not_seen": [f"last runs: {blind}"] if blind else [],
    }


def _json_line(line: "JobLine") -> dict[str, Any]:
    return {**asdict(line), "last": asdict(line.last) if line.last else None}


def _print_status(context: "Context", beat: "BeatStatus", lines: "list[JobLine]", facts: Mapping[str, Any]) -> None:
    click.secho(_beat_line(beat), fg="green" if beat.state == "running" else "red")
    for worker in facts["workers"]:
        click.echo(f"worker {worker['name']}: process {worker['pid']}, queues {', '.join(worker['queues'])}")
    if not facts["workers"]:
        click.secho("no worker of this home is ready on this machine", fg="yellow")
    table = _table("job", "next run", "last run", "late", "result")
    for line in lines:
        late = "" if line.lateness_s is None else f"{line.lateness_s:.0f} s"
        last = _local(line.last.started_at, context.zone) if line.last else "-"
        table.add_row(line.name, _local(line.next_run, context.zone), last, late, _result_word(line))
    _console().print(table)
    for line in facts["not_seen"]:
        click.secho(f"not seen: {line}", fg="yellow", err=True)


def _beat_line(beat: "BeatStatus") -> str:
    if beat.state == "stopped":
        return "beat does not run; start it with `celery_beat_manager.py start --detach` or `gengfu up`"
    age = "never" if beat.tick_age_s is None else f"{beat.tick_age_s:.0f} s ago"
    words = "runs" if beat.state == "running" else "is there but does not tick"
    return f"beat {words}: process {beat.pid} on {beat.host} since {beat.since:%Y-%m-%d %H:%M:%S} UTC, last tick {age}"


def _result_word(line: "JobLine") -> str:
    return "" if line.last is None else line.last.state


def _local(instant: datetime | None, zone: "ZoneInfo") -> str:
    return "-" if instant is None else f"{instant.astimezone(zone):%m-%d %H:%M}"


def _table(*columns: str) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in columns:
        table.add_column(name, overflow="fold", no_wrap=name in {"job", "next run", "last run", "queue"})
    return table


def _console() -> Any:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else max(80, shutil.get_terminal_size((100, 24)).columns))


def _publish(name: str) -> str:
    from kombu.exceptions import OperationalError

    from app.core.errors import BrokerUnavailable
    from app.core.redaction import redact
    from tasks.base import process_context
    from tasks.registry import find_job

    declared = find_job(name)
    try:
        sent = declared.apply_async(retry=True, retry_policy=_PUBLISH_TWICE)
    except (OperationalError, OSError) as error:
        where = redact(process_context().broker_url)
        raise BrokerUnavailable(
            f"no broker answers at {where}; start `gengfu up` or set CELERY_BROKER_URL ({error})"
        ) from error
    return str(sent.id).replace("-", "")


def _await(context: "Context", run_id: str, name: str, timeout: float) -> "RunRecord":
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    deadline = time.monotonic() + timeout
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, transient=True, disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task(f"{name}: waiting for a worker", total=None)
        while time.monotonic() < deadline:
            record = context.history.get(run_id)
            if record is not None and record.finished_at is not None:
                return record
            if record is not None:
                progress.update(bar, description=f"{name}: running on {record.worker}")
            time.sleep(_POLL_S)
    raise GengfuError(f"{name} (run {run_id}) did not end within {timeout:g} s; is a worker running? see `status`")


def _told(record: "RunRecord") -> str:
    from app.cli._night import told

    return f"{told(record.job, record.result or {})}\n  run {record.id}: {record.state} in {record.seconds} s"


if __name__ == "__main__":
    manager(prog_name="celery_beat_manager.py")
