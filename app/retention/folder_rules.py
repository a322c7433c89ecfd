"""Folder rules as the engines use them: which files of a root go at which age, and above which size."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app.core.safe_files import Entry
from app.retention.patterns import Patterns
from app.retention.rule_settings import SHORTEST, FolderRuleSettings
from app.retention.settings import LOGS, RetentionSettings

TEMP = "temp"
FOLDERS = "folder_files"
_NS = 1_000_000_000
_LOW_WATER = 0.9
"""Of the cap: a folder that is just below it would be above it again tomorrow."""


@dataclass(frozen=True, kw_only=True)
class DirectoryRule:
    """Files of one root that go at an age or above a size."""

    name: str
    """temp | logs | NAME of `[retention.folders.NAME]`."""
    kind: str
    """temp | logs | folder_files: the total in which they are counted."""
    root: str
    before_ns: int
    """Nanoseconds since 1970; a file exactly this old stays."""
    keep: timedelta = timedelta(0)
    """The age that makes `before_ns`."""
    any_stamp: bool = True
    """Compare the newest of all three time stamps instead of the content's alone."""
    match: Patterns | None = None
    """None: every file."""
    spare: Patterns | None = None
    kept_paths: frozenset[bytes] = frozenset()
    """Paths below the root that are never removed."""
    keep_newest: int = 0
    cap: int | None = None
    low_water: int = 0
    evict_before_ns: int = 0
    """For the cap too a file is left alone for an hour: it may still be written."""
    remove_empty: bool = False
    is_bystander: bool = False
    """Not asked for in this run: it removes nothing, but what it spares or keeps as newest stays all the same."""

    def stamp(self, status: os.stat_result) -> int:
        """Return the time from which the file's age counts, in nanoseconds since 1970."""
        if self.any_stamp:
            return max(status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns)
        return status.st_mtime_ns

    def stamp_of(self, entry: Entry) -> int:
        """Return the same of a file found by walking."""
        return entry.newest_ns if self.any_stamp else entry.identity.mtime_ns


def directory_rules(settings: RetentionSettings, active_logs: frozenset[str], now: datetime) -> list[DirectoryRule]:
    """Return the rules for all temp and log roots, our own log folder included, and those of `[retention.folders]`."""
    temp_keep, logs_keep = timedelta(hours=settings.temp_files_hours), timedelta(days=settings.log_files_days)
    temp = [
        DirectoryRule(
            name=TEMP,
            kind=TEMP,
            root=root,
            before_ns=_ns(now - temp_keep),
            keep=temp_keep,
            any_stamp=settings.temp_age == "newest",
        )
        for root in settings.temp_roots
    ]
    logs = [
        DirectoryRule(
            name=LOGS,
            kind=LOGS,
            root=root,
            before_ns=_ns(now - logs_keep),
            keep=logs_keep,
            any_stamp=False,
            match=Patterns.of(settings.log_patterns),
            spare=Patterns.of(settings.keep_logs),
            kept_paths=frozenset(map(os.fsencode, active_logs)) if root == LOGS else frozenset(),
        )
        for root in (LOGS, *settings.log_roots)
    ]
    return [*temp, *logs, *_of_settings(settings.folders, now)]


def only_these(rules: Iterable[DirectoryRule], chosen: Callable[[DirectoryRule], bool]) -> list[DirectoryRule]:
    """Return the chosen rules, and as bystanders the others of their roots."""
    every = list(rules)
    roots = {rule.root for rule in every if chosen(rule)}
    return [replace(rule, is_bystander=not chosen(rule)) for rule in every if rule.root in roots]


def _of_settings(folders: Mapping[str, FolderRuleSettings], now: datetime) -> Iterator[DirectoryRule]:
    for name, rule in folders.items():
        if rule.enabled:
            yield DirectoryRule(
                name=name,
                kind=FOLDERS,
                root=rule.root,
                before_ns=_ns(now - rule.keep),
                keep=rule.keep,
                any_stamp=rule.age == "newest",
                match=None if "*" in rule.match else Patterns.of(rule.match),
                spare=Patterns.of(rule.spare),
                keep_newest=rule.keep_newest,
                cap=rule.cap,
                low_water=_low_water(rule),
                evict_before_ns=_ns(now - SHORTEST),
                remove_empty=rule.remove_empty,
            )


def _low_water(rule: FolderRuleSettings) -> int:
    if rule.low_water is not None:
        return rule.low_water
    return int(_LOW_WATER * rule.cap) if rule.cap is not None else 0


def _ns(instant: datetime) -> int:
    return int(instant.timestamp()) * _NS
