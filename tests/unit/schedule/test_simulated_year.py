"""A year of ticks in zones with odd clock changes, against a reference that knows no cron library."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import cast
from zoneinfo import ZoneInfo

import pytest

from app.core.clock import ManualClock
from app.schedule.dispatcher import Dispatcher
from app.schedule.in_force import Schedules
from app.schedule.job_spec import JobSpec
from app.schedule.leadership import Leadership, Vacancy
from app.schedule.ledger import Ledger, Repairs, Slot

STEP = timedelta(minutes=5)
"""Every slot and every clock change below falls on such a minute."""
Wall = Callable[[datetime], bool]
"""Whether a wall-clock minute (naive) is one at which a job is due."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A cron text, and the same thing in plain Python."""

    cron: str
    due: Wall
    fixed: bool
    """True for a time of day; False for what is due in every real hour."""


CASES = {
    "daily": Case(cron="30 2 * * *", due=lambda wall: (wall.hour, wall.minute) == (2, 30), fixed=True),
    # New York repeats 01:30 and Lord Howe 01:45; Lord Howe leaves out 02:15.
    "early": Case(cron="45 1 * * *", due=lambda wall: (wall.hour, wall.minute) == (1, 45), fixed=True),
    "quarter": Case(cron="15 2 * * *", due=lambda wall: (wall.hour, wall.minute) == (2, 15), fixed=True),
    "hourly": Case(cron="15 * * * *", due=lambda wall: wall.minute == 15, fixed=False),
    "weekly": Case(
        cron="30 2 * * 0", due=lambda wall: (wall.isoweekday(), wall.hour, wall.minute) == (7, 2, 30), fixed=True
    ),
}
TENTH = {"tenth": Case(cron="*/10 * * * *", due=lambda wall: wall.minute % 10 == 0, fixed=False)}
YEARS = [
    ("Asia/Shanghai", 2026),
    ("Europe/Berlin", 2026),
    ("America/New_York", 2026),
    ("Australia/Lord_Howe", 2026),
    ("Pacific/Apia", 2011),  # the 30th of December did not take place
]
Slots = dict[str, list[datetime]]


class MemoryLedger:
    """The ledger's methods that a dispatcher calls, on a dictionary: a year in a second."""

    def __init__(self) -> None:
        self.state: dict[tuple[str, datetime], str] = {}
        self._planned: set[tuple[str, datetime]] = set()

    def plan(
        self, slots: Sequence[tuple[str, datetime]], _now: datetime, *, missed: Collection[tuple[str, datetime]]
    ) -> int:
        assert not missed
        new = [slot for slot in slots if slot not in self.state]
        self.state.update(dict.fromkeys(new, "planned"))
        self._planned.update(new)
        return len(new)

    def due(self, now: datetime) -> list[Slot]:
        return [_planned(job, due) for job, due in sorted(self._planned) if due <= now]

    def mark_sent(self, job: str, due: datetime, _now: datetime) -> bool:
        return self._leave(job, due, "sent")

    def close_unrun(self, job: str, due: datetime, state: str, _now: datetime, _note: str) -> bool:
        return self._leave(job, due, state)

    def last_due(self, *, until: datetime) -> dict[str, datetime]:
        return {job: due for job, due in sorted(self.state) if due <= until}

    def repair(self, _now: datetime) -> Repairs:
        return Repairs(offered=0, resent=0, given_up=0)

    def next(self) -> datetime:
        return min(due for _, due in self._planned)

    def _leave(self, job: str, due: datetime, state: str) -> bool:
        self._planned.discard((job, due))
        self.state[job, due] = state
        return True


class AlwaysLeads:
    """An election with one candidate."""

    leads = True

    def __init__(self, start: datetime) -> None:
        self.vacancy = Vacancy(start=None, end=start)

    def campaign(self) -> bool:
        return True


class NewSchedules:
    """Schedules that nobody noted before, of jobs without a slot."""

    def take_up(
        self, specs: Collection[JobSpec], _zone: ZoneInfo, past: Mapping[str, datetime], now: datetime
    ) -> dict[str, datetime]:
        assert not past
        return dict.fromkeys([spec.name for spec in specs], now)


def _planned(job: str, due: datetime) -> Slot:
    return Slot(
        job=job,
        due_at=due,
        state="planned",
        attempt=0,
        term=0,
        owner=None,
        lease_until=None,
        sent_at=None,
        run_id=None,
    )


def _specs(cases: Mapping[str, Case]) -> dict[str, JobSpec]:
    return {
        name: JobSpec(
            name=name, task_name="t", cron=case.cron, queue="file", priority=1, soft_time_limit=1, time_limit=2
        )
        for name, case in cases.items()
    }


def _dispatched(cases: Mapping[str, Case], zone: ZoneInfo, start: datetime, end: datetime) -> Slots:
    """The slots sent after `start` up to `end`, by job; the clock jumps from one slot to the next."""
    clock, ledger = ManualClock(start), MemoryLedger()
    sent: Slots = {name: [] for name in cases}

    def publish(spec: JobSpec, due: datetime) -> None:
        assert due == clock.now(), f"{spec.name} was sent at {clock.now()} for {due}"
        sent[spec.name].append(due)

    beat = Dispatcher(
        ledger=cast("Ledger", ledger),
        leadership=cast("Leadership", AlwaysLeads(start)),
        schedules=cast("Schedules", NewSchedules()),
        specs=_specs(cases),
        zone=zone,
        clock=clock,
        publish=publish,
        paused=set,
    )
    beat.tick()
    while (upcoming := ledger.next()) <= end:
        clock.advance(upcoming - clock.now())
        beat.tick()
    assert set(ledger.state.values()) == {"sent", "planned"}, "none was missed or skipped"
    return sent


def _expected(cases: Mapping[str, Case], zone: ZoneInfo, start: datetime, end: datetime) -> Slots:
    """The reference: walks over the minutes of UTC and looks at the wall clock."""
    slots: Slots = {name: [] for name in cases}
    for instant, wall, left_out in _instants(zone, start, end):
        shown = wall.replace(tzinfo=None, fold=0)
        for name, case in cases.items():
            new = not (case.fixed and wall.fold)
            if (new and case.due(shown)) or (case.fixed and any(map(case.due, left_out))):
                slots[name].append(instant)
    return slots


def _instants(zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime, list[datetime]]]:
    """Each step after `start` up to `end`: in UTC, on the wall, and the wall times left out just before it."""
    before = start.astimezone(zone).replace(tzinfo=None, fold=0)
    for number in range(1, (end - start) // STEP + 1):
        instant = start + number * STEP
        wall = instant.astimezone(zone)
        shown = wall.replace(tzinfo=None, fold=0)
        yield instant, wall, [before + n * STEP for n in range(1, (shown - before) // STEP)]
        before = shown


def _changes(zone: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
    """The days in whose course the zone's offset changes."""
    days = [start + timedelta(days=n) for n in range((end - start).days)]
    offsets = [day.astimezone(zone).utcoffset() for day in days]
    return [day for day, old, new in zip(days, offsets, offsets[1:], strict=False) if old != new]


def _compare(cases: Mapping[str, Case], zone: ZoneInfo, start: datetime, end: datetime) -> None:
    sent, expected = _dispatched(cases, zone, start, end), _expected(cases, zone, start, end)
    for job in cases:
        assert Counter(sent[job]) - Counter(expected[job]) == {}, f"{job}: sent too often"
        assert Counter(expected[job]) - Counter(sent[job]) == {}, f"{job}: left out"


@pytest.mark.parametrize(("name", "year"), YEARS)
def test_a_year_of_slots_is_sent_once_each_and_nothing_else(name: str, year: int) -> None:
    start = datetime(year, 1, 1, tzinfo=UTC)
    _compare(CASES, ZoneInfo(name), start, start + timedelta(days=366))


@pytest.mark.parametrize(("name", "year"), YEARS)
def test_every_ten_minutes_means_every_ten_real_ones_also_while_clocks_change(name: str, year: int) -> None:
    zone, start = ZoneInfo(name), datetime(year, 1, 1, tzinfo=UTC)
    for change in [start, *_changes(zone, start, start + timedelta(days=366))]:
        _compare(TENTH, zone, change - timedelta(days=2), change + timedelta(days=3))


def test_the_reference_itself_knows_the_odd_days() -> None:
    """Else it could agree with the program and be wrong with it."""
    apia, day = ZoneInfo("Pacific/Apia"), timedelta(days=1)
    eve = datetime(2011, 12, 29, 1, 0, tzinfo=apia).astimezone(UTC)
    # 02:30 of the 30th is made up for at the first minute of the 31st, whose own 02:30 follows.
    assert _expected(CASES, apia, eve, eve + day + timedelta(hours=3))["daily"] == [
        datetime(2011, 12, 29, 2, 30, tzinfo=apia).astimezone(UTC),
        datetime(2011, 12, 31, 0, 0, tzinfo=apia).astimezone(UTC),
        datetime(2011, 12, 31, 2, 30, tzinfo=apia).astimezone(UTC),
    ]
    howe = ZoneInfo("Australia/Lord_Howe")
    autumn = datetime(2026, 4, 5, tzinfo=howe).astimezone(UTC)
    assert _expected(CASES, howe, autumn, autumn + timedelta(hours=3))["early"] == [autumn + timedelta(minutes=105)]
    assert len(_expected(CASES, howe, autumn, autumn + timedelta(hours=24.5))["hourly"]) == 24
    spring = datetime(2026, 10, 4, tzinfo=howe).astimezone(UTC)
    assert _expected(CASES, howe, spring, spring + timedelta(hours=3))["quarter"] == [spring + timedelta(hours=2)]
