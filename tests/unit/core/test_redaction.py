"""No password of a URL survives redaction."""

import pytest

from app.core.redaction import redact


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://u:geheim@h/d",
        "redis://:geheim@h:6379/0",
        "amqp://u:geheim@a//;amqp://u:geheim@b//",
        "sentinel://:geheim@h1:26379;sentinel://:geheim@h2:26379",
        "redis+socket://u:geheim@/tmp/x.sock",
        "postgresql://u:ge@geheim@h/d",
        "postgresql://u:ge/geheim@h/d",
        "postgresql://u:%40geheim@h/d",
        "https://h/path?token=geheim&x=1",
        "postgresql://h/d?user=u&password=geheim",
        "could not connect to redis://:geheim@h: refused, tried redis://:geheim@g too",
    ],
)
def test_the_secret_is_gone_and_the_host_stays_readable(text: str) -> None:
    assert "geheim" not in redact(text)
    assert "***" in redact(text)


@pytest.mark.parametrize("text", ["postgresql://u@h/d", "纯文本 a@b.c", "redis://h:6379/0", "10:30 @ noon"])
def test_text_without_secrets_stays_as_it_is(text: str) -> None:
    assert redact(text) == text
