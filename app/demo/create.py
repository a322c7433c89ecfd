"""`gengfu demo create`: the sample application with its rows, files, temporary files and old logs."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from app.core.clock import SystemClock, local_date
from app.core.database import Database
from app.core.errors import BadArgument, OutputUnwritable
from app.core.safe_files import MARKER, create_marker
from app.demo import schema
from app.demo.files import FileWriter, write_files_of
from app.demo.leftovers import Leftovers, write_old_logs, write_temp_files
from app.demo.oddities import Oddities
from app.demo.rows import advance_sequences, insert_rows, prepare_tables
from app.demo.tasks import Story, StoryTeller, TaskRow

ROOT_NAMES = ("uploads", "documents", "screenshots", "receipts", "temp")
MAX_TASKS = 50_000_000
DemoRoots = Mapping[str, Path]
"""Name of a root (ROOT_NAMES) -> its absolute folder."""

FAILING_DAYS = {4: 0.35, 3: 0.75}
"""Days before today on which a failing application fails, and the share of its tasks that do: one day of warning, one
critical day, and two good ones behind them that end the alarm."""

_CHUNK = 5_000  # tasks: some 10 MB of rows at a time
_SLOWEST = 500  # tasks/s; only for a deadline that no healthy machine reaches
_SHORTEST_DEADLINE_S = 600.0
_NOTHING = Leftovers(files=0, expired=0)


@dataclass(frozen=True, kw_only=True)
class DemoSummary:
    """What `create_demo` wrote."""

    tasks: int
    receipts: int
    files: int
    """Files that the rows name."""
    bytes: int
    """Size of those files together."""
    temp_files: int
    expired_temp_files: int
    """Last changed more than 24 hours ago."""
    old_logs: int
    """Rotated logs last changed more than 30 days ago."""
    expired_tasks: int
    """Finished more than 30 (completed) or 7 (failed) days before `now`."""
    seconds: float


@dataclass(kw_only=True)
class _Tally:
    expired_before: Mapping[str, datetime]
    tasks: int = 0
    receipts: int = 0
    expired: int = 0
    writer: FileWriter = field(default_factory=FileWriter)

    def add(self, story: Story) -> None:
        self.tasks += 1
        self.receipts += story.receipt is not None
        self.expired += _is_expired(story.task, self.expired_before)


def create_demo(  # noqa: PLR0913 - everything it needs is handed to it
    database: Database,
    roots: DemoRoots,
    logs_folder: Path,
    *,
    tasks: int = 20_000,
    seed: int = 1,
    now: datetime,
    zone: ZoneInfo,
    on_progress: Callable[[int], None] | None = None,
    files: bool = True,
    failing: bool = False,
) -> DemoSummary:
    """Create the application's tables and fill them with `tasks` tasks of the 60 days before `now`.

    The same `tasks`, `seed`, `now` and `zone` give the same rows. All rows come in one transaction, so that a
    failure leaves none. `on_progress` gets the number of tasks written so far. With `files=False` the rows are
    the same and no file at all is written; `roots` may then be empty, and those given are only marked. With `failing`
    many tasks of two of the last days failed (FAILING_DAYS).

    Raises BadArgument (nothing was written) for a number of tasks outside 1 to 50,000,000, a missing root, a root
    with files but no marker, and tables that hold rows; RootRefused, OutputUnwritable and the database's errors.
    """
    clock = SystemClock()
    started = clock.monotonic()
    _check(tasks, roots, files=files)
    tally = _Tally(expired_before={"completed": now - timedelta(days=30), "failed": now - timedelta(days=7)})
    stories = generate(tasks, seed=seed, now=now, zone=zone, failing=failing)
    temp = logs = _NOTHING
    with database.write(deadline_s=max(_SHORTEST_DEADLINE_S, tasks / _SLOWEST)) as connection:
        prepare_tables(connection)
        for root in roots.values():
            create_marker(root)
        if files:
            temp, logs = write_temp_files(roots["temp"], now), write_old_logs(logs_folder, now)
            stories = _with_files(stories, roots, tally.writer)
        _write(connection, stories, tally, on_progress)
        advance_sequences(connection)
    return _summary(tally, temp, logs, clock.monotonic() - started)


def generate(tasks: int, *, seed: int, now: datetime, zone: ZoneInfo, failing: bool = False) -> Iterator[Story]:
    """Yield the sample rows without writing anything: oldest first, ids from 1."""
    now = now.astimezone(UTC)
    random = Random(seed)  # noqa: S311 - sample data must be repeatable, not secret
    shares = failing_days(now, zone) if failing else None
    return Oddities(now).strewn(StoryTeller(random, now, zone, shares).stories(tasks))


def failing_days(now: datetime, zone: ZoneInfo) -> dict[date, float]:
    """Return the local days on which a failing sample application fails, and the share of its tasks that do."""
    today = local_date(now, zone)
    return {today - timedelta(days=back): share for back, share in FAILING_DAYS.items()}


def _check(tasks: int, roots: DemoRoots, *, files: bool) -> None:
    if not 1 <= tasks <= MAX_TASKS:
        raise BadArgument(f"{tasks} tasks can't be made; name a number from 1 to {MAX_TASKS:,}")
    missing = [name for name in ROOT_NAMES if name not in roots]
    if files and missing:
        raise BadArgument(f"no folder is named for {', '.join(missing)}; name it under [retention.roots]")
    for name, path in roots.items():
        _check_root(name, path)


def _check_root(name: str, path: Path) -> None:
    """Marking a folder allows its clean-up: one with somebody's files in it must be marked by its owner."""
    try:
        foreign = path.is_dir() and not (path / MARKER).exists() and any(path.iterdir())
    except OSError as error:
        raise OutputUnwritable(f"can't look into {path}: {error.strerror}; give this user access") from error
    if foreign:
        raise BadArgument(
            f"the folder {path} of root {name!r} holds files and no {MARKER}; "
            "sample files are only written into new, empty or marked folders"
        )


def _with_files(stories: Iterator[Story], roots: DemoRoots, writer: FileWriter) -> Iterator[Story]:
    for story in stories:
        if story.on_disk:
            write_files_of(story, roots, writer)
        yield story


def _write(
    connection: Connection, stories: Iterable[Story], tally: _Tally, on_progress: Callable[[int], None] | None
) -> None:
    remaining = iter(stories)
    while chunk := list(islice(remaining, _CHUNK)):
        insert_rows(connection, schema.tasks, [story.task for story in chunk])
        insert_rows(connection, schema.delivery_receipts, [story.receipt for story in chunk if story.receipt])
        for story in chunk:
            tally.add(story)
        if on_progress is not None:
            on_progress(tally.tasks)


def _is_expired(task: TaskRow, before: Mapping[str, datetime]) -> bool:
    limit = before.get(task.status)
    return limit is not None and task.completed_at is not None and task.completed_at < limit


def _summary(tally: _Tally, temp: Leftovers, logs: Leftovers, seconds: float) -> DemoSummary:
    return DemoSummary(
        tasks=tally.tasks,
        receipts=tally.receipts,
        files=tally.writer.files,
        bytes=tally.writer.bytes,
        temp_files=temp.files,
        expired_temp_files=temp.expired,
        old_logs=logs.expired,
        expired_tasks=tally.expired,
        seconds=round(seconds, 3),
    )
