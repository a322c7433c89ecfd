"""`[retention]`: how long things are kept, which folders may be cleaned, and which column names files in which."""

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from app.core.measures import Age
from app.core.settings_file import Section, nearest
from app.core.source_tables import RECEIPT_FILE_COLUMNS, TASK_FILE_COLUMNS
from app.retention.rule_settings import FolderRuleSettings, GuardSettings, RowRuleSettings, check_folders, check_rules

LOGS = "logs"
"""The root of our own log folder; it follows GENGFU_HOME and is not set by hand."""
_ROOTS = {name: {"path": f"var/sample/{name}"} for name in ("uploads", "documents", "screenshots", "receipts", "temp")}
_TASK_FILES = {"image_path": "uploads", "document_path": "documents", "screenshot_path": "screenshots"}
_RECEIPT_FILES = {
    "qr_code_path": "receipts",
    "barcode_path": "receipts",
    "delivery_receipt_doc_path": "documents",
    "tracking_screenshot_path": "screenshots",
}


class RootSettings(Section):
    """`[retention.roots.NAME]`: one folder that may be cleaned once `gengfu roots init` has marked it."""

    path: Path
    """Relative paths are taken from GENGFU_HOME."""
    aliases: list[str] = Field(default=[])
    """Prefixes under which the application stores paths of this folder, such as `/app/uploads`."""

    @field_validator("aliases")
    @classmethod
    def _usable_prefixes(cls, value: list[str]) -> list[str]:
        for alias in value:
            if not alias.strip("/") or alias.endswith("/") or {"..", "."} & set(alias.split("/")):
                raise ValueError(
                    f"{alias!r} is no prefix of stored paths; write it like '/app/uploads', no / at its end"
                )
        return value


class RetentionSettings(Section):
    """`[retention]`."""

    completed_tasks_days: int = Field(default=30, ge=1, le=36500)
    failed_tasks_days: int = Field(default=7, ge=1, le=36500)
    temp_files_hours: int = Field(default=24, ge=1, le=876000)
    log_files_days: int = Field(default=30, ge=1, le=36500)
    temp_age: Literal["modified", "newest"] = "modified"
    """`modified`: since the last change of content; `newest`: also since the last access and status change."""
    batch_size: int = Field(default=10_000, ge=100, le=20000)
    """Most rows in one transaction. It starts at 5,000 (SQLite 1,000), goes towards transactions of 75 ms, and
    halves while the database is busy."""
    connections: int = Field(default=1, ge=1, le=4)
    """Connections over which the rows of one rule are deleted at the same time on PostgreSQL; SQLite has one writer."""
    max_seconds: int = Field(default=1500, ge=1, le=86400)
    max_replay_lag_s: int = Field(default=0, ge=0, le=86400)
    """Row rules stop while a replica of the PostgreSQL server is further behind than this (seconds); 0: never."""
    temp_roots: list[str] = Field(default_factory=lambda: ["temp"])
    log_roots: list[str] = Field(default=[])
    """Roots with logs of the application, besides our own log folder."""
    log_patterns: list[str] = Field(default_factory=lambda: ["*.log", "*.log.*", "*.log-*"], min_length=1)
    keep_logs: list[str] = Field(default=[])
    """Log names (patterns) that are never removed; what a process holds open and our own sinks are kept anyway."""
    default_rules: bool = True
    """The rules `completed` and `failed` over the tables of `[source]`."""
    rules: dict[str, RowRuleSettings] = Field(default={})
    """Further rules, for any table."""
    folders: dict[str, FolderRuleSettings] = Field(default={})
    """Further rules for files by age or size."""
    guards: GuardSettings = GuardSettings()
    keep_deleted: Age = timedelta(0)
    """Deleted rows are archived and their files moved aside for so long: `retention undo` brings them back."""
    file_grace: Age = timedelta(0)
    """Files go so long after their rows: with a replicated database the time within which a fail-over may bring rows
    back."""
    slow: bool = False
    """Run also where an index is missing and every batch reads whole tables."""
    cascades: list[str] = Field(default=[])
    """Tables of which the database itself may delete rows together with those of a rule (ON DELETE CASCADE): these are
    neither counted nor archived, and no file of theirs is removed."""
    landlock: Literal["auto", "required", "off"] = "auto"
    """Let the kernel itself confine the process that cleans to the roots and our own folders."""
    roots: dict[str, RootSettings] = Field(default={}, validate_default=True)
    task_files: dict[str, str] = Field(default={}, validate_default=True)
    """Column of the task table -> root of its files; an empty root: the column names no files of ours."""
    receipt_files: dict[str, str] = Field(default={}, validate_default=True)

    @field_validator("roots", mode="before")
    @classmethod
    def _with_default_roots(cls, value: Any) -> Any:
        """Naming one root, or only its aliases, leaves the others as they are."""
        if not isinstance(value, dict):
            return value
        return {name: _with_default_path(name, value.get(name, {})) for name in _ROOTS | value}

    @field_validator("roots")
    @classmethod
    def _usable_names(cls, value: dict[str, RootSettings]) -> dict[str, RootSettings]:
        if LOGS in value:
            raise ValueError(f"{LOGS!r} is our own log folder, which follows GENGFU_HOME; choose another name")
        for name in value:
            if not name or not name.replace("_", "").replace("-", "").isalnum():
                raise ValueError(f"{name!r} is no root name; use letters, digits, - and _")
        return value

    @field_validator("task_files", mode="before")
    @classmethod
    def _with_default_task_files(cls, value: Any) -> Any:
        return _TASK_FILES | value if isinstance(value, dict) else value

    @field_validator("receipt_files", mode="before")
    @classmethod
    def _with_default_receipt_files(cls, value: Any) -> Any:
        return _RECEIPT_FILES | value if isinstance(value, dict) else value

    @field_validator("task_files")
    @classmethod
    def _known_task_columns(cls, value: dict[str, str]) -> dict[str, str]:
        return _checked_columns(value, TASK_FILE_COLUMNS)

    @field_validator("receipt_files")
    @classmethod
    def _known_receipt_columns(cls, value: dict[str, str]) -> dict[str, str]:
        return _checked_columns(value, RECEIPT_FILE_COLUMNS)

    @field_validator("log_patterns", "keep_logs")
    @classmethod
    def _name_patterns(cls, value: list[str]) -> list[str]:
        for pattern in value:
            if not pattern or "/" in pattern:
                raise ValueError(f"{pattern!r} is no pattern of file names such as '*.log.*'")
        return value

    @model_validator(mode="after")
    def _roots_that_exist(self) -> "RetentionSettings":
        for key in ("task_files", "receipt_files"):
            for column, root in getattr(self, key).items():
                if root:
                    _check_root(f"{key}.{column}", root, self.roots)
        for key in ("temp_roots", "log_roots"):
            for root in getattr(self, key):
                _check_root(key, root, self.roots)
                # There files go by age alone, whatever rows say.
                if root in self.file_roots:
                    raise ValueError(f"{key} names {root!r}, which holds files of rows; give it a folder of its own")
        check_rules(self.rules, self.roots)
        check_folders(self.folders, (*self.roots, LOGS), self.file_roots)
        return self

    @property
    def file_roots(self) -> frozenset[str]:
        """Roots in which files of rows stand."""
        mappings = [self.task_files, self.receipt_files]
        for rule in self.rules.values():
            mappings += [rule.files, *(child.files for child in rule.children)]
        return frozenset(root for mapping in mappings for root in mapping.values() if root)


def _with_default_path(name: str, value: Any) -> Any:
    return _ROOTS.get(name, {}) | value if isinstance(value, dict) else value


def _checked_columns(value: dict[str, str], known: Iterable[str]) -> dict[str, str]:
    for column in value:
        if column not in known:
            raise ValueError(f"{column!r} is no file column{nearest(column, known)}")
    return value


def _check_root(key: str, root: str, roots: Iterable[str]) -> None:
    if root not in roots:
        raise ValueError(f"{key} names {root!r}, but there is no [retention.roots.{root}]{nearest(root, roots)}")
