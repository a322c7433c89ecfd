"""Temporary files and logs: removed by age below their roots, whatever the database says."""

import fnmatch
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.core.errors import PathRefused, RootRefused
from app.core.safe_files import Entry, ReadOnlyRoot, Reason, Root, open_files, show
from app.retention.problems import Problems
from app.retention.roots import OpenRoots
from app.retention.settings import LOGS, RetentionSettings
from app.retention.stored_paths import is_final
from app.retention.tally import REFUSED, Tally
from app.retention.workplace import Workplace

_COUNTED_TOGETHER = 500
_NS = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class DirectoryRule:
    """Files of one root that go at an age."""

    kind: str  # temp | logs: the name under which they are counted
    root: str
    before_ns: int
    """Nanoseconds since 1970; a file exactly this old stays."""
    any_stamp: bool
    """Compare the newest of all three time stamps instead of the content's alone."""
    names: re.Pattern[str] | None
    """None: every name."""
    kept_names: re.Pattern[str] | None
    kept_paths: frozenset[bytes]

    def covers(self, entry: Entry) -> bool:
        """Tell whether the file is old enough and of the right name."""
        stamp = entry.newest_ns if self.any_stamp else entry.identity.mtime_ns
        if stamp >= self.before_ns or entry.relative in self.kept_paths:
            return False
        name = os.fsdecode(entry.relative.rpartition(b"/")[2])
        if self.kept_names is not None and self.kept_names.fullmatch(name):
            return False
        return self.names is None or self.names.fullmatch(name) is not None


def directory_rules(settings: RetentionSettings, active_logs: frozenset[str], now: datetime) -> list[DirectoryRule]:
    """Return the rules for all temp and log roots, our own log folder included."""
    temp_before = _ns(now - timedelta(hours=settings.temp_files_hours))
    logs_before = _ns(now - timedelta(days=settings.log_files_days))
    temp = [
        DirectoryRule(
            kind="temp",
            root=root,
            before_ns=temp_before,
            any_stamp=settings.temp_age == "newest",
            names=None,
            kept_names=None,
            kept_paths=frozenset(),
        )
        for root in settings.temp_roots
    ]
    logs = [
        DirectoryRule(
            kind="logs",
            root=root,
            before_ns=logs_before,
            any_stamp=False,
            names=_names(settings.log_patterns),
            kept_names=_names(settings.keep_logs),
            kept_paths=frozenset(map(os.fsencode, active_logs)) if root == LOGS else frozenset(),
        )
        for root in (LOGS, *settings.log_roots)
    ]
    return temp + logs


def old_files(
    root: ReadOnlyRoot, rule: DirectoryRule, busy: frozenset[tuple[int, int]], refusals: list[PathRefused]
) -> Iterator[Entry]:
    """Yield the files that a rule covers and no process holds; what can't be read goes to `refusals`."""
    for entry in root.walk(refusals.append):
        if rule.covers(entry) and entry.key not in busy:
            yield entry


class DirectoryEngine:
    """Removes what the rules cover."""

    def __init__(self, place: Workplace, roots: OpenRoots[Root], tally: Tally, problems: Problems) -> None:
        self._place = place
        self._roots = roots
        self._tally = tally
        self._problems = problems

    def run(self, rules: Sequence[DirectoryRule], until: float) -> bool:
        """Remove old files below every root that is not held; False where the instant `until` came first."""
        busy = open_files()
        cleaned = [self._clean(rule, busy, until) for rule in rules if rule.root in self._roots.ready]
        return all(cleaned)

    def _clean(self, rule: DirectoryRule, busy: frozenset[tuple[int, int]], until: float) -> bool:
        root = self._roots.ready[rule.root]
        refusals: list[PathRefused] = []
        done: Counter[str] = Counter()
        in_time = True
        try:
            for entry in old_files(root, rule, busy, refusals):
                self._remove(root, rule, entry, done, refusals)
                if done[rule.kind] + len(refusals) >= _COUNTED_TOGETHER:
                    self._count(done, refusals, rule)
                if self._place.clock.monotonic() >= until:
                    in_time = False
                    break
        except RootRefused as error:
            self._roots.hold(rule.root, str(error))
        self._count(done, refusals, rule)
        return in_time

    def _remove(
        self, root: Root, rule: DirectoryRule, entry: Entry, done: Counter[str], refusals: list[PathRefused]
    ) -> None:
        try:
            freed = root.remove(entry.relative, entry.identity)
        except PathRefused as refusal:
            # Written to since we looked: it is in use after all.
            if refusal.reason != Reason.CHANGED:
                refusals.append(refusal)
            return
        if freed is not None:
            done.update({rule.kind: 1, "bytes": freed})
            self._place.checkpoint(f"{rule.kind} removed: {show(entry.relative)}")

    def _count(self, done: Counter[str], refusals: list[PathRefused], rule: DirectoryRule) -> None:
        """Commit the counts and start new ones."""
        for refusal in refusals:
            if is_final(refusal.reason):
                done[REFUSED + refusal.reason] += 1
            else:
                self._problems.add(f"{rule.root}: {refusal}")
        with self._tally.transaction() as (_, added):
            added.update(done)
        done.clear()
        refusals.clear()


def _names(patterns: Sequence[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(map(fnmatch.translate, patterns))) if patterns else None


def _ns(instant: datetime) -> int:
    return int(instant.timestamp()) * _NS
