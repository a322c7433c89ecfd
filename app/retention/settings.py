"""`[retention]`: how long things are kept, which folders may be cleaned, and which column names files in which."""

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, field

from app.core.measures import Age
from app.core.settings_file import Before, Check, Section, nearest
from app.core.source_tables import RECEIPT_FILE_COLUMNS, TASK_FILE_COLUMNS
from app.retention.rule_settings import FolderRuleSettings, GuardSettings, RowRuleSettings, check_folders, check_rules

LOGS = "logs"
"""The root of our own log folder; it follows GENGFU_HOME and is not set by hand."""
_ROOTS = {name: f"var/sample/{name}" for name in ("uploads", "documents", "screenshots", "receipts", "temp")}
_TASK_FILES = {"image_path": "uploads", "document_path": "documents", "screenshot_path": "screenshots"}
_RECEIPT_FILES = {
    "qr_code_path": "receipts",
    "barcode_path": "receipts",
    "delivery_receipt_doc_path": "documents",
    "tracking_screenshot_path": "screenshots",
}


def _usable_prefix(alias: str) -> str:
    if not alias.strip("/") or alias.endswith("/") or {"..", "."} & set(alias.split("/")):
        raise ValueError(f"{alias!r} is no prefix of stored paths; write it like '/app/uploads', no / at its end")
    return alias


class RootSettings(Section):
    """`[retention.roots.NAME]`: one folder that may be cleaned once `gengfu roots init` has marked it."""

    path: Path
    """Relative paths are taken from GENGFU_HOME."""
    aliases: list[Annotated[str, Check(_usable_prefix)]] = field(default_factory=list)
    """Prefixes under which the application stores paths of this folder, such as `/app/uploads`."""


def _default_roots() -> dict[str, RootSettings]:
    return {name: RootSettings(path=Path(path)) for name, path in _ROOTS.items()}


def _with_default_roots(value: Any) -> Any:
    """Naming one root, or only its aliases, leaves the others as they are."""
    if not isinstance(value, dict):
        return value
    return _default_roots() | {name: _with_default_path(name, root) for name, root in value.items()}


def _with_default_path(name: str, root: Any) -> Any:
    return {"path": _ROOTS[name]} | root if name in _ROOTS and isinstance(root, dict) else root


def _usable_names(value: dict[str, RootSettings]) -> dict[str, RootSettings]:
    if LOGS in value:
        raise ValueError(f"{LOGS!r} is our own log folder, which follows GENGFU_HOME; choose another name")
    for name in value:
        if not name or not name.replace("_", "").replace("-", "").isalnum():
            raise ValueError(f"{name!r} is no root name; use letters, digits, - and _")
    return value


def _over(defaults: dict[str, str]) -> Before:
    return Before(lambda value: defaults | value if isinstance(value, dict) else value)


def _only(known: Iterable[str]) -> Check:
    def checked(value: dict[str, str]) -> dict[str, str]:
        for column in value:
            if column not in known:
                raise ValueError(f"{column!r} is no file column{nearest(column, known)}")
        return value

    return Check(checked)


def _name_pattern(pattern: str) -> str:
    if not pattern or "/" in pattern:
        raise ValueError(f"{pattern!r} is no pattern of file names such as '*.log.*'")
    return pattern


NamePattern = Annotated[str, Check(_name_pattern)]


class RetentionSettings(Section):
    """`[retention]`."""

    completed_tasks_days: Annotated[int, Meta(ge=1, le=36500)] = 30
    failed_tasks_days: Annotated[int, Meta(ge=1, le=36500)] = 7
    temp_files_hours: Annotated[int, Meta(ge=1, le=876000)] = 24
    log_files_days: Annotated[int, Meta(ge=1, le=36500)] = 30
    temp_age: Literal["modified", "newest"] = "modified"
    """`modified`: since the last change of content; `newest`: also since the last access and status change."""
    batch_size: Annotated[int, Meta(ge=100, le=20000)] = 10_000
    """Most rows in one transaction. It starts at 5,000 (SQLite 1,000), goes towards transactions of 50 ms, and
    halves while the database is busy."""
    connections: Annotated[int, Meta(ge=1, le=4)] = 2
    """Connections over which the rows of one rule are deleted at the same time on PostgreSQL; SQLite has one writer."""
    max_seconds: Annotated[int, Meta(ge=1, le=86400)] = 1500
    max_replay_lag_s: Annotated[int, Meta(ge=0, le=86400)] = 0
    """Row rules stop while a replica of the PostgreSQL server is further behind than this (seconds); 0: never."""
    temp_roots: list[str] = field(default_factory=lambda: ["temp"])
    log_roots: list[str] = field(default_factory=list)
    """Roots with logs of the application, besides our own log folder."""
    log_patterns: Annotated[list[NamePattern], Meta(min_length=1)] = field(
        default_factory=lambda: ["*.log", "*.log.*", "*.log-*"]
    )
    keep_logs: list[NamePattern] = field(default_factory=list)
    """Log names (patterns) that are never removed; what a process holds open and our own sinks are kept anyway."""
    default_rules: bool = True
    """The rules `completed` and `failed` over the tables of `[source]`."""
    rules: dict[str, RowRuleSettings] = field(default_factory=dict)
    """Further rules, for any table."""
    folders: dict[str, FolderRuleSettings] = field(default_factory=dict)
    """Further rules for files by age or size."""
    guards: GuardSettings = GuardSettings()
    keep_deleted: Age = timedelta(0)
    """Deleted rows are archived and their files moved aside for so long: `retention undo` brings them back."""
    file_grace: Age = timedelta(0)
    """Files go so long after their rows: with a replicated database the time within which a fail-over may bring rows
    back."""
    slow: bool = False
    """Run also where an index is missing and every batch reads whole tables."""
    cascades: list[str] = field(default_factory=list)
    """Tables of which the database itself may delete rows together with those of a rule (ON DELETE CASCADE): these are
    neither counted nor archived, and no file of theirs is removed."""
    landlock: Literal["auto", "required", "off"] = "auto"
    """Let the kernel itself confine the process that cleans to the roots and our own folders."""
    roots: Annotated[dict[str, RootSettings], Before(_with_default_roots), Check(_usable_names)] = field(
        default_factory=_default_roots
    )
    task_files: Annotated[dict[str, str], _over(_TASK_FILES), _only(TASK_FILE_COLUMNS)] = field(
        default_factory=_TASK_FILES.copy
    )
    """Column of the task table -> root of its files; an empty root: the column names no files of ours."""
    receipt_files: Annotated[dict[str, str], _over(_RECEIPT_FILES), _only(RECEIPT_FILE_COLUMNS)] = field(
        default_factory=_RECEIPT_FILES.copy
    )

    def __post_init__(self) -> None:
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

    @property
    def file_roots(self) -> frozenset[str]:
        """Roots in which files of rows stand."""
        mappings = [self.task_files, self.receipt_files]
        for rule in self.rules.values():
            mappings += [rule.files, *(child.files for child in rule.children)]
        return frozenset(root for mapping in mappings for root in mapping.values() if root)


def _check_root(key: str, root: str, roots: Iterable[str]) -> None:
    if root not in roots:
        raise ValueError(f"{key} names {root!r}, but there is no [retention.roots.{root}]{nearest(root, roots)}")
