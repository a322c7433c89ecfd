"""What `[retention]` accepts, refuses and fills in."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from app.core.errors import SettingsError
from app.core.settings_reader import read
from app.retention.settings import RetentionSettings

SHIPPED = Path(__file__).resolve().parents[3] / "config" / "retention.toml"

OWN = {"table": "jobs", "finished": "done", "keep": "30d"}
WORD = OWN | {"status": "state", "statuses": ["完成"]}
FILE = {"files": {"f": "uploads"}}


def test_the_shipped_file_names_every_key_with_its_default() -> None:
    shipped = tomllib.loads(SHIPPED.read_text(encoding="utf-8"))["retention"]
    assert set(shipped) == set(RetentionSettings.__struct_fields__)
    assert read(RetentionSettings, shipped) == RetentionSettings()


def test_the_defaults_are_the_seeds_policy() -> None:
    settings = RetentionSettings()
    assert (settings.completed_tasks_days, settings.failed_tasks_days) == (30, 7)
    assert (settings.temp_files_hours, settings.log_files_days) == (24, 30)


def test_naming_one_root_leaves_the_others_at_their_defaults() -> None:
    settings = read(
        RetentionSettings, {"roots": {"uploads": {"aliases": ["/app/uploads"]}, "归档": {"path": "/srv/archive"}}}
    )
    assert settings.roots["uploads"].path == Path("var/sample/uploads")
    assert settings.roots["uploads"].aliases == ["/app/uploads"]
    assert {"documents", "temp", "归档"} <= settings.roots.keys()


def test_naming_one_column_leaves_the_others_at_their_defaults() -> None:
    settings = read(RetentionSettings, {"task_files": {"image_path": "documents"}})
    assert settings.task_files["image_path"] == "documents"
    assert settings.task_files["screenshot_path"] == "screenshots"


@pytest.mark.parametrize("key", ["completed_tasks_days", "failed_tasks_days", "temp_files_hours", "log_files_days"])
@pytest.mark.parametrize(("value", "accepted"), [(1, True), (0, False), (-7, False), ("bald", False), (None, False)])
def test_ages_below_one_are_refused(key: str, value: Any, accepted: bool) -> None:  # noqa: FBT001 - a case of the table
    if accepted:
        assert getattr(read(RetentionSettings, {key: value}), key) == value
    else:
        with pytest.raises(SettingsError, match=key):
            read(RetentionSettings, {key: value})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"task_files": {"image_path": "upload"}}, r'no \[retention.roots.upload\] \(did you mean "uploads"\?\)'),
        ({"task_files": {"image_paht": "uploads"}}, r'no file column \(did you mean "image_path"\?\)'),
        ({"receipt_files": {"image_path": "uploads"}}, "no file column"),
        ({"temp_roots": ["tmp"]}, r'temp_roots names \'tmp\', but .* \(did you mean "temp"\?\)'),
        ({"temp_roots": ["uploads"]}, "holds files of rows"),
        ({"log_roots": ["documents"]}, "holds files of rows"),
        ({"roots": {"logs": {"path": "/srv/logs"}}}, "our own log folder"),
        ({"roots": {"a b": {"path": "/srv/a"}}}, "no root name"),
        ({"roots": {"uploads": {"path": "/x", "alias": "y"}}}, "alias"),
        ({"roots": {"new": {}}}, "path"),
        ({"roots": {"uploads": {"aliases": ["/"]}}}, "no prefix"),
        ({"roots": {"uploads": {"aliases": ["/app/"]}}}, "no prefix"),
        ({"roots": {"uploads": {"aliases": ["../app"]}}}, "no prefix"),
        ({"log_patterns": []}, "at least 1"),
        ({"log_patterns": ["logs/*.gz"]}, "no pattern of file names"),
        ({"temp_age": "oldest"}, "modified"),
        ({"completed_task_days": 3}, "completed_task_days"),
        ({"rules": {"failed": OWN}}, "name of a default rule"),
        ({"rules": {"a b": OWN}}, "no rule name"),
        ({"rules": {"own": OWN | {"keep": "59m"}}}, "too young"),
        ({"rules": {"own": OWN | {"keep": "36501d"}}}, "too long"),
        ({"file_grace": "999999999d"}, "too long"),
        ({"rules": {"own": OWN | {"table": "public.gengfu_file_outbox"}}}, "a table of our own"),
        ({"rules": {"own": OWN | {"children": [{"table": "gengfu_run", "foreign_key": "id"}]}}}, "a table of our own"),
        ({"rules": {"own": OWN | {"statuses": ["x"]}}}, "belong together"),
        ({"rules": {"own": OWN | {"files": {"f": "upload"}}}}, r'rules.own names \'upload\', .*"uploads"'),
        ({"rules": {"own": OWN, "more": OWN | {"keep": "2d"}}}, "about the same rows of jobs"),
        ({"rules": {"a": OWN | FILE, "b": WORD | {"files": {"f": "receipts"}}}}, "jobs.f is in 'receipts'"),
        ({"temp_roots": ["temp"], "rules": {"own": OWN | {"files": {"f": "temp"}}}}, "holds files of rows"),
    ],
)
def test_what_can_not_be_meant_is_refused_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        read(RetentionSettings, values)


def test_an_empty_root_takes_a_column_out() -> None:
    settings = read(RetentionSettings, {"receipt_files": {"qr_code_path": "", "barcode_path": ""}})
    assert "receipts" not in settings.file_roots
