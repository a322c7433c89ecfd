"""A root of files, and both ways of resolving a path below it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.safe_files import Root, create_marker, kernel, open_root


@pytest.fixture(params=["openat2", "stepwise"])
def resolution(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What uses it runs with the one-call resolution and with the portable one."""
    if request.param == "stepwise":
        monkeypatch.setattr(kernel, "has_openat2", lambda: False)
    elif not kernel.has_openat2():
        pytest.skip("this system has no openat2")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The root's folder."""
    create_marker(tmp_path / "root")
    return tmp_path / "root"


@pytest.fixture
def root(place: Path) -> Iterator[Root]:
    with open_root("uploads", place) as opened:
        yield opened
