"""What `doctor` looks at: one finding for each part, and what mends it."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from app.alerts.delivery import target_state
from app.alerts.notices.outbox import counted
from app.context import Context
from app.core.errors import GengfuError
from app.core.redaction import redact
from app.core.safe_files import landlock
from app.core.source_tables import SourceTable, SourceTables
from app.health.checks.broker import check_broker
from app.health.checks.database import check_database
from app.retention.roots import list_roots
from app.schedule.leadership import BEAT, LIFE
from app.schedule.leases import LeaseHolder, Leases
from app.schedule.signs import MONITOR, Signs
from app.service.settings import QUEUES
from app.views import BeatStatus, WorkerStatus, beat_status, leader_status, schedule_is_kept, worker_statuses

CLOCK_LIMIT_S = 60.0
"""Host and database may differ by this much: leases live 15 s and more, and ages are counted in days."""
_LATELY = timedelta(minutes=15)
"""The most frequent job runs every five minutes: a worker that did nothing for three of them is not there."""
_DEADLINE_S = 5.0
_MONITOR_GRACE_S = 90.0
"""A monitor that died is followed when its lease is over."""
_START_BEAT = "`gengfu up` or `celery_beat_manager.py start --detach`"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """How one part is. `unseen`: it could not be looked at, because another part is broken."""

    part: str
    state: Literal["ok", "broken", "unseen"]
    detail: str
    mend: str = ""
    """The command or setting that mends it; empty where nothing is to be done."""


def examine(context: Context) -> list[Finding]:
    """Look at every part of a home whose settings could be read; changes nothing and never raises GengfuError."""
    parts: Mapping[str, Callable[[Context], Iterable[Finding]]] = {
        "database": _database,
        "broker": _broker,
        "workers": _workers,
        "beat": _beat,
        "alerts": _alerts,
        "folders": _folders,
        "roots": _roots,
        "landlock": _landlock,
        "indexes": _indexes,
        "clock": _clock,
    }
    return [finding for part, look in parts.items() for finding in _looked(part, look, context)]


def settings_are_right(context: Context) -> Finding:
    """Return the finding of settings that were read without an error."""
    settings = context.settings
    return _ok("settings", f"right; time zone {settings.zone}, home {settings.home}")


def settings_are_wrong(error: GengfuError) -> Finding:
    """Return the finding of settings that can't be read; nothing else can be looked at then."""
    return Finding(part="settings", state="broken", detail=_line(error), mend="`gengfu config check`")


def clock_finding(host: datetime, database: datetime) -> Finding:
    """Compare two clocks that were read at the same moment."""
    difference = (host - database).total_seconds()
    told = f"host and database differ by {abs(difference):.1f} s"
    if abs(difference) <= CLOCK_LIMIT_S:
        return _ok("clock", told)
    way = "ahead of" if difference > 0 else "behind"
    return _broken(
        "clock", f"{told}: the host is {way} the database", "`timedatectl set-ntp true` on both, or your time service"
    )


def index_findings(connection: Connection, source: SourceTables) -> list[Finding]:
    """Name each index that the work of the night needs and the application's tables lack."""
    wanted = [(source.tasks, ("created_at",)), (source.tasks, ("status", "completed_at"))]
    if source.receipts is not None:
        wanted.append((source.receipts, ("task_id",)))
    there = {
        mapped.name for mapped, _ in wanted if inspect(connection).has_table(mapped.table.name, mapped.table.schema)
    }
    missing = [
        _missing_index(connection, mapped, _physical(mapped, logical))
        for mapped, logical in wanted
        if mapped.name in there and not _is_indexed(connection, mapped, _physical(mapped, logical))
    ]
    if there:
        return missing or [_ok("indexes", "creation, status with completion, and key of child rows are indexed")]
    return [Finding(part="indexes", state="unseen", detail="there are no application tables")]


def _looked(part: str, look: Callable[[Context], Iterable[Finding]], context: Context) -> list[Finding]:
    try:
        return list(look(context))
    except (GengfuError, SQLAlchemyError) as error:
        return [Finding(part=part, state="unseen", detail=_line(error))]


def _database(context: Context) -> Iterator[Finding]:
    facts = check_database(context.database, context.source, context.clock)
    if "version" not in facts:
        yield _broken("database", facts["detail"], "start the server, or set DATABASE_URL")
        return
    told = f"{facts['url']}, version {facts['version']}, own tables {facts['own_tables'] or 'none'}"
    if not facts["missing"]:
        yield _ok("database", f"{told}, application tables complete")
    # Each of these lines names its own remedy, but for which of them stands first.
    for line in facts["missing"]:
        what, _, mend = line.partition("; ")
        yield _broken("database", what, mend or "`gengfu db check`")


def _broker(context: Context) -> Iterator[Finding]:
    where = redact(context.broker_url)
    measured = None if context.queue_meter is None else context.queue_meter()
    facts = check_broker(context.broker_url, QUEUES, context.clock, measured=measured)
    if not facts.get("available"):
        yield _broken("broker", facts["detail"], "start `gengfu up`, or set CELERY_BROKER_URL")
        return
    depths = ", ".join(f"{name} {depth}" for name, depth in facts["queues"].items())
    ping = f" in {facts['ping_ms']} ms" if "ping_ms" in facts else ""
    yield _ok("broker", f"{where} answers{ping}; waiting: {depths}")


def _workers(context: Context) -> Iterator[Finding]:
    workers = worker_statuses(context.settings.paths.var)
    if workers:
        yield _served(workers)
        return
    elsewhere = _worked_lately(context)
    mend = "`gengfu up` or `celery -A tasks worker`"
    yield _ok("workers", elsewhere) if elsewhere else _broken("workers", "none of this home is ready here", mend)


def _served(workers: list[WorkerStatus]) -> Finding:
    told = ", ".join(f"{worker.name} ({', '.join(worker.queues)})" for worker in workers)
    unserved = [queue for queue in QUEUES if not any(queue in worker.queues for worker in workers)]
    if not unserved:
        return _ok("workers", told)
    mend = f"`celery -A tasks worker -Q {','.join(unserved)}`, or [[service.workers]] queues"
    return _broken("workers", f"{told}; nobody here serves {', '.join(unserved)}", mend)


def _worked_lately(context: Context) -> str | None:
    """What workers elsewhere did; None where nothing was done or the database can't be asked."""
    try:
        latest = context.history.recent(limit=1)
    except GengfuError:
        return None
    if not latest or latest[0].trigger == "shell" or context.clock.now() - latest[0].started_at > _LATELY:
        return None
    return f"none here; {latest[0].worker} began {latest[0].job} at {latest[0].started_at:%H:%M:%S} UTC"


def _beat(context: Context) -> Iterator[Finding]:
    now = context.clock.now()
    beat = beat_status(context.settings.paths.var, now)
    leader = leader_status(_lease(context), beat, now)
    if not schedule_is_kept(beat, leader):
        detail = "none runs" if beat.state == "stopped" else f"process {beat.pid} is there but does not tick"
        yield _broken("beat", detail, _START_BEAT if beat.state == "stopped" else "`celery_beat_manager.py restart`")
    elif leader is not None and leader.alive:
        yield _ok("beat", f"process {leader.pid} on {leader.host} leads since {leader.since:%Y-%m-%d %H:%M:%S} UTC")
    else:
        yield _broken("beat", _no_leader(beat), "mend the database first; see `celery_beat_manager.py logs`")


def _alerts(context: Context) -> Iterator[Finding]:
    """The monitor that looks, the targets that are told, and what could not be told."""
    settings = context.settings.alerts
    if not settings.enabled:
        yield _ok("alerts", "switched off by [alerts] enabled")
        return
    with context.database.read(deadline_s=_DEADLINE_S) as connection:
        states, counts = target_state.load_all(connection), counted(connection)
    wanted = set(settings.channels)
    for name, state in sorted(states.items()):
        if name in wanted and state.is_broken:
            yield _broken(
                "alerts", f"{name}: {state.why}", f"[alerts.targets.{name}], then `gengfu alerts test-channel {name}`"
            )
    if dead := sum(states.get("dead", 0) for states in counts.values()):
        yield _broken("alerts", f"{dead:,} messages could not be delivered", "`gengfu alerts replay`")
    yield _monitor(context)


def _monitor(context: Context) -> Finding:
    sign = Signs(context.database).find(MONITOR)
    if sign is None:
        return _broken("alerts", "no monitor looks", _START_BEAT)
    age = sign.age_s(context.clock.now())
    where = f"the monitor of process {sign.facts.get('pid')} on {sign.facts.get('host')} looked {age:.0f} s ago"
    if age > 2 * context.settings.health.interval_s + _MONITOR_GRACE_S:
        return _broken("alerts", where, _START_BEAT)
    return _ok("alerts", f"{where}; told: {', '.join(context.settings.alerts.channels)}")


def _no_leader(beat: BeatStatus) -> str:
    return f"process {beat.pid} ticks, but no living leader is seen in the database: no slot is sent"


def _lease(context: Context) -> LeaseHolder | None:
    try:
        return Leases(context.database, LIFE).holder(BEAT)
    except GengfuError:
        return None


def _folders(context: Context) -> Iterator[Finding]:
    paths = context.settings.paths
    refused = [
        (path, why)
        for path in (paths.daily_reports, paths.alert_reports, paths.logs, paths.var)
        if (why := _unwritable(path))
    ]
    for path, why in refused:
        yield _broken("folders", f"{path}: {why}", f"`chown` or `chmod` {path}, free space, or set GENGFU_HOME")
    if not refused:
        yield _ok("folders", f"reports, logs and var below {paths.home} can be written")


def _unwritable(folder: Path) -> str | None:
    """Why no file can be written there, or None. A folder that will be made counts as its nearest parent."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        # Permissions alone tell neither a full disk nor one that is read-only.
        with tempfile.TemporaryFile(dir=there) as probe:
            probe.write(b"\0")
    except OSError as error:
        return error.strerror or str(error)
    return None


def _roots(context: Context) -> Iterator[Finding]:
    states = list_roots(context.database, context.folders)
    held = [state for state in states if state.why_held]
    for state in held:
        # `roots init` makes a missing folder: not to be run blindly where a volume is only not mounted.
        mend = f"mount or correct it; only where the folder is meant to be new: `gengfu roots init {state.name}`"
        yield _broken("roots", str(state.why_held), mend)
    if not held:
        yield _ok("roots", f"ready: {', '.join(state.name for state in states)}")


def _indexes(context: Context) -> list[Finding]:
    with context.database.read(deadline_s=_DEADLINE_S) as connection:
        return index_findings(connection, context.source)


def _landlock(context: Context) -> Iterator[Finding]:
    mode = context.settings.retention.landlock
    state = landlock.current(mode)
    if mode == "required" and state.state == "unavailable":
        yield _broken("landlock", f"required, but {state.detail}", '`[retention] landlock = "auto"`, or another kernel')
        return
    confined = "; the worker's children confine themselves" if state.state == "available" else ""
    yield _ok("landlock", f"{state.state}: {state.detail}{confined}")


def _clock(context: Context) -> Iterator[Finding]:
    if context.database.dialect == "sqlite":
        yield _ok("clock", "the database is a file and has the host's clock")
        return
    with context.database.read(deadline_s=_DEADLINE_S) as connection:
        theirs = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        ours = context.clock.now()
    yield clock_finding(ours, theirs)


def _physical(mapped: SourceTable, logical: Iterable[str]) -> list[str]:
    return [mapped.table.c[name].name for name in logical]


def _is_indexed(connection: Connection, mapped: SourceTable, columns: list[str]) -> bool:
    """Tell whether an index over all rows begins with these columns."""
    asked, where = inspect(connection), (mapped.table.name, mapped.table.schema)
    lists: list[Any] = [index["column_names"] for index in asked.get_indexes(*where) if not _is_partial(index)]
    lists += [asked.get_pk_constraint(*where)["constrained_columns"]]
    lists += [unique["column_names"] for unique in asked.get_unique_constraints(*where)]
    return any(list(found[: len(columns)]) == columns for found in lists)


def _is_partial(index: Mapping[str, Any]) -> bool:
    return any(name.endswith("_where") for name in index.get("dialect_options", {}))


def _missing_index(connection: Connection, mapped: SourceTable, columns: list[str]) -> Finding:
    quote = connection.dialect.identifier_preparer.quote
    table = ".".join(quote(part) for part in mapped.name.split("."))
    name = quote(f"ix_{mapped.table.name}_{'_'.join(columns)}")
    # Without CONCURRENTLY the application could not write while the index is made.
    how = "CREATE INDEX CONCURRENTLY" if connection.dialect.name == "postgresql" else "CREATE INDEX"
    mend = f"{how} {name} ON {table} ({', '.join(map(quote, columns))})"
    return _broken(
        "indexes", f"table {mapped.name} has no index on {', '.join(columns)}: every run reads it whole", mend
    )


def _ok(part: str, detail: str) -> Finding:
    return Finding(part=part, state="ok", detail=detail)


def _broken(part: str, detail: str, mend: str) -> Finding:
    return Finding(part=part, state="broken", detail=detail, mend=mend)


def _line(error: Exception) -> str:
    return redact(" ".join(str(error).split()))
