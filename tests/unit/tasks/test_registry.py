"""The registry: declarations, overrides, and what is refused."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from app.core.errors import SettingsError, UnknownJob
from app.jobs import USE_CASES
from app.settings import load
from tasks.registry import all_jobs, effective_specs, find_job, job, minimum_durations, scheduled_specs


@pytest.fixture
def write_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GENGFU_CONFIG", str(tmp_path))
    return tmp_path / "settings.toml"


def test_every_job_has_a_use_case_of_the_same_name_and_the_other_way_round() -> None:
    assert set(all_jobs()) == set(USE_CASES)


def test_an_override_changes_only_what_it_names(write_settings: Path) -> None:
    write_settings.write_text('[schedule.jobs.cleanup-logs]\ncron = "5 5 * * 1"\npriority = 7\n')
    before, after = all_jobs()["cleanup-logs"].spec, effective_specs(load())["cleanup-logs"]
    assert (after.cron, after.priority) == ("5 5 * * 1", 7)
    assert (after.queue, after.task_name, after.enabled) == (before.queue, before.task_name, True)


def test_every_declared_value_can_be_overridden(write_settings: Path) -> None:
    write_settings.write_text(
        '[schedule.jobs.backup-database]\ncron = "@every 60s"\ntimezone = "Europe/Berlin"\nqueue = "file"\n'
        'priority = 0\nmissed = "run_each"\nenabled = false\nminimum_s = 2.5\n'
    )
    spec = effective_specs(load())["backup-database"]
    assert (spec.cron, spec.timezone, spec.queue) == ("@every 60s", "Europe/Berlin", "file")
    assert (spec.priority, spec.missed, spec.enabled) == (0, "run_each", False)
    assert spec.minimum_s == 2.5


def test_a_job_that_names_no_zone_is_meant_in_the_general_one(write_settings: Path) -> None:
    write_settings.write_text('[schedule.jobs.cleanup-logs]\ntimezone = "Asia/Kathmandu"\n')
    specs, general = effective_specs(load()), ZoneInfo("Europe/Berlin")
    assert specs["cleanup-logs"].zone(general).key == "Asia/Kathmandu"
    assert specs["backup-database"].zone(general) is general


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('cron = "61 2 * * *"', "'61 2 * * *' is no cron expression"),
        ('cron = "0 0 31 2 *"', "'0 0 31 2 *' is no cron expression"),
        ('cron = "0 2 * * * *"', "'0 2 * * * *' has 6 fields"),
        ('cron = "每天两点"', "'每天两点' is no cron expression"),
        ('timezone = "Asia/Shangai"', "'Asia/Shangai' is no IANA time zone"),
        ('timezone = "../../etc/passwd"', "is no IANA time zone"),
        ('missed = "run_twice"', "run_once"),
        ("priority = 10", "10 is no whole number from 0 to 9"),
        ("minimum_s = -1", "-1 is no number from 0 to 86400"),
        ("minimum_s = 86401", "86400"),
    ],
)
def test_a_wrong_override_is_refused_quoting_it_and_where_it_stands(write_settings: Path, text: str, told: str) -> None:
    write_settings.write_text(f"[schedule.jobs.cleanup-logs]\n{text}\n", encoding="utf-8")
    with pytest.raises(SettingsError) as refused:
        load()
    assert told in str(refused.value)
    assert "settings.toml:2" in str(refused.value)


def test_the_error_of_a_wrong_time_shows_an_example_with_its_next_five_runs(write_settings: Path) -> None:
    write_settings.write_text('[schedule.jobs.cleanup-logs]\ncron = "noon"\n')
    with pytest.raises(SettingsError) as refused:
        load()
    runs = re.findall(r"\d{4}-\d\d-\d\d 02:00", str(refused.value))
    assert len(set(runs)) == 5
    assert runs == sorted(runs)


def test_a_job_switched_off_is_not_scheduled_and_the_others_are(write_settings: Path) -> None:
    write_settings.write_text("[schedule.jobs.cleanup-expired-tasks]\nenabled = false\n")
    names = {spec.name for spec in scheduled_specs(load())}
    assert "cleanup-expired-tasks" not in names
    assert len(names) == 9


def test_no_job_has_a_minimum_duration_but_those_that_declare_or_set_one(
    write_settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert minimum_durations(load()) == {}
    declared = all_jobs()["backup-database"]
    monkeypatch.setattr(declared, "spec", replace(declared.spec, minimum_s=1.0))
    write_settings.write_text("[schedule.jobs.cleanup-logs]\nminimum_s = 0.5\n")
    assert minimum_durations(load()) == {"backup-database": 1.0, "cleanup-logs": 0.5}
    write_settings.write_text("[schedule.jobs.backup-database]\nminimum_s = 0\n")
    assert minimum_durations(load()) == {"backup-database": 0.0}


def test_monitoring_switched_off_schedules_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONITORING_ENABLED", "false")
    assert list(scheduled_specs(load())) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[schedule.jobs.cleanup-log]\nenabled = false\n", '"cleanup-logs"'),
        ('[schedule.jobs.cleanup-logs]\nqueue = "low_prioritee"\n', '"low_priority"'),
    ],
)
def test_an_override_of_an_unknown_job_or_queue_is_refused_with_the_nearest(
    write_settings: Path, text: str, told: str
) -> None:
    write_settings.write_text(text)
    with pytest.raises(SettingsError, match=told):
        effective_specs(load())


def test_an_unknown_job_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(UnknownJob, match='"disk-space-check"'):
        find_job("disk-space-chek")


def test_a_declaration_with_a_queue_nobody_serves_or_a_wrong_time_is_refused() -> None:
    with pytest.raises(ValueError, match="nowhere"):
        job("x", queue="nowhere", priority=1)
    with pytest.raises(ValueError, match="61"):
        job("x", queue="file", priority=1, cron="61 * * * *")


def test_reading_the_registry_imports_no_celery() -> None:
    script = (
        "import sys; from tasks.registry import all_jobs; assert len(all_jobs()) == 13; "
        "sys.exit(any(name.split('.')[0] in {'celery', 'kombu'} for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
