"""`gengfu alerts`: what people see of alerts and do about them, on 80 columns."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import insert, update

from app.cli import gengfu
from app.context import Context, make_context, open_context
from app.core.clock import SystemClock
from app.core.own_tables import alert_outbox
from app.schedule.signs import MONITOR, Signs
from app.settings import load
from app.watch.desk import AlertDesk
from app.watch.telling import notify

Run = Callable[..., Result]
RULES_TEST = """
[[tests]]
name = "{0}"
[[tests.figures]]
source = "disk.usage_percent"
labels = {{ mount = "/data" }}
values = "85x9"
[[tests.expect]]
at = "8m"
alerts = [{{ rule = "disk_usage_high", level = "{1}", labels = {{ mount = "/data" }} }}]
"""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("GENGFU_GENERAL__TIMEZONE", "Asia/Shanghai")
    with open_context() as context:
        context.prepare_own_tables()
    return lambda *words: CliRunner().invoke(gengfu, ["alerts", *words])


@pytest.fixture
def context(run: Run) -> Iterator[Context]:
    assert run
    made = make_context(load(), SystemClock())
    yield made
    made.database.dispose()


@pytest.fixture
def watched(context: Context) -> None:
    """A monitor has just looked."""
    Signs(context.database).leave(MONITOR, {}, context.clock.now())


@pytest.fixture
def two(context: Context) -> list[Any]:
    """A critical alert with a long hostile message, and a warning."""
    notify(
        context,
        [
            {
                "type": "disk",
                "message": "磁盘 " + "满" * 60 + " \x1b[2J",
                "severity": "critical",
                "labels": {"盘": "/数据"},
            },
            {"type": "backlog", "message": "积压", "severity": "warning", "value": 120, "threshold": 100},
        ],
    )
    result = CliRunner().invoke(gengfu, ["alerts", "list", "--json"])
    found: list[Any] = json.loads(result.stdout)["alerts"]
    return found


def fits(result: Result) -> bool:
    """Whether nothing acts on the terminal and no line is wider than it."""
    wide = [line for line in result.output.splitlines() if sum(1 + (ord(letter) > 0x2E80) for letter in line) > 80]
    return not wide and "\x1b" not in result.output


def test_nothing_is_said_in_words(run: Run, watched: None) -> None:
    assert watched is None
    assert run("list").output == "no alert fires\n"
    assert run("silences").output == "nothing is silent\n"
    assert run("history").output == "nothing happened in the last 7d\n"
    assert run("outbox").output == "nothing was ever to be sent\n"
    told = json.loads(run("list", "--json").stdout)
    assert (told["alerts"], told["watched"]) == ([], True)


def test_an_empty_list_says_where_nobody_watches(run: Run, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    none = run("list")
    assert (none.stdout, none.exit_code) == ("no alert is known to fire\n", 0)
    assert "no monitor looks; start" in none.stderr
    Signs(context.database).leave(MONITOR, {}, context.clock.now() - timedelta(minutes=25))
    assert "no monitor has looked for 25 min; start" in run("list").stderr
    monkeypatch.setenv("ALERT_ENABLED", "false")
    assert "enabled = false" in run("list").stderr
    assert json.loads(run("list", "--json").stdout)["watched"] is False


def test_a_list_says_where_nobody_watches_and_fits(run: Run, two: list[Any]) -> None:
    assert two
    assert "note: no monitor looks" in run("list").stderr
    assert fits(run("list"))


def test_a_long_list_shows_the_most_urgent_and_how_many_there_are(run: Run, context: Context, watched: None) -> None:
    assert watched is None
    levels = ["warning"] * 50 + ["critical", "error"]
    notify(context, [{"type": f"磁盘{n}", "message": "满", "severity": level} for n, level in enumerate(levels)])
    shown = run("list").output
    assert [shown.count(level) for level in ("critical", "error", "warning")] == [1, 1, 48]
    assert "and 2 more; --limit shows them" in shown
    assert "more" not in run("list", "--limit", "52").output
    assert len(json.loads(run("list", "--json").stdout)["alerts"]) == 52


def test_what_is_over_says_since_when_and_what_ended_it(run: Run, context: Context) -> None:
    for level in (85, 60):
        mount = {"mount": "/数据", "free_gb": 3, "usage_percent": level, "inodes_percent": 5.0, "inode_forecast": None}
        AlertDesk(context).observe({"disk": {"mounts": [mount | {"forecast": {"method": None}}], "errors": []}})
    result = run("list", "--all")
    assert "/数据 is 85 % full, 3 GB are free; the threshold is 80 %" in result.output
    assert ", now 60 %" in result.output
    assert fits(result)
    assert "now 60 %" in run("history").output


def test_the_most_urgent_alert_stands_first_and_in_the_window(run: Run, two: list[Any]) -> None:
    assert [alert["level"] for alert in two] == ["critical", "warning"]
    result = run("list")
    assert result.output.index("Disk") < result.output.index("Backlog")
    assert two[0]["fingerprint"][:8] in result.output
    assert fits(result)


def test_an_alert_is_shown_with_all_that_is_known(run: Run, two: list[Any]) -> None:
    result = run("show", two[0]["fingerprint"][:6])
    assert fits(result)
    for text in ("盘 = /数据", "outside:application/disk", "firing", "log_files", "console"):
        assert text in result.output
    told = json.loads(run("show", two[1]["fingerprint"], "--json").stdout)
    assert (told["value"], told["threshold"], told["state"], told["episode"]) == (120, 100, "firing", 1)
    assert [event["event"] for event in told["events"]] == ["firing"]
    assert {message["target"] for message in told["messages"]} == {"log_files", "console"}


@pytest.mark.parametrize("words", [["show", "ffff"], ["history", "ffff"], ["ack", "ffff"], ["show", "%"]])
def test_an_alert_that_is_not_there_is_refused(run: Run, two: list[Any], words: list[str]) -> None:
    assert two
    result = run(*words)
    assert result.exit_code == 2
    assert "gengfu alerts list" in result.output


def test_an_acknowledged_alert_says_who_and_until_when(run: Run, two: list[Any]) -> None:
    done = run("ack", two[0]["fingerprint"][:8], "--for", "2h", "--comment", "在修")
    assert done.exit_code == 0
    assert "no repeats until" in done.output
    assert "acknowledged by" in " ".join(run("list").output.split())
    assert "在修" in run("history").output
    (told,) = json.loads(run("ack", two[1]["fingerprint"], "--json").stdout)
    assert told["alertname"] == "Backlog"


def test_a_silence_is_made_shown_and_ended(run: Run, two: list[Any]) -> None:
    assert two
    made = run("silence", "type=disk", "--for", "2h", "--comment", "换盘", "--json")
    silence = json.loads(made.stdout)
    assert (silence["state"], silence["matchers"], silence["comment"]) == ("in force", ['type="disk"'], "换盘")
    assert f"silenced by {silence['id']}" in " ".join(run("list").output.split())
    assert fits(run("silences"))
    assert silence["id"] in run("silences").output
    assert run("unsilence", silence["id"]).exit_code == 0
    assert run("silences").output == "nothing is silent\n"
    assert "over" in run("silences", "--all").output
    assert "silenced" not in run("list").output


def test_a_silence_may_come_again_in_the_operators_zone(run: Run) -> None:
    words = ("silence", "mount=~/data.*", "--until", "2099-01-01", "--comment", "备份")
    silence = json.loads(run(*words, "--between", "22:00-06:00", "--days", "sat,sun", "--json").stdout)
    assert silence["recurrence"] == {
        "days": ["sat", "sun"],
        "from": "22:00",
        "to": "06:00",
        "timezone": "Asia/Shanghai",
    }
    assert datetime.fromisoformat(silence["ends_at"]) == datetime(2098, 12, 31, 16, tzinfo=UTC)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["mount=/data", "--comment", "x"], "--for 2h or --until"),
        (["mount=/data", "--comment", "x", "--for", "2h", "--until", "2099-01-01"], "--for 2h or --until"),
        (["mount=/data", "--comment", "x", "--for", "bald"], "bald"),
        (["mount=/data", "--comment", "x", "--for", "0s"], "no time at all"),
        (["mount=/data", "--comment", "x", "--until", "morgen"], "morgen"),
        (["mount=/data", "--comment", "x", "--until", "2001-01-01"], "is over"),
        (["mount", "--comment", "x", "--for", "2h"], "is no matcher"),
        (["mount=~(", "--comment", "x", "--for", "2h"], "RE2"),
        (["mount!=/data", "--comment", "x", "--for", "2h"], "fit every alert"),
        (["mount=/data", "--comment", " ", "--for", "2h"], "comment"),
        (["mount=/data", "--comment", "x", "--for", "2h", "--between", "22"], "--between"),
        (["mount=/data", "--comment", "x", "--for", "2h", "--days", "sta"], '"sat"'),
    ],
)
def test_a_silence_that_can_not_be_is_refused(run: Run, words: list[str], told: str) -> None:
    result = run("silence", *words)
    assert result.exit_code == 2
    assert told in result.output
    assert run("silences", "--all").output == "nothing is silent\n"


def test_dead_messages_are_told_and_sent_again(run: Run, context: Context, two: list[Any]) -> None:
    assert two
    with context.database.write() as connection:
        connection.execute(update(alert_outbox).where(alert_outbox.c.channel == "console").values(state="dead"))
    dead = run("outbox", "--state", "dead")
    assert dead.exit_code == 5
    assert "gengfu alerts replay" in dead.output
    assert fits(dead)
    counts = json.loads(run("outbox", "--json").stdout)["counts"]
    assert counts == {"console": {"dead": 2}, "log_files": {"sent": 2}}
    (number,) = [
        message["id"] for message in json.loads(run("outbox", "--state", "dead", "--json").stdout)["messages"]
    ][:1]
    unknown = run("replay", str(number), "99999")
    assert unknown.exit_code == 2
    assert f"not all of {number}, 99999 are dead messages" in unknown.output
    assert json.loads(run("replay", str(number), "--json").stdout) == {"messages": 1}
    assert "1 messages" in run("replay", "--to", "console").output
    assert run("outbox").exit_code == 0


def test_an_outbox_row_of_a_test_or_digest_is_shown_by_its_kind(run: Run, context: Context) -> None:
    now = context.clock.now()
    row = {
        "channel": "ops",
        "group_key": "digest",
        "kind": "digest",
        "level": "warning",
        "dedupe_key": "k",
        "payload": {},
    }
    times = {"created_at": now, "next_at": now, "expires_at": now + timedelta(days=1)}
    with context.database.write() as connection:
        connection.execute(insert(alert_outbox), [{**row, **times, "state": "pending", "attempts": 3}])
    assert "digest" in run("outbox").output


def test_rules_show_the_last_figure_and_what_is_left(run: Run, context: Context) -> None:
    assert "not seen" in run("rules").output
    unknown = {"method": None, "hours_left": None, "full_at": None}
    mounts = [
        {"mount": f"/盘{number}", "free_gb": 3, "usage_percent": used, "inodes_percent": 5.0, "forecast": unknown}
        | {"inode_forecast": None}
        for number, used in enumerate((85, 61.5, 40, 30, 20))
    ]
    AlertDesk(context).observe({"disk": {"mounts": mounts, "errors": []}})
    result = run("rules")
    assert fits(result)
    assert "and 2 more" in result.output
    (rule,) = [one for one in json.loads(run("rules", "--json").stdout) if one["rule"] == "disk_usage_high"]
    assert (rule["op"], rule["levels"]) == (">", {"warning": 80, "critical": 90})
    figures = {figure["labels"]["mount"]: (figure["level"], figure["distance"]) for figure in rule["figures"]}
    assert (figures["/盘0"], figures["/盘1"]) == (("warning", 5), (None, 18.5))


def test_rules_and_channels_are_checked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("check").output.startswith("ok: ")
    monkeypatch.setenv("GENGFU_ALERTS__RULES__DISK_USAGE_HIGH__ENABLED", "false")
    assert "off: disk_usage_high" in run("check").output
    monkeypatch.setenv("GENGFU_ALERTS__RULES__DISK_USAGE_HIGH__LEVELS__WARNING", "95")
    result = run("check")
    assert result.exit_code == 2
    assert "disk_usage_high" in result.output


def test_rule_tests_pass_or_fail_with_their_differences(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "tests.toml"
    file.write_text(RULES_TEST.format("磁盘", "warning"), encoding="utf-8")
    good = run("test", str(file))
    assert (good.exit_code, good.output) == (0, "ok      磁盘\n1 tests, 0 failed\n")
    file.write_text(RULES_TEST.format("磁盘", "critical"), encoding="utf-8")
    bad = run("test", str(file))
    assert bad.exit_code == 1
    assert "was to be critical, and is warning" in " ".join(bad.output.split())
    file.write_text("x = [", encoding="utf-8")
    assert run("test", str(file)).exit_code == 2


def test_a_target_is_tried(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("test-channel", "console").exit_code == 0
    unknown = run("test-channel", "consol")
    assert (unknown.exit_code, 'did you mean "console"' in unknown.output) == (2, True)
    target = {"channel": "webhook", "url": "http://127.0.0.1:1/geheim", "allow_private": True}
    monkeypatch.setenv("GENGFU_ALERTS__TARGETS", json.dumps({"ops": target}))
    refused = run("test-channel", "ops")
    assert refused.exit_code == 1
    assert "geheim" not in refused.output
