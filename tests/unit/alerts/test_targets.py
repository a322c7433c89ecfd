"""`[alerts.targets.NAME]`: what is refused, how it is said, and that no secret is said with it."""

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.alerts.channel import ChannelContext
from app.alerts.channels import open_target
from app.alerts.settings import AlertSettings
from app.alerts.targets import TargetSettings
from app.core.errors import SettingsError
from app.core.secret import Sealed
from app.core.settings_reader import plain, read
from app.settings import load

PROJECT = Path(__file__).resolve().parents[3]
CANARY = "Geheim4711"
URL = f"https://hooks.example/services/{CANARY}"


def loaded(**targets: Any) -> AlertSettings:
    return read(AlertSettings, {"targets": targets})


def refusal(channels: list[str] | None = None, **targets: Any) -> str:
    values = {"targets": targets} | ({"channels": channels} if channels else {})
    with pytest.raises(SettingsError) as caught:
        read(AlertSettings, values)
    assert CANARY not in str(caught.value)
    return str(caught.value)


def test_a_target_is_named_in_channels_like_a_channel() -> None:
    settings = read(
        AlertSettings, {"channels": ["log_files", "ops"], "targets": {"ops": {"channel": "webhook", "url": URL}}}
    )
    assert settings.channels == ("log_files", "ops")
    assert settings.target("ops").url.get_secret_value() == URL
    assert settings.target("log_files") == TargetSettings()


def test_a_target_called_like_its_channel_need_not_name_it(tmp_path: Path) -> None:
    settings = loaded(webhook={"url": URL}, ops={"channel": "webhook", "url": URL})
    context = ChannelContext(logs=tmp_path, stderr=None)
    found = [open_target(name, context, settings.targets) for name in ("webhook", "ops", "console")]
    assert [(channel.name, type(channel).__module__.rpartition(".")[2]) for channel in found] == [
        ("webhook", "webhook"),
        ("ops", "webhook"),
        ("console", "console"),
    ]


def test_what_a_target_leaves_out_has_its_default() -> None:
    target = loaded(webhook={"url": URL}).target("webhook")
    assert target.levels == ("critical", "warning", "error")
    assert target.group_by == ("alertname", "component")
    assert (target.send_resolved, target.allow_private) == (True, False)


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ({"channel": "webhok", "url": URL}, 'did you mean "webhook"?'),
        ({"url": URL}, "set channel to one of alertmanager, apprise, console"),
        ({"channel": "webhook"}, "url is missing or no http:// or https:// address"),
        ({"channel": "webhook", "url": f"ftp://{CANARY}"}, "url is missing or no http"),
        ({"channel": "webhook", "url": f"https://h:{CANARY}/"}, "url is missing or no http"),
        ({"channel": "webhook", "url": f"https://[{CANARY}/"}, "url is missing or no http"),
        ({"channel": "alertmanager", "url": CANARY}, "url is missing or no http"),
        ({"channel": "heartbeat", "url": f"https:///{CANARY}"}, "url is missing or no http"),
        ({"channel": "apprise", "url": CANARY}, "no Apprise URL"),
        ({"channel": "apprise", "url": f"slack://{CANARY}", "hmac_secret": CANARY}, "hmac_secret means nothing"),
        ({"channel": "apprise", "url": f"slack://{CANARY}", "headers": {"a": CANARY}}, "headers means nothing"),
        ({"channel": "log_files", "url": URL}, "url means nothing to this channel"),
        ({"channel": "console", "allow_private": True}, "allow_private means nothing"),
        ({"channel": "webhook", "url": URL, "levels": ["critcal"]}, 'did you mean "critical"?'),
        ({"channel": "webhook", "url": URL, "levels": []}, "levels"),
        ({"channel": "webhook", "url": URL, "header": {}}, "unknown key targets.ops.header"),
        ({"channel": "webhook", "url": 3}, "url: needs a text"),
        ({"channel": "webhook", "url": [URL]}, "url: needs a text"),
        ({"channel": "webhook", "url": URL, "headers": f"Authorization: {CANARY}"}, "headers"),
        ({"channel": "webhook", "url": URL, "headers": {"Authorization": [CANARY]}}, "needs a text"),
        (URL, "targets.ops"),
        ([URL], "targets.ops"),
    ],
)
def test_a_wrong_target_is_refused_by_name_and_without_its_secrets(target: Any, why: str) -> None:
    told = refusal(ops=target)
    assert why in told
    assert "targets.ops" in told


@pytest.mark.parametrize("name", ["Ops", "1ops", "a b", "", "x" * 32, "a.b", "群", "ops\n"])
def test_a_name_that_the_environment_could_not_hold_is_refused(name: str) -> None:
    refusal(**{name: {"channel": "webhook", "url": URL}})


def test_a_channel_that_needs_settings_is_not_named_without_them() -> None:
    assert "targets.webhook: url is missing" in refusal(channels=["webhook"])


def test_an_unknown_name_among_channels_is_answered_with_the_nearest_target() -> None:
    assert 'did you mean "ops"?' in refusal(channels=["opps"], ops={"channel": "webhook", "url": URL})


def test_no_secret_is_shown_written_or_pickled() -> None:
    target = {"channel": "webhook", "url": URL, "hmac_secret": CANARY, "headers": {"Authorization": f"Bearer {CANARY}"}}
    settings = loaded(ops=target)
    shown = [
        repr(settings),
        str(settings),
        json.dumps(plain(settings), default=str),
        str(pickle.dumps(settings.targets["ops"].url)),
    ]
    assert [text for text in shown if CANARY in text] == []
    assert plain(settings)["targets"]["ops"]["url"] == "***"
    assert isinstance(settings.targets["ops"].hmac_secret, Sealed)


def test_the_environment_sets_a_key_of_a_target(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text('[alerts]\nchannels = ["ops"]\n[alerts.targets.ops]\nchannel = "webhook"\n')
    monkeypatch.setenv("GENGFU_CONFIG", str(tmp_path))
    monkeypatch.setenv("GENGFU_ALERTS__TARGETS__OPS__URL", URL)
    monkeypatch.setenv("GENGFU_ALERTS__TARGETS__OPS__LEVELS", '["critical"]')
    target = load().alerts.target("ops")
    assert (target.url.get_secret_value(), target.levels) == (URL, ("critical",))


def test_a_wrong_url_of_the_environment_is_told_without_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GENGFU_CONFIG", str(tmp_path))
    monkeypatch.setenv("GENGFU_ALERTS__TARGETS__OPS", URL)
    with pytest.raises(SettingsError) as caught:
        load()
    assert "GENGFU_ALERTS__TARGETS__OPS" in str(caught.value)
    assert CANARY not in str(caught.value)


_READS_TARGETS = """
import json, sys
from app.alerts.settings import AlertSettings
from app.core.settings_reader import read
read(AlertSettings, {"targets": json.loads(sys.argv[1])})
print(sorted({"httpx", "httpcore", "requests", "apprise"} & set(sys.modules)))
"""


def test_reading_targets_loads_no_library_that_sends() -> None:
    targets = {name: {"url": "https://h.example/"} for name in ("webhook", "alertmanager", "heartbeat")}
    command = [sys.executable, "-c", _READS_TARGETS, json.dumps(targets | {"apprise": {"url": "slack://a/b/c"}})]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=PROJECT)
    assert done.stdout.strip() == "[]"
