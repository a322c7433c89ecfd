"""Homes for real beats and workers."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from home import Home
from processes import PROJECT


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A home with no settings of its own and nothing running."""
    with ExitStack() as stack:
        made = Home(folder=tmp_path, stack=stack)
        stack.callback(made.end)
        yield made
        made.end()


@pytest.fixture
def counted(home: Home) -> Home:
    """A home whose beats and workers know the jobs of counted_jobs.py besides the program's own."""
    home.configure("")
    home.celery_app = "counted_jobs"
    home.more = {
        "EFFECTS": str(home.folder / "effects"),
        "GATE": str(home.folder / "gate"),
        "PYTHONPATH": os.pathsep.join([str(PROJECT), str(Path(__file__).parent)]),
    }
    return home
