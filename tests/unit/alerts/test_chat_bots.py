"""DingTalk, Feishu, Lark and WeCom: a 200 of theirs is not yet a yes."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from alert_messages import a_notification, told

from app.alerts.channel import ChannelContext, DeliveryError, Notification
from app.alerts.channels import open_channel
from app.alerts.targets import TargetSettings
from app.alerts.wire.chat_bots import BOTS, fitting, refused
from app.core.secret import Sealed

URLS = {
    "dingtalk": f"dingtalk://{'a1' * 32}",
    "feishu": f"feishu://{'a1' * 12}",
    "lark": f"lark://{'a1' * 12}",
    "wecombot": f"wecombot://{'a1' * 16}",
}
AS_THE_CHAT_WRITES_THEM = {
    "lark": f"https://open.larksuite.com/open-apis/bot/v2/hook/{'a1' * 12}",
    "wecombot": f"https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key={'a1' * 16}",
}
Answering = Callable[[bytes], list[bytes]]


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Answering:
    """Let every service answer 200 with this body; returns the list of what was asked."""

    def answer(body: bytes) -> list[bytes]:
        asked: list[bytes] = []

        def send(_self: object, request: requests.PreparedRequest, **_: object) -> requests.Response:
            sent = request.body or b""
            asked.append(sent if isinstance(sent, bytes) else sent.encode())
            response = requests.Response()
            response.status_code, response._content, response.request = 200, body, request
            return response

        monkeypatch.setattr("requests.adapters.HTTPAdapter.send", send)
        monkeypatch.setattr("app.alerts.channels.apprise.PAUSE_S", 0.0)
        return asked

    return answer


def send(scheme: str, tmp_path: Path, notification: Notification | None = None, urls: dict[str, str] = URLS) -> None:
    context = ChannelContext(logs=tmp_path, stderr=io.StringIO())
    open_channel("apprise", context, TargetSettings(url=Sealed(urls[scheme]))).send(notification or a_notification())


def test_every_bot_is_tried_here() -> None:
    assert set(URLS) == set(BOTS)


@pytest.mark.parametrize("scheme", URLS)
def test_a_zero_is_a_yes(scheme: str, answering: Answering, tmp_path: Path) -> None:
    asked = answering(json.dumps({BOTS[scheme].key: 0, "errmsg": "ok"}).encode())
    send(scheme, tmp_path)
    assert len(asked) == 1


@pytest.mark.parametrize("scheme", URLS)
def test_another_code_is_a_no_that_needs_a_person(scheme: str, answering: Answering, tmp_path: Path) -> None:
    answering(json.dumps({BOTS[scheme].key: 310000, "errmsg": "keywords not in content: 秘密"}).encode())
    with pytest.raises(DeliveryError) as caught:
        send(scheme, tmp_path)
    assert caught.value.permanent
    assert str(caught.value) == "the service answered with its code 310000"


@pytest.mark.parametrize("scheme", AS_THE_CHAT_WRITES_THEM)
def test_the_address_that_the_chat_itself_gives_works_as_well(
    scheme: str, answering: Answering, tmp_path: Path
) -> None:
    answering(json.dumps({BOTS[scheme].key: 310000}).encode())
    with pytest.raises(DeliveryError, match="310000"):
        send(scheme, tmp_path, urls=AS_THE_CHAT_WRITES_THEM)


@pytest.mark.parametrize(("scheme", "code"), [(scheme, code) for scheme, bot in BOTS.items() for code in bot.busy])
def test_too_many_messages_is_a_no_that_passes(scheme: str, code: int, answering: Answering, tmp_path: Path) -> None:
    answering(json.dumps({BOTS[scheme].key: code}).encode())
    with pytest.raises(DeliveryError) as caught:
        send(scheme, tmp_path)
    assert not caught.value.permanent


@pytest.mark.parametrize("answer", [b"", b"<html>", b"[]", b"null", b'{"errcode": "0"}', b"{}", b"[" * 100_000])
@pytest.mark.parametrize("scheme", URLS)
def test_an_answer_of_another_shape_says_no_more_than_its_200(scheme: str, answer: bytes) -> None:
    assert refused(scheme, answer) is None


def test_other_services_may_have_such_keys_and_mean_something_else() -> None:
    assert refused("slack", b'{"errcode": 1, "code": 1}') is None


@pytest.mark.parametrize("scheme", URLS)
def test_the_longest_message_is_cut_to_what_the_bot_takes(scheme: str, answering: Answering, tmp_path: Path) -> None:
    asked = answering(b"{}")
    alerts = [told(alert={"message": "长" * 2000, "labels": {"n": str(number)}}) for number in range(20)]
    send(scheme, tmp_path, a_notification(*alerts))
    (document,) = (json.loads(body) for body in asked)
    content = document["text"]["content"] if "text" in document else document["content"]["text"]
    assert len(content.encode()) <= BOTS[scheme].longest + len("\r\n")
    assert content.endswith("…")


def test_a_cut_falls_between_characters_and_short_texts_stay() -> None:
    longest = BOTS["wecombot"].longest
    assert fitting("wecombot", "一" * (longest // 3), beside=longest % 3) == "一" * (longest // 3)
    cut = fitting("wecombot", "一" * longest, beside=0)
    assert cut == "一" * ((longest - 3) // 3) + "…"
    assert fitting("slack", "一" * longest, beside=0) == "一" * longest
