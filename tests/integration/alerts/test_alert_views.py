"""What is known of alerts, as commands and pages show it, on each database."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import event, insert

from app.alerts.targets import TargetSettings
from app.context import Context, make_context
from app.core.clock import ManualClock
from app.core.own_tables import alert_outbox
from app.core.secret import Sealed
from app.schedule.signs import MONITOR, Signs
from app.settings import load
from app.watch.telling import notify
from app.watch.views import alert_in_detail, alerts_now, who_watches

TROUBLE = {"type": "trouble", "message": "出错", "severity": "error"}


@pytest.fixture
def context(database_url: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    made = make_context(load(), clock)
    yield made
    made.database.dispose()


def with_alerts(context: Context, **changed: Any) -> Context:
    alerts = msgspec.structs.replace(context.settings.alerts, **changed)
    return replace(context, settings=msgspec.structs.replace(context.settings, alerts=alerts))


# Who watches


def seen(context: Context, ago: timedelta) -> tuple[bool, float | None]:
    Signs(context.database).leave(MONITOR, {}, context.clock.now() - ago)
    told = who_watches(context)
    return told["watched"], told["monitor_silent_s"]


def test_nobody_watches_where_no_monitor_ever_looked(context: Context) -> None:
    assert who_watches(context) == {"watched": False, "enabled": True, "monitor_silent_s": None}


def test_nobody_watches_who_has_not_looked_for_two_minutes(context: Context) -> None:
    assert seen(context, timedelta(seconds=120)) == (True, 120.0)
    assert seen(context, timedelta(seconds=120.1)) == (False, 120.1)


def test_nobody_watches_where_alerts_are_switched_off(context: Context) -> None:
    off = with_alerts(context, enabled=False)
    assert seen(off, timedelta(0)) == (False, 0.0)
    assert who_watches(off)["enabled"] is False


# Messages about an alert


def fires(context: Context, what: str) -> str:
    """Have an alert told on the console and in the log file, and return its fingerprint."""
    notify(context, [{**TROUBLE, "labels": {"what": what}}])
    return next(one["fingerprint"] for one in alerts_now(context) if one["labels"] == {"what": what})


def message(context: Context, number: int, target: str, **changed: Any) -> None:
    now = context.clock.now()
    row = {"channel": target, "group_key": "g", "kind": "group", "level": "error", "payload": {}, "state": "sent"}
    times = {"created_at": now, "next_at": now, "expires_at": now}
    with context.database.write() as connection:
        rows = [{**row, **times, "attempts": 0, "dedupe_key": f"{number}-{n}", **changed} for n in range(number)]
        connection.execute(insert(alert_outbox), rows)


def told(context: Context, fingerprint: str) -> list[str]:
    return [one["target"] for one in alert_in_detail(context, fingerprint)["messages"]]


def test_the_messages_of_an_alert_are_found_however_many_came_after_them(context: Context) -> None:
    mine = fires(context, "磁盘")
    fires(context, "另一个")
    message(context, 600, "console", kind="event", group_key="ffffffffffffffff")
    assert sorted(told(context, mine)) == ["console", "log_files"]


def test_group_messages_that_name_an_alert_or_count_it_among_others_are_about_it(context: Context) -> None:
    mine = fires(context, "磁盘")
    message(context, 1, "ops", payload={"alerts": [{"alert": _alert(mine)}], "marks": {}})
    message(context, 2, "gone", payload={"alerts": [], "marks": {mine: None}})
    message(context, 3, "ops", payload={"alerts": [{"alert": _alert("f" * 16)}], "marks": {"f" * 16: None}})
    assert sorted(told(context, mine)) == ["console", "gone", "gone", "log_files", "ops"]


def _alert(fingerprint: str) -> dict[str, str]:
    return {"fingerprint": fingerprint, "alertname": "Trouble", "severity": "error"}


def test_no_more_than_fifty_messages_are_shown_the_newest_first(context: Context) -> None:
    mine = fires(context, "磁盘")
    for number in (30, 40):
        message(context, number, f"ops{number}", payload={"alerts": [], "marks": {mine: None}})
    found = told(context, mine)
    assert (len(found), set(found[:40]), set(found[40:])) == (50, {"ops40"}, {"ops30"})


def test_what_only_mentions_a_fingerprint_in_its_text_is_not_about_the_alert(context: Context) -> None:
    mine = fires(context, "磁盘")
    message(context, 1, "ops", payload={"alerts": [], "text": f"see {mine}", "quoted": f'see "{mine}"'})
    assert "ops" not in told(context, mine)


def test_the_rows_of_single_transitions_are_found_by_index(context: Context) -> None:
    """They are most of the outbox, with a payload each; those of targets that group are looked through."""
    mine = fires(context, "磁盘")
    target = TargetSettings(channel="webhook", url=Sealed("https://hooks.example/x"))
    grouping = with_alerts(context, channels=("log_files", "console", "ops"), targets={"ops": target})
    asked: list[str] = []
    event.listen(context.database.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    assert len(alert_in_detail(grouping, mine)["messages"]) == 2
    searched = [one for one in asked if "gengfu_alert_outbox" in one and "LIKE" in one]
    assert searched == []
