"""What the engines of the clean-up work with, made of the parts of a test's lab."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from app.core.clock import Clock
from app.core.database import Database
from app.core.source_tables import SourceSettings, map_source_tables
from app.retention.settings import RetentionSettings
from app.retention.workplace import Workplace


class Parts(Protocol):
    """A lab that has these."""

    database: Database
    home: Path
    folders: Mapping[str, Path]

    @property
    def settings(self) -> RetentionSettings: ...

    @property
    def clock(self) -> Clock: ...


def workplace(lab: Parts, **instead: Any) -> Workplace:
    standard: dict[str, Any] = {
        "database": lab.database,
        "source": map_source_tables(SourceSettings()),
        "settings": lab.settings,
        "folders": lab.folders,
        "active_logs": frozenset({"app.log"}),
        "clock": lab.clock,
        "lock_file": lab.home / "cleanup.lock",
    }
    return Workplace(**standard | instead)
