"""How the beat manager shows beats, jobs, runs and findings to people, on 80 columns."""

import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from app.cli._night import told
from app.schedule.runs import RunRecord

if TYPE_CHECKING:
    from app.doctor import Finding

_NO_WRAP = frozenset({"job", "next run", "last run", "started", "late", "queue", "prio", "state", "result"})
_COLOURS = {"ok": "green", "broken": "red", "unseen": "yellow"}
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


def print_status(facts: Mapping[str, Any], zone: ZoneInfo, now: datetime) -> None:
    """Show beats, workers and jobs as `status --json` tells them; `zone` is the general one."""
    _print_beat(facts["beat"])
    _print_leader(facts["leader"], now)
    for worker in facts["workers"]:
        click.echo(f"worker {worker['name']}: process {worker['pid']}, queues {', '.join(worker['queues'])}")
    if not facts["workers"]:
        click.secho("no worker of this home is ready on this machine", fg="yellow")
    table = _table("job", "next run", "last run", "late", "result")
    for line in facts["jobs"]:
        last = line["last"] or {}
        started = local_time(last.get("started_at"), zone)
        table.add_row(line["name"], _next_run(line, zone), started, _span(line["lateness_s"]), last.get("state", ""))
    _console().print(table)
    for line in facts["not_seen"]:
        click.secho(f"not seen: {line}", fg="yellow", err=True)


def print_jobs(lines: Iterable[Mapping[str, Any]], zone: ZoneInfo) -> None:
    """Show what is declared about each job."""
    table = _table("job", "when", "next run", "queue", "prio")
    for line in lines:
        when = line["words"][:1].lower() + line["words"][1:]
        # Room for a state of its own is missing on 80 columns; a job without a next run says why here.
        upcoming = line["state"] if line["state"] != "on" else _in_own_zone(line, zone)
        table.add_row(line["name"], when, upcoming, line["queue"], str(line["priority"]))
    _console().print(table)


def print_history(records: Iterable[RunRecord], zone: ZoneInfo) -> None:
    """Show runs, a line each."""
    table = _table("job", "started", "by", "seconds", "state", "what was wrong")
    for record in records:
        seconds = "-" if record.seconds is None else f"{record.seconds:.1f}"
        started = local_time(record.started_at, zone)
        table.add_row(record.job, started, record.trigger, seconds, record.state, (record.error or "")[:200])
    _console().print(table)


def print_findings(findings: "Iterable[Finding]") -> None:
    """Show findings, a line each; what mends a broken part stands behind it."""
    for finding in findings:
        mend = f"; to mend: {finding.mend}" if finding.mend else ""
        state = click.style(f"{finding.state:<6}", fg=_COLOURS[finding.state])
        click.echo(f"{finding.part:<9} {state}  {finding.detail}{mend}")


def run_told(record: RunRecord) -> str:
    """Return what `run NAME --wait` says in the end."""
    return f"{told(record.job, record.result or {})}\n  run {record.id}: {record.state} in {record.seconds} s"


@contextmanager
def live(name: str) -> "Iterator[Callable[[RunRecord | None, datetime], None]]":
    """Show how a run that is waited for stands: a moving line on a terminal, a line for each change elsewhere."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    terminal = sys.stderr.isatty()
    with Progress(*columns, transient=True, disable=not terminal, console=_console(stderr=True)) as progress:
        bar = progress.add_task(name, total=None)
        shown: list[str] = []

        def show(record: RunRecord | None, now: datetime) -> None:
            state = _stands(record)
            if terminal:
                progress.update(bar, description=f"{name}: {state}{_running_for(record, now)}")
            elif shown != [state]:
                shown[:] = [state]
                click.echo(f"{name}: {state}", err=True)

        yield show


def local_time(instant: datetime | None, zone: ZoneInfo) -> str:
    """Return month, day and time in `zone`, or a dash."""
    return "-" if instant is None else f"{instant.astimezone(zone):%m-%d %H:%M}"


def _print_beat(beat: Mapping[str, Any]) -> None:
    click.secho(_beat_line(beat), fg="green" if beat["state"] == "running" else "red")
    if beat["stand_bys"]:
        click.echo(f"stands by: process {', '.join(map(str, beat['stand_bys']))}")


def _beat_line(beat: Mapping[str, Any]) -> str:
    if beat["state"] == "stopped":
        return "beat does not run here; start it with `celery_beat_manager.py start --detach` or `gengfu up`"
    age = "never" if beat["tick_age_s"] is None else f"{beat['tick_age_s']:.0f} s ago"
    words = "runs" if beat["state"] == "running" else "is there but does not tick"
    since = f"{beat['since']:%Y-%m-%d %H:%M:%S} UTC"
    return f"beat {words}: process {beat['pid']} on {beat['host']} since {since}, last tick {age}"


def _print_leader(leader: Mapping[str, Any] | None, now: datetime) -> None:
    if leader is None:
        return
    who = f"process {leader['pid']} on {leader['host']}"
    if leader["alive"]:
        click.echo(f"leader: {who} since {leader['since']:%Y-%m-%d %H:%M:%S} UTC")
    else:
        over = _span((now - leader["until"]).total_seconds())
        click.secho(f"no beat leads; the last one was {who}, its lease ended {over} ago", fg="yellow")


def _next_run(line: Mapping[str, Any], zone: ZoneInfo) -> str:
    if line["state"] in {"paused", "off"}:
        return str(line["state"])
    return local_time(line["next_run"], zone)


def _in_own_zone(line: Mapping[str, Any], general: ZoneInfo) -> str:
    """The zone's name is told where it is not the one in which everything else is told."""
    own = ZoneInfo(line["timezone"])
    text = local_time(line["next_run"], own)
    return text if own.key == general.key else f"{text} {line['next_run'].astimezone(own):%Z}"


def _span(seconds: float | None) -> str:
    """A length of time in at most seven characters."""
    if seconds is None:
        return ""
    for unit, size in (("d", _DAY_S), ("h", _HOUR_S), ("min", _MINUTE_S)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _stands(record: RunRecord | None) -> str:
    if record is None:
        return "waiting for a worker"
    again = f", attempt {record.attempt}" if record.attempt > 1 else ""
    return f"running on {record.worker}{again}"


def _running_for(record: RunRecord | None, now: datetime) -> str:
    return "" if record is None else f" for {_span((now - record.started_at).total_seconds())}"


def _table(*columns: str) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in columns:
        table.add_column(name, overflow="fold", no_wrap=name in _NO_WRAP)
    return table


def _console(*, stderr: bool = False) -> Any:
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else max(80, shutil.get_terminal_size((100, 24)).columns)
    return Console(width=width, stderr=stderr)
