"""The folders in which a confined process may write."""

import os
from pathlib import Path

import pytest

from app.context import open_context
from app.core.errors import OutputUnwritable
from app.execution.confinement import writable_folders


def test_own_folders_are_made_before_the_process_confines_itself() -> None:
    with open_context() as context:
        assert Path(os.environ["GENGFU_HOME"]) / "reports" in writable_folders(context)
    assert (Path(os.environ["GENGFU_HOME"]) / "reports").is_dir()


def test_a_home_that_can_not_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GENGFU_HOME", str(tmp_path / "file" / "home"))
    with open_context() as context, pytest.raises(OutputUnwritable, match="check GENGFU_HOME"):
        writable_folders(context)
