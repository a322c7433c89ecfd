"""Reports are replaced whole or not at all."""

import json
import os
import threading
from pathlib import Path

import pytest

from app.core.atomic_json import write_json
from app.core.errors import OutputUnwritable


def test_the_document_is_utf8_sorted_and_indented(tmp_path: Path) -> None:
    path = tmp_path / "报告" / "r.json"
    write_json(path, {"b": 1, "a": "二维码"})
    assert path.read_bytes() == '{\n  "a": "二维码",\n  "b": 1\n}\n'.encode()


def test_undecodable_names_are_written_as_valid_json(tmp_path: Path) -> None:
    write_json(tmp_path / "r.json", {"name": os.fsdecode(b"\xff.txt")})
    assert json.loads((tmp_path / "r.json").read_text()) == {"name": "\udcff.txt"}


def test_nan_is_refused_and_the_old_report_stays(tmp_path: Path) -> None:
    write_json(tmp_path / "r.json", {"ok": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "r.json", {"bad": float("nan")})
    assert json.loads((tmp_path / "r.json").read_text()) == {"ok": 1}


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_failure_at_any_step_leaves_the_old_report_and_no_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    write_json(tmp_path / "r.json", {"old": True})

    def full(*_args: object, **_options: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path if step == "replace" else os, step, full)
    with pytest.raises(OutputUnwritable, match="No space left"):
        write_json(tmp_path / "r.json", {"new": True})
    monkeypatch.undo()
    assert json.loads((tmp_path / "r.json").read_text()) == {"old": True}
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


def test_a_folder_that_is_a_file_is_told_by_name(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("")
    with pytest.raises(OutputUnwritable, match=r"reports.*r\.json"):
        write_json(tmp_path / "reports" / "r.json", {})


def test_a_reader_never_sees_half_a_document(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    write_json(path, {"n": 0, "filler": "字" * 5000})
    stop = threading.Event()
    broken: list[str] = []

    def read() -> None:
        while not stop.is_set():
            try:
                json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                broken.append(str(error))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(200):
        write_json(path, {"n": number, "filler": "字" * 5000})
    stop.set()
    reader.join()
    assert broken == []
