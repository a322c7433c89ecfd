"""The beat manager: start and stop beat, see what is due and what became of it, run a job by hand.

`status` and `list` read locks and the database only, so that they tell the truth while the broker is down.
"""

import atexit
import gc
import json
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from app.cli import ErrorsInOneLine, leave, uncollected
from app.core.errors import ExitCode, GengfuError, Locked, SettingsError

if TYPE_CHECKING:
    from app.context import Context
    from app.doctor import Finding
    from app.schedule.leases import LeaseHolder
    from app.schedule.runs import RunRecord
    from app.views import BeatStatus, JobLine, LeaderStatus

_POLL_S = 0.1
_PUBLISH_TWICE = {"max_retries": 1, "interval_start": 0.0, "interval_step": 0.2}
as_json_option = click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")


@click.group(cls=ErrorsInOneLine, context_settings={"help_option_names": ["-h", "--help"]})
def manager() -> None:
    """Celery beat under control: start and stop it, see what is due and what became of it, mend what is broken."""


@manager.command()
@click.option("--detach", is_flag=True, help="Go on in the background; output goes to logs/celerybeat.log.")
def start(detach: bool) -> None:
    """Start beat, in the foreground unless --detach is given."""
    from app.cli._beat_process import become_beat, refuse_second_beat, start_detached

    _refuse_wrong_settings()
    refuse_second_beat()
    if not detach:
        become_beat()
    pid = start_detached()
    click.echo(f"beat runs as process {pid}")


@manager.command()
def foreground() -> None:
    """Start beat in the foreground; Ctrl-C ends it."""
    from app.cli._beat_process import become_beat, refuse_second_beat

    _refuse_wrong_settings()
    refuse_second_beat()
    become_beat()


@manager.command()
def stop() -> None:
    """End every beat of this home on this machine and wait until they have gone."""
    from app.cli._beat_process import beat_here, end_all, keeper

    status = beat_here()
    if not status.holders:
        click.echo("beat does not run")
        return
    up = keeper()
    if up is not None:
        raise Locked(f"beat is kept running by `gengfu up` (process {up}); end that one, or use restart")
    for holder in end_all(status):
        click.echo(f"beat (process {holder.pid}) has ended")


@manager.command()
def restart() -> None:
    """End every beat of this home on this machine, wait until they have gone, start one again."""
    from app.cli._beat_process import beat_here, end_all, keeper, start_detached, wait_for_beat

    status = beat_here()
    up = keeper()
    end_all(status)
    pid = wait_for_beat(other_than=status.pid) if up is not None else start_detached()
    click.echo(f"beat runs as process {pid}" + (" (started again by `gengfu up`)" if up is not None else ""))


@manager.command()
@as_json_option
@uncollected()
def status(as_json: bool) -> None:
    """Tell who leads, whether it is at work, and of each job its next run and its last result.

    Exits 0 only if a beat of this home ticks or, where none runs here, the leading beat of another one is alive.
    """
    from app.core.clock import SystemClock
    from app.settings import home_folder
    from app.views import beat_status

    try:
        with _context() as context:
            kept = _tell_status(context, as_json=as_json)
    except SettingsError as error:
        # A beat that runs goes on with the settings it began with: that is to be seen just now.
        now = SystemClock().now()
        beat = beat_status(home_folder() / "var", now)
        kept = beat.state == "running"
        _print_facts(
            _status_facts(home_folder() / "var", beat, None, [], str(error)), ZoneInfo("UTC"), now, as_json=as_json
        )
    leave(ExitCode.OK if kept else ExitCode.FAILED)


@manager.command(name="list")
@as_json_option
@uncollected()
def list_jobs(as_json: bool) -> None:
    """List every job: state, next run in the job's own time zone, queue, priority (9: urgent), when it is due."""
    from app.cli._schedule_tables import print_jobs

    with _context() as context:
        seen, blind = _seen(context)
        lines = [asdict(line) for line in _job_lines(context, replace(seen, latest={}))]
        if as_json:
            _echo_json(lines)
        else:
            print_jobs(lines, context.zone)
    if blind:
        click.secho(f"not seen: which jobs are paused or running: {blind}", fg="yellow", err=True)


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
    from app.cli._schedule_tables import run_told

    with _context() as context:
        run_id = _publish(name)
        if not wait:
            click.echo(json.dumps({"run_id": run_id, "job": name}) if as_json else f"sent {name} as run {run_id}")
            return
        record = _await(context, run_id, name, timeout)
        if as_json:
            _echo_json(asdict(record))
        else:
            click.echo(run_told(record))
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
    """Close every slot that is due and not yet in work: nothing that was missed or waits is run any more."""
    from app.schedule.backlog import close_backlog
    from app.schedule.ledger import Ledger
    from tasks.registry import scheduled_specs

    with _context() as context:
        context.prepare_own_tables()
        specs = scheduled_specs(context.settings)
        closed = close_backlog(Ledger(context.database), specs, context.zone, context.clock.now())
    click.echo(f"closed {closed} slots that waited or were missed")


@manager.command()
@click.argument("name")
def pause(name: str) -> None:
    """Stop running a job on schedule; its slots are closed as skipped until it is resumed."""
    from app.schedule.pauses import pause as pause_job
    from tasks.registry import find_job

    find_job(name)
    with _context() as context:
        context.prepare_own_tables()
        new = pause_job(context.database, name, context.clock.now())
    click.echo(f"{name} is paused" if new else f"{name} was paused already")


@manager.command()
@click.argument("name")
def resume(name: str) -> None:
    """Run a paused job on schedule again, from its next slot on."""
    from app.schedule.pauses import resume as resume_job
    from tasks.registry import find_job

    find_job(name)
    with _context() as context:
        context.prepare_own_tables()
        was = resume_job(context.database, name)
    click.echo(f"{name} runs on schedule again" if was else f"{name} was not paused")


@manager.command()
@click.argument("name", required=False)
@click.option("--lines", "-n", default=20, show_default=True, type=click.IntRange(1, 10_000), help="How many runs.")
@as_json_option
def history(name: str | None, lines: int, as_json: bool) -> None:
    """Show the latest runs of a job, or of all."""
    from app.cli._schedule_tables import print_history
    from tasks.registry import find_job

    if name is not None:
        find_job(name)
    with _context() as context:
        context.prepare_own_tables()
        records = context.history.recent(job=name, limit=lines)
        if as_json:
            _echo_json([asdict(record) for record in records])
            return
        print_history(records, context.zone)


@manager.command()
@as_json_option
def doctor(as_json: bool) -> None:
    """Look at every part, one line each, with what mends a broken one; exit 1 if anything is broken."""
    from app.cli._schedule_tables import print_findings

    findings = _findings()
    if as_json:
        _echo_json([asdict(finding) for finding in findings])
    else:
        print_findings(findings)
    leave(ExitCode.FAILED if any(finding.state == "broken" for finding in findings) else ExitCode.OK)


@contextmanager
def _context() -> "Iterator[Context]":
    from app.context import open_context

    with open_context() as context:
        yield context


def _refuse_wrong_settings() -> None:
    from app.settings import load
    from tasks.registry import effective_specs

    effective_specs(load())


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What only the database knows; empty where it can't be asked."""

    latest: "Mapping[str, RunRecord]"
    paused: Mapping[str, datetime]
    running: Collection[str]
    lease: "LeaseHolder | None"


def _seen(context: "Context") -> tuple[_Seen, str | None]:
    """What the database knows, or nothing and why."""
    from app.schedule.leadership import BEAT, LIFE
    from app.schedule.leases import Leases
    from app.schedule.pauses import paused_jobs
    from app.views import running_jobs
    from tasks.registry import all_jobs

    leases = Leases(context.database, LIFE)
    try:
        context.prepare_own_tables()
        seen = _Seen(
            latest=context.history.latest(),
            paused=paused_jobs(context.database),
            running=running_jobs(leases, all_jobs(), context.clock.now()),
            lease=leases.holder(BEAT),
        )
    except GengfuError as error:
        return _Seen(latest={}, paused={}, running=(), lease=None), str(error)
    return seen, None


def _job_lines(context: "Context", seen: _Seen) -> "list[JobLine]":
    from app.views import job_lines
    from tasks.registry import effective_specs

    specs = effective_specs(context.settings).values()
    return job_lines(specs, context.zone, context.clock.now(), seen.latest, seen.paused, seen.running)


def _tell_status(context: "Context", *, as_json: bool) -> bool:
    """Print what is known and return whether the schedule is kept."""
    from app.views import beat_status, leader_status, schedule_is_kept

    now, var = context.clock.now(), context.settings.paths.var
    beat = beat_status(var, now)
    seen, blind = _seen(context)
    leader = leader_status(seen.lease, beat, now)
    facts = _status_facts(var, beat, leader, _job_lines(context, seen), blind)
    _print_facts(facts, context.zone, now, as_json=as_json)
    return schedule_is_kept(beat, leader)


def _print_facts(facts: Mapping[str, Any], zone: ZoneInfo, now: datetime, *, as_json: bool) -> None:
    from app.cli._schedule_tables import print_status

    if as_json:
        _echo_json(facts)
    else:
        print_status(facts, zone, now)


def _status_facts(
    var: Path, beat: "BeatStatus", leader: "LeaderStatus | None", lines: "list[JobLine]", blind: str | None
) -> dict[str, Any]:
    from app.views import worker_statuses

    return {
        "beat": {key: value for key, value in asdict(beat).items() if key != "holders"},
        "leader": asdict(leader) if leader else None,
        "workers": [asdict(worker) for worker in worker_statuses(var)],
        "jobs": [asdict(line) for line in lines],
        "not_seen": [f"leader, last runs and paused jobs: {blind}"] if blind else [],
    }


def _findings() -> "list[Finding]":
    from app.doctor import examine, settings_are_right, settings_are_wrong
    from tasks.registry import effective_specs

    try:
        with _context() as context:
            effective_specs(context.settings)
            return [settings_are_right(context), *examine(_with_queue_meter(context))]
    except SettingsError as error:
        return [settings_are_wrong(error)]


def _with_queue_meter(context: "Context") -> "Context":
    """Only a Celery process can count RabbitMQ's queues; Redis is asked without it."""
    from config.celery_settings import is_redis

    if is_redis(context.broker_url):
        return context
    from tasks.queue_depth import measure

    return replace(context, queue_meter=measure)


def _echo_json(value: object) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, default=str))


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
    from app.cli._schedule_tables import live

    deadline = time.monotonic() + timeout
    with live(name) as show:
        show(None, context.clock.now())
        while time.monotonic() < deadline:
            record = context.history.get(run_id)
            if record is not None and record.finished_at is not None:
                return record
            show(record, context.clock.now())
            time.sleep(_POLL_S)
    raise GengfuError(f"{name} (run {run_id}) did not end within {timeout:g} s; is a worker running? see `status`")


if __name__ == "__main__":
    # The process ends and frees everything at once; Python would first go through it all for garbage.
    atexit.register(gc.freeze)
    manager(prog_name="celery_beat_manager.py")
