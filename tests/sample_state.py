"""The sample application of a home: what its rows name, what is on disk, what was reported."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

_ROOT_OF = {
    "tasks": {"image_path": "uploads", "document_path": "documents", "screenshot_path": "screenshots"},
    "delivery_receipts": {
        "qr_code_path": "receipts",
        "barcode_path": "receipts",
        "delivery_receipt_doc_path": "documents",
        "tracking_screenshot_path": "screenshots",
    },
}


@dataclass(frozen=True, kw_only=True)
class State:
    """What the rows name, what is there, and how many rows there are."""

    named: frozenset[Path]
    there: frozenset[Path]
    tasks: int
    receipts: int

    @property
    def missing(self) -> frozenset[Path]:
        return self.named - self.there

    @property
    def orphans(self) -> frozenset[Path]:
        return self.there - self.named


def state_of(home: Path) -> State:
    """Look at everything, rows first: a file that goes meanwhile goes after its row."""
    sample = home / "var" / "sample"
    with database_of(home) as database:
        named = frozenset(_named(database, sample))
        tasks, receipts = (
            database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("tasks", "delivery_receipts")
        )
    roots = {root for columns in _ROOT_OF.values() for root in columns.values()}
    there = frozenset(
        path
        for root in roots
        for path in (sample / root).rglob("*")
        if path.is_file() and path.name != ".gengfu-root" and path.parent.name != ".gengfu-trash"
    )
    return State(named=named, there=there, tasks=tasks, receipts=receipts)


def reported(home: Path) -> dict[str, int]:
    """The sums of all days' reports: midnight may pass between two runs."""
    found = [json.loads(path.read_text()) for path in (home / "reports" / "daily").glob("cleanup_report_*.json")]
    keys = ("tasks_cleaned", "receipts_cleaned", "files_cleaned", "temp_files_cleaned", "pending_files", "stuck_files")
    return {key: sum(report[key] for report in found) for key in keys}


def end_leases(home: Path) -> None:
    """Let the two minutes pass for which a killed run still holds its job."""
    with database_of(home) as database, database:
        database.execute("UPDATE gengfu_lease SET until = '2000-01-01 00:00:00' WHERE name LIKE 'job:%'")


def database_of(home: Path) -> "closing[sqlite3.Connection]":
    """Open the embedded database."""
    return closing(sqlite3.connect(home / "var" / "gengfu.db", timeout=30))


def _named(database: sqlite3.Connection, sample: Path) -> Iterator[Path]:
    for table, columns in _ROOT_OF.items():
        for column, root in columns.items():
            for (path,) in database.execute(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL"):
                yield sample / root / path
