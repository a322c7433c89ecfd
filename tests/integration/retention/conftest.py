"""A small application with tasks, receipts and real files, and the clean-up that works on it."""

import os
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from retention_place import workplace
from retention_shop import Shop
from sqlalchemy import insert, select, update

from app.core.clock import ManualClock
from app.core.database import Database
from app.core.own_tables import file_outbox
from app.core.safe_files import MARKER
from app.demo import schema
from app.retention.cleanup import cleanup_expired
from app.retention.expiry import frozen_now
from app.retention.report import CleanupResult
from app.retention.roots import init_roots
from app.retention.rule_settings import GuardSettings
from app.retention.settings import RetentionSettings
from app.retention.workplace import Workplace

TASK_ROOTS = {"image_path": "uploads", "document_path": "documents", "screenshot_path": "screenshots"}
RECEIPT_ROOTS = {
    "qr_code_path": "receipts",
    "barcode_path": "receipts",
    "delivery_receipt_doc_path": "documents",
    "tracking_screenshot_path": "screenshots",
}

# The manual clock stands in March, whatever the database's clock says.
_GUARDS = structs.replace(GuardSettings(), clock_s=10**9)


def _nothing(_told: object) -> None: ...


@dataclass(kw_only=True)
class Lab:
    database: Database
    clock: ManualClock
    home: Path
    # What a test does at a checkpoint it does in its own thread, unless it asks for more.
    settings: RetentionSettings = field(default_factory=lambda: RetentionSettings(guards=_GUARDS, connections=1))
    now: datetime = field(init=False)

    def __post_init__(self) -> None:
        names = ("uploads", "documents", "screenshots", "receipts", "temp", "logs")
        self.folders = {name: self.home / name for name in names}
        init_roots(self.database, self.folders, self.clock)
        with self.database.read() as connection:
            self.now = frozen_now(connection)
        self.keys = 0

    def with_settings(self, **values: Any) -> None:
        # Not checked: tests want batches smaller than anybody should set, and rules that stand in each other's way.
        self.settings = copy(self.settings)
        for key, value in values.items():
            structs.force_setattr(self.settings, key, value)

    def place(self, **parts: Any) -> Workplace:
        return workplace(self, **parts)

    def run(
        self, run_id: str = "r1", *, dry_run: bool = False, checkpoint: Callable[[str], None] = _nothing, **parts: Any
    ) -> CleanupResult:
        return cleanup_expired(self.place(checkpoint=checkpoint, **parts), run_id=run_id, dry_run=dry_run)

    def document(self, run_id: str = "r1", **how: Any) -> dict[str, Any]:
        return self.run(run_id, **how).document

    def task(self, status: str = "completed", *, days: float | None = 40, **values: Any) -> int:
        self.keys += 1
        finished = None if days is None else self.now - timedelta(days=days)
        row = {
            "id": self.keys,
            "task_id": f"任务-{self.keys}",
            "task_type": "识别",
            "status": status,
            "created_at": min(self.now, finished or self.now) - timedelta(minutes=5),
            "completed_at": finished,
            "updated_at": self.now,
            "retry_count": 0,
        }
        with self.database.write() as connection:
            connection.execute(insert(schema.tasks).values(row | values))
        return self.keys

    def receipt(self, task: int | None, **values: Any) -> int:
        self.keys += 1
        row = {"id": self.keys, "task_id": task, "status": "delivered", "created_at": self.now, "updated_at": self.now}
        with self.database.write() as connection:
            connection.execute(insert(schema.delivery_receipts).values(row | values))
        return self.keys

    def file(self, root: str, path: str, content: bytes = b"x" * 3000) -> str:
        full = self.folders[root] / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_bytes(content)
        return path

    def aged(self, root: str, path: str | bytes, days: float) -> Path:
        full = Path(os.fsdecode(os.path.join(os.fsencode(self.folders[root]), os.fsencode(path))))  # noqa: PTH118 - bytes
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_bytes(b"y" * 2000)
        then = (self.clock.now() - timedelta(days=days)).timestamp()
        os.utime(full, (then, then))
        return full

    def tasks(self) -> set[int]:
        with self.database.read() as connection:
            return set(connection.execute(select(schema.tasks.c.id)).scalars())

    def receipts(self) -> set[int]:
        with self.database.read() as connection:
            return set(connection.execute(select(schema.delivery_receipts.c.id)).scalars())

    def set_task(self, key: int, **values: Any) -> None:
        with self.database.write() as connection:
            connection.execute(update(schema.tasks).where(schema.tasks.c.id == key).values(values))

    def outbox(self) -> list[Any]:
        with self.database.read() as connection:
            return list(connection.execute(select(file_outbox).order_by(file_outbox.c.id)).all())

    def on_disk(self) -> set[tuple[str, str]]:
        return {
            (name, str(path.relative_to(folder)))
            for name, folder in self.folders.items()
            for path in folder.rglob("*")
            if path.is_file() and path.name != MARKER
        }

    def named_by_rows(self) -> set[tuple[str, str]]:
        named: set[tuple[str, str]] = set()
        with self.database.read() as connection:
            for table, roots in ((schema.tasks, TASK_ROOTS), (schema.delivery_receipts, RECEIPT_ROOTS)):
                for row in connection.execute(select(*(table.c[column] for column in roots))):
                    named |= {(root, value) for root, value in zip(roots.values(), row, strict=True) if value}
        return named


@pytest.fixture
def lab(application: Database, clock: ManualClock, tmp_path: Path) -> Lab:
    return Lab(database=application, clock=clock, home=tmp_path / "house")


@pytest.fixture
def shop(lab: Lab) -> Shop:
    """The lab with jobs, parts and notes."""
    return Shop(lab=lab)
