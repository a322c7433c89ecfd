"""Files that several processes add to."""

import json
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.core.errors import OutputUnwritable
from app.core.shared_json import update_json

NOW = datetime(2026, 3, 10, 4, 0, tzinfo=UTC)


def _count(path: Path) -> Path | None:
    return update_json(path, lambda content: int(json.loads(content)["n"]), lambda n: {"n": (n or 0) + 1}, NOW)


def test_no_addition_is_lost_between_writers(tmp_path: Path) -> None:
    path = tmp_path / "计数.json"
    writers = [threading.Thread(target=lambda: [_count(path) for _ in range(20)]) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert json.loads(path.read_bytes()) == {"n": 80}


@pytest.mark.parametrize("damage", ["", "{", '{"n": "many"}', "[]", '{"m": 1}'])
def test_a_damaged_file_is_kept_under_another_name_and_a_new_one_begun(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.json"
    for number in (1, 2):
        path.write_text(damage)
        aside = _count(path)
        assert aside is not None
        assert aside.read_text() == damage
        assert json.loads(path.read_bytes()) == {"n": 1}
        assert len(list(tmp_path.glob("a.json.corrupt-*"))) == number


def test_a_folder_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("a file")
    with pytest.raises(OutputUnwritable, match="reports"):
        _count(tmp_path / "reports" / "a.json")
