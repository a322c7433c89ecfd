"""How the beat manager shows beats, jobs, runs and findings to people, on 80 columns."""

import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from app.cli._night import told
from app.cli._table import print_table, window_width

if TYPE_CHECKING:
    from app.doctor import Finding
    from app.schedule.runs import RunRecord

_NO_WRAP = frozenset({"next run", "last run", "started", "late", "queue", "prio", "state", "result"})
_COLOURS = {"ok": "green", "broken": "red", "unseen": "yellow"}
_WIDE = 110
"""Columns from which on a job's times stand beside its name instead of below it."""
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


def print_status(facts: Mapping[str, Any], zone: ZoneInfo, now: datetime) -> None:
    """Show beats, workers and jobs as `status --json` tells them; `zone` is the general one."""
    _print_beat(facts["beat"])
    _print_leader(facts["leader"], now)
    for worker in facts["workers"]:
        _say(_worker_line(worker))
    if not facts["workers"]:
        click.secho("no worker of this home is ready on this machine", fg="yellow")
    titles = ("job", "next run", "last run", "late", "result")
    print_table(titles, [_status_row(line, zone) for line in facts["jobs"]], whole=_NO_WRAP)
    for line in facts["not_seen"]:
        click.secho(_folded(f"not seen: {line}"), fg="yellow", err=True)


def print_jobs(lines: Iterable[Mapping[str, Any]], zone: ZoneInfo) -> None:
    """Show what is declared about each job."""
    wide = window_width() >= _WIDE
    titles = ("job", "state", "next run", "queue", "prio", *["when"] * wide)
    rows: list[tuple[str, ...]] = []
    for line in lines:
        when = line["words"][:1].lower() + line["words"][1:]
        facts = (line["state"], _in_own_zone(line, zone), line["queue"], str(line["priority"]))
        rows.append((line["name"], *facts, when) if wide else (f"{line['name']}\n  {when}", *facts))
    print_table(titles, rows, whole=_NO_WRAP)


def print_history(records: "Iterable[RunRecord]", zone: ZoneInfo) -> None:
    """Show runs, a line each."""
    titles = ("job", "started", "by", "seconds", "state", "what was wrong")
    rows = []
    for record in records:
        seconds = "-" if record.seconds is None else f"{record.seconds:.1f}"
        started = local_time(record.started_at, zone)
        rows.append((record.job, started, record.trigger, seconds, record.state, (record.error or "")[:200]))
    print_table(titles, rows, whole=_NO_WRAP)


def print_findings(findings: "Iterable[Finding]") -> None:
    """Show findings, a line each; what mends a broken part stands behind it."""
    for finding in findings:
        mend = f"; to mend: {finding.mend}" if finding.mend else ""
        state = click.style(f"{finding.state:<6}", fg=_COLOURS[finding.state])
        click.echo(f"{finding.part:<9} {state}  {finding.detail}{mend}")


def run_told(record: "RunRecord") -> str:
    """Return what `run NAME --wait` says in the end."""
    return f"{told(record.job, record.result or {})}\n  run {record.id}: {record.state} in {record.seconds} s"


@contextmanager
def live(name: str) -> "Iterator[Callable[[RunRecord | None, datetime], None]]":
    """Show how a run that is waited for stands: a moving line on a terminal, a line for each change elsewhere."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    terminal = sys.stderr.isatty()
    with Progress(*columns, transient=True, disable=not terminal, console=Console(stderr=True)) as progress:
        bar = progress.add_task(name, total=None)
        shown: list[str] = []

        def show(record: "RunRecord | None", now: datetime) -> None:
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
    _say(_beat_line(beat), fg="green" if beat["state"] == "running" else "red")
    if beat["settings_refused"]:
        _say(f"settings: changed, but not followed, the earlier ones hold: {beat['settings_refused']}", fg="red")
    if beat["stand_bys"]:
        _say(f"stands by: process {', '.join(map(str, beat['stand_bys']))}")


def _worker_line(worker: Mapping[str, Any]) -> str:
    refused = f", {worker['messages_refused']} messages refused" if worker["messages_refused"] else ""
    return f"worker {worker['name']}: process {worker['pid']}, queues {', '.join(worker['queues'])}{refused}"


def _say(line: str, *, fg: str | None = None) -> None:
    """Print a line, folded between words: a host may have a name of 64 letters."""
    click.secho(_folded(line), fg=fg)


def _folded(line: str) -> str:
    return textwrap.fill(line, window_width(), subsequent_indent="  ", break_on_hyphens=False)


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
        _say(f"leader: {who} since {leader['since']:%Y-%m-%d %H:%M:%S} UTC")
    else:
        over = span_text((now - leader["until"]).total_seconds())
        _say(f"no beat leads; the last one was {who}, its lease ended {over} ago", fg="yellow")


def _status_row(line: Mapping[str, Any], zone: ZoneInfo) -> tuple[str, ...]:
    last = line["last"] or {}
    started = local_time(last.get("started_at"), zone)
    return line["name"], _next_run(line, zone), started, span_text(line["lateness_s"]), last.get("state", "")


def _next_run(line: Mapping[str, Any], zone: ZoneInfo) -> str:
    if line["state"] in {"paused", "off"}:
        return str(line["state"])
    return local_time(line["next_run"], zone)


def _in_own_zone(line: Mapping[str, Any], general: ZoneInfo) -> str:
    """The zone's name, on a line of its own, is told where it is not the one in which everything else is told."""
    own = ZoneInfo(line["timezone"])
    text = local_time(line["next_run"], own)
    told = line["next_run"] is None or own.key == general.key
    return text if told else f"{text}\n{line['next_run'].astimezone(own):%Z}"


def span_text(seconds: float | None) -> str:
    """A length of time in at most seven characters."""
    if seconds is None:
        return ""
    for unit, size in (("d", _DAY_S), ("h", _HOUR_S), ("min", _MINUTE_S)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _stands(record: "RunRecord | None") -> str:
    if record is None:
        return "waiting for a worker"
    again = f", attempt {record.attempt}" if record.attempt > 1 else ""
    return f"running on {record.worker}{again}"


def _running_for(record: "RunRecord | None", now: datetime) -> str:
    return "" if record is None else f" for {span_text((now - record.started_at).total_seconds())}"
