"""Roots with old files, and the engine that works on them without the rest of a clean-up."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from retention_place import workplace

from app.core.clock import ManualClock
from app.core.database import Database, DatabaseSettings
from app.core.migrate import upgrade
from app.core.safe_files import MARKER, open_root, view_root
from app.core.settings_reader import read
from app.retention.directories import DirectoryEngine, DirectoryPreview
from app.retention.folder_rules import directory_rules
from app.retention.lock import Flight
from app.retention.problems import Problems
from app.retention.roots import init_roots, open_roots
from app.retention.settings import RetentionSettings
from app.retention.tally import Tally
from app.retention.workplace import Workplace


def _nothing(_told: object) -> None: ...


@dataclass(kw_only=True)
class Done:
    """What came of a run of the folder rules."""

    in_time: bool
    counts: dict[str, int]
    figures: dict[str, dict[str, Any]]
    problems: list[str]
    held: dict[str, str]


@dataclass(kw_only=True)
class House:
    """Roots `temp`, `cache` and `logs`, and a clock two days ahead: what a test writes is two days old by any stamp."""

    database: Database
    home: Path
    settings: RetentionSettings = field(default_factory=RetentionSettings)
    clock: ManualClock = field(
        default_factory=lambda: ManualClock(datetime.now(UTC).replace(microsecond=0) + timedelta(days=2))
    )

    def __post_init__(self) -> None:
        self.folders = {name: self.home / name for name in ("temp", "cache", "logs")}
        init_roots(self.database, self.folders, self.clock)

    def rule(self, name: str = "cache", **values: Any) -> None:
        """Add a folder rule for the root `cache`; 30 days by the content's age unless told otherwise."""
        rule = {"root": "cache", "keep": "30d", "age": "modified"} | values
        roots = {"cache": {"path": str(self.folders["cache"])}}
        folders = {**self.settings.folders, name: rule}
        told = structs.asdict(self.settings) | {"roots": {**self.settings.roots, **roots}, "folders": folders}
        self.settings = read(RetentionSettings, told)

    def file(self, path: str | bytes, *, days: float = 40, root: str = "cache", size: int = 100) -> Path:
        """Write a file whose content last changed so long ago."""
        full = Path(os.fsdecode(os.path.join(os.fsencode(self.folders[root]), os.fsencode(path))))  # noqa: PTH118 - bytes
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_bytes(b"y" * size)
        self.age(full, timedelta(days=days))
        return full

    def age(self, path: Path, age: timedelta, plus_ns: int = 0) -> None:
        """Set the content's age to the nanosecond: a positive `plus_ns` makes the file younger."""
        stamp = int((self.clock.now() - age).timestamp()) * 10**9 + plus_ns
        os.utime(path, ns=(stamp, stamp))

    def place(self, **parts: Any) -> Workplace:
        return workplace(self, **parts)

    def run(
        self,
        run_id: str = "r1",
        *,
        until: float = float("inf"),
        checkpoint: Callable[[str], None] = _nothing,
        close: bool = True,
    ) -> Done:
        """Apply the folder rules; `close` as a clean-up does that hands over its report."""
        place = self.place(checkpoint=checkpoint)
        tally, problems = Tally(place, run_id), Problems()
        rules = directory_rules(self.settings, place.active_logs, self.clock.now())
        with open_roots(open_root, self.database, self.folders, {rule.root for rule in rules}) as roots:
            engine = DirectoryEngine(place, roots, tally, Flight(), problems)
            in_time = engine.run(rules, until)
        if close:
            tally.close()
        return Done(
            in_time=in_time,
            counts=dict(tally.counts),
            figures={figures.rule.name: figures.told() for figures in engine.figures},
            problems=problems.lines(),
            held=dict(roots.held),
        )

    def preview(self) -> Done:
        """Look at what the folder rules would do."""
        place, problems = self.place(), Problems()
        rules = directory_rules(self.settings, place.active_logs, self.clock.now())
        with open_roots(view_root, self.database, self.folders, {rule.root for rule in rules}) as roots:
            look = DirectoryPreview(place, roots, problems)
            look.run(rules)
        return Done(
            in_time=True,
            counts=dict(look.counts),
            figures={figures.rule.name: figures.told() for figures in look.figures},
            problems=problems.lines(),
            held=dict(roots.held),
        )

    def left(self, root: str = "cache") -> set[str]:
        """Return the paths of everything but folders and the marker."""
        folder = self.folders[root]
        return {
            str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir() and path.name != MARKER
        }


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    database = Database(f"sqlite:///{tmp_path / 'own.db'}", DatabaseSettings())
    upgrade(database)
    yield House(database=database, home=tmp_path / "house")
    database.dispose()
