"""`gengfu demo nights`: one alert rises, rises on and ends, in files, on the console and at a webhook."""

import io
import json
from collections.abc import Iterator

import pytest

from app.context import Context, make_context
from app.core.clock import ManualClock
from app.demo.create import create_demo
from app.playback import Night, play
from app.settings import load


@pytest.fixture
def context(database_url: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("GENGFU_GENERAL__TIMEZONE", "Asia/Shanghai")
    made = make_context(load(), clock)
    yield made
    made.database.dispose()


def nights(context: Context, console: io.StringIO, *, failing: bool) -> list[Night]:
    now = context.clock.now()
    logs = context.settings.paths.logs
    create_demo(context.database, {}, logs, tasks=6000, now=now, zone=context.zone, files=False, failing=failing)
    return list(play(context, console))


def heard(night: Night) -> list[tuple[str, str]]:
    return [(body["status"], one["labels"]["severity"]) for body in night.received for one in body["alerts"]]


def test_one_alert_rises_to_warning_then_critical_and_ends_everywhere(context: Context) -> None:
    console = io.StringIO()
    played = nights(context, console, failing=True)
    assert [night.events for night in played] == [("firing",), ("escalated",), ("resolved",), ()]
    assert [heard(night) for night in played] == [
        [("firing", "warning")],
        [("firing", "critical")],
        [("resolved", "critical")],
        [],
    ]
    logs = context.settings.paths.logs
    files = [logs / f"{level}_alerts.log" for level in ("warning", "critical")]
    told = [json.loads(line) for file in files for line in file.read_bytes().splitlines()]
    assert len({line["fingerprint"] for line in told}) == 1
    assert [line.split()[2] for line in console.getvalue().splitlines()] == ["WARNING", "CRITICAL", "RESOLVED"]
    summaries = {path.stem for path in context.settings.paths.alert_reports.glob("*.json")}
    assert summaries == {"2026-03-07", "2026-03-08", "2026-03-09"}


def test_an_application_that_is_well_has_quiet_nights(context: Context) -> None:
    console = io.StringIO()
    played = nights(context, console, failing=False)
    assert [(night.events, night.received) for night in played] == [((), ())] * 4
    assert console.getvalue() == ""
