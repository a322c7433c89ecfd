"""A schedule that is changed in its file while beat runs: what is followed, and what is told and not followed."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from app.core.clock import ManualClock
from app.core.database import Database
from app.core.file_watch import LOOK_EVERY_S
from app.schedule.dispatcher import Dispatcher
from app.schedule.in_force import Schedules
from app.schedule.job_spec import JobSpec
from app.schedule.leadership import LIFE, Leadership
from app.schedule.leases import Leases
from app.schedule.ledger import Ledger
from app.settings import load
from tasks.registry import scheduled_specs
from tasks.settings_watch import SettingsWatch

START = datetime(2026, 3, 9, 12, 0, tzinfo=UTC)
DISK = "disk-space-check"
QUIET = '[general]\ntimezone = "UTC"\n[schedule]\nenabled = true\n'


class Beat:
    """What a beat process is made of, but for Celery, by a clock that moves when told."""

    def __init__(self, database: Database, file: Path) -> None:
        self.file, self.clock = file, ManualClock(START)
        self.sent: list[tuple[str, str, int, datetime]] = []
        self.refused: list[str | None] = []
        file.write_text(QUIET)
        settings = load()
        specs = {spec.name: spec for spec in scheduled_specs(settings)}
        self.dispatcher = Dispatcher(
            ledger=Ledger(database),
            leadership=Leadership(Leases(database, LIFE), self.clock, owner="o", host="h", pid=1),
            schedules=Schedules(database),
            specs=specs,
            zone=settings.zone,
            clock=self.clock,
            publish=self.publish,
            paused=frozenset,
        )
        self.watch = SettingsWatch(
            specs, settings.zone, follower=self.dispatcher, clock=self.clock, refused=self.refused.append
        )

    def publish(self, spec: JobSpec, due: datetime) -> None:
        self.sent.append((spec.name, spec.queue, spec.priority, due))

    def go(self, step: timedelta, *, every: timedelta = timedelta(minutes=1)) -> None:
        end = self.clock.now() + step
        while self.clock.now() < end:
            self.watch.look()
            self.dispatcher.tick()
            self.clock.advance(every)

    def write(self, toml: str) -> None:
        """Change the file and let it come to rest."""
        self.file.write_text(toml, encoding="utf-8")
        self.go(timedelta(seconds=3 * LOOK_EVERY_S), every=timedelta(seconds=LOOK_EVERY_S))

    def slots(self, job: str) -> list[tuple[str, int, str]]:
        """What was sent first for each slot; with no worker there, every message is sent again."""
        sent = [(queue, prio, f"{due:%H:%M}") for name, queue, prio, due in self.sent if name == job]
        return list({due: (queue, prio, due) for queue, prio, due in reversed(sent)}.values())[::-1]


@pytest.fixture
def beat(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Beat:
    monkeypatch.setenv("GENGFU_CONFIG", str(tmp_path))
    made = Beat(database, tmp_path / "settings.toml")
    made.go(timedelta(minutes=1))
    return made


def test_time_queue_priority_and_off_are_followed_without_a_restart(beat: Beat) -> None:
    beat.write(
        f'{QUIET}[schedule.jobs.{DISK}]\ncron = "*/20 * * * *"\nqueue = "receipt"\npriority = 9\n'
        "[schedule.jobs.check-pending-tasks]\nenabled = false\n"
    )
    beat.go(timedelta(minutes=61))
    assert beat.slots(DISK) == [("receipt", 9, "12:20"), ("receipt", 9, "12:40"), ("receipt", 9, "13:00")]
    assert beat.slots("check-pending-tasks") == []
    assert beat.slots("check-timeout-tasks") != []
    assert set(beat.refused) == {None}


def test_invalid_settings_are_told_once_and_the_old_ones_stay_until_they_are_right_again(beat: Beat) -> None:
    beat.write(f'{QUIET}[schedule.jobs.{DISK}]\ncron = "61 * * * *"\n')
    beat.go(timedelta(minutes=20))
    (told,) = [each for each in beat.refused if each is not None]
    assert "'61 * * * *' is no cron expression" in told
    assert "settings.toml:6" in told
    assert beat.slots(DISK) == [("file", 5, "12:15")]
    beat.write(f'{QUIET}[schedule.jobs.{DISK}]\ncron = "30 * * * *"\n')
    assert beat.refused[-1] is None
    beat.go(timedelta(minutes=61))
    assert beat.slots(DISK)[1:] == [("file", 5, "12:30")]


@pytest.mark.parametrize(
    "wrong",
    [
        "[schedule",
        "\ufeff[schedule]\n= 1",
        "[schedule.jobs.disk-space-chek]\nenabled = false\n",
        '[general]\nzone = "磁"',
    ],
)
def test_whatever_is_wrong_with_the_file_the_schedule_goes_on(beat: Beat, wrong: str) -> None:
    beat.write(wrong)
    beat.go(timedelta(minutes=20))
    assert len([each for each in beat.refused if each]) == 1
    assert beat.slots(DISK) == [("file", 5, "12:15")]


def test_a_file_that_is_empty_for_a_moment_switches_nothing_on(beat: Beat) -> None:
    off = f"{QUIET}[schedule.jobs.{DISK}]\nenabled = false\n"
    beat.write(off)
    beat.go(timedelta(minutes=13))
    beat.file.write_text("")
    beat.watch.look()
    beat.file.write_text(off)
    beat.go(timedelta(hours=2))
    assert beat.slots(DISK) == []


def test_a_change_that_does_not_touch_the_schedule_is_not_handed_on(
    beat: Beat, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed: list[Mapping[str, JobSpec]] = []
    monkeypatch.setattr(beat.dispatcher, "follow", lambda specs, _zone: followed.append(specs))
    beat.write(f"{QUIET}# 只是注释\n[service]\nstop_grace_s = 50\n")
    assert followed == []
    beat.write(QUIET.replace("UTC", "Asia/Shanghai"))
    assert len(followed) == 1


def test_another_general_zone_is_followed(beat: Beat) -> None:
    assert ZoneInfo("Asia/Shanghai").utcoffset(START) == timedelta(hours=8)
    beat.write('[general]\ntimezone = "Asia/Shanghai"\n[schedule.jobs.backup-database]\ncron = "30 20 * * *"\n')
    beat.go(timedelta(hours=1))
    assert beat.slots("backup-database") == [("low_priority", 2, "12:30")]
