from typing import Any

import pytest

from app.core.errors import SettingsError
from app.core.settings_reader import read
from app.upkeep.settings import UpkeepSettings


@pytest.mark.parametrize(
    "url",
    [
        "https://wuliu.example/t/{tracking_number}",
        "http://127.0.0.1:8080/?no={tracking_number}&key=geheim",
        "http://[::1]/{tracking_number}",
        "",
    ],
)
def test_a_usable_tracking_address_is_taken(url: str) -> None:
    settings = read(UpkeepSettings, {"tracking_url": url})
    assert settings.tracking_url.get_secret_value() == url
    assert "geheim" not in repr(settings)


@pytest.mark.parametrize(
    "url",
    [
        "https://geheim.example/t",
        "https://geheim.example/{number}",
        "https://geheim.example/{tracking_number}/{other}",
        "https://geheim.example/{tracking_number!r}",
        "https://geheim.example/{tracking_number",
        "https://{tracking_number}/geheim",
        "https://{tracking_number}.geheim.example/",
        "ftp://geheim.example/{tracking_number}",
        "file:///geheim/{tracking_number}",
        "geheim/{tracking_number}",
        "http://[::1/{tracking_number}/geheim",
    ],
)
def test_an_unusable_tracking_address_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(UpkeepSettings, {"tracking_url": url})
    assert "tracking_url" in str(caught.value)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        {"pending_minutes": 0},
        {"processing_minutes": -1},
        {"timeout_action": "delete"},
        {"tracking_timeout_s": 0},
        {"tracking_batch": 0},
        {"backup_keep": 0},
        {"backup_keeps": 7},
    ],
)
def test_a_wrong_value_is_refused_by_name(values: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=next(iter(values))):
        read(UpkeepSettings, values)


def test_timed_out_tasks_are_only_reported_by_default() -> None:
    assert UpkeepSettings().timeout_action == "report"
