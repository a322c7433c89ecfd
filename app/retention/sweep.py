"""Which files of one root go by its folder rules. Nothing is removed here: a dry run asks the same questions.

Several rules may share a root: a file goes when a rule that matches it says so and no rule of the root spares it.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from os import fsdecode, stat_result

from app.core.errors import PathRefused
from app.core.safe_files import Entry, Listing, ReadOnlyRoot, blocks_bytes, newest_ns
from app.retention.folder_rules import DirectoryRule

_TOGETHER = 500  # files in one batch, and so in one transaction
_PATH_BYTES = 1 << 18  # of one batch: three thousand levels down a single path has a megabyte
_OLDEST = 10_000  # files held at once while a cap is enforced: some megabytes
_Newest = tuple[float, str]
_OLDER_THAN_ANY: _Newest = (float("-inf"), "")


@dataclass(kw_only=True, eq=False)
class Figures:
    """What one rule did in one run."""

    rule: DirectoryRule
    state: str = "partial"
    """done | budget | held; partial: it came to no end."""
    removed: int = 0
    bytes: int = 0
    evicted: int = 0
    """Of the removed: before their time, because of the cap."""
    folders: int = 0
    """Emptied folders that went too."""
    kept: Counter[str] = field(default_factory=Counter)
    """By reason: young, spared, in_use, newest, or the word of a refusal."""
    disk_bytes: int = 0
    """Of the rule's files that stay; only counted where there is a cap."""
    reasons: list[str] = field(default_factory=list)
    """Why a guard holds it."""
    seconds: float = 0.0
    """Of the whole root, whose rules share one walk."""

    def told(self) -> dict[str, object]:
        """Return the figures for the report."""
        return {
            "name": self.rule.name,
            "root": self.rule.root,
            "state": self.state,
            "reasons": self.reasons,
            "removed": self.removed,
            "bytes": self.bytes,
            "folders_removed": self.folders,
            "kept": {reason: count for reason, count in sorted(self.kept.items()) if count},
            "cap": self._cap(),
            "seconds": round(self.seconds, 3),
        }

    def _cap(self) -> dict[str, object] | None:
        if self.rule.cap is None:
            return None
        above = self.disk_bytes > self.rule.cap
        return {
            "state": "above" if above else "lowered" if self.evicted else "below",
            "bytes": self.disk_bytes,
            "limit": self.rule.cap,
            "low_water": self.rule.low_water,
            "evicted": self.evicted,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A file that is to go."""

    entry: Entry
    figures: Figures
    """Of the rule that says so."""
    capped: tuple[Figures, ...]
    """Of the rules whose cap it counts for."""
    evicted: bool = False

    def stays(self, reason: str) -> None:
        """Take note that it could not go."""
        self.figures.kept[reason] += 1
        self._no_longer_young()
        for figures in self.capped:
            figures.disk_bytes += self.bytes

    def went(self, freed: int) -> None:
        """Take note that it is gone, and how many bytes that freed."""
        self.figures.removed += 1
        self.figures.bytes += freed
        self.figures.evicted += self.evicted
        self._no_longer_young()

    @property
    def bytes(self) -> int:
        """What it counts for a cap: a file of several names in parts, so that a folder's sum is what it occupies."""
        return self.entry.blocks_bytes // self.entry.links

    def _no_longer_young(self) -> None:
        """Before the cap was looked at it was counted as a file that stays for its age."""
        if self.evicted:
            self.figures.kept["young"] -= 1


class _Folder:
    """One folder while it is looked at by the rules."""

    def __init__(self, listing: Listing, watched: Sequence[Figures]) -> None:
        self.listing = listing
        self.watched = watched
        self.prefix = fsdecode(listing.relative + b"/") if listing.relative else ""
        self._newest = {id(figures): self._threshold(figures.rule) for figures in watched if figures.rule.keep_newest}

    def matching(self, name: str) -> list[Figures]:
        """Return the rules that the file concerns."""
        return [
            figures
            for figures in self.watched
            if figures.rule.match is None or figures.rule.match.match(self.prefix, name)
        ]

    def is_newest(self, figures: Figures, name: str, status: stat_result) -> bool:
        """Tell whether the file is one of those that the rule keeps however old they are."""
        threshold = self._newest.get(id(figures))
        return threshold is not None and (figures.rule.stamp(status), name) >= threshold

    def _matches(self, rule: DirectoryRule, name: str) -> bool:
        return rule.match is None or rule.match.match(self.prefix, name)

    def _threshold(self, rule: DirectoryRule) -> _Newest:
        """Return the oldest of those that stay; of equal age the last by name stay."""
        stamps = ((rule.stamp(status), name) for name, status in self.listing.files() if self._matches(rule, name))
        newest = heapq.nlargest(rule.keep_newest, stamps)
        # All stay of a folder that has no more, or that could not be read to its end.
        return newest[-1] if len(newest) == rule.keep_newest else _OLDER_THAN_ANY


class Sweep:
    """Finds the files of one root that go, batch by batch; each batch must be worked off before the next is asked."""

    def __init__(
        self,
        root: ReadOnlyRoot,
        rules: Sequence[DirectoryRule],
        *,
        busy: frozenset[tuple[int, int]],
        on_refused: Callable[[PathRefused], None],
        is_over: Callable[[], bool],
    ) -> None:
        """Take the rules of this root; `busy` are the files that nobody may take away, by device and inode.

        `is_over` is asked at every folder; after it said yes there are no more batches.
        """
        self._root = root
        self._busy = busy
        self._on_refused = on_refused
        self.is_over = is_over
        self.was_cut = False
        self.files = 0
        """Seen so far, whatever becomes of them."""
        self.figures = [Figures(rule=rule) for rule in rules]
        self._latest_ns = max(rule.before_ns for rule in rules)
        self._is_plain = all(rule.match is None and rule.cap is None for rule in rules)
        self._kept_paths = frozenset[bytes]().union(*(rule.kept_paths for rule in rules))
        self._spares = [rule.spare for rule in rules if rule.spare is not None]

    @property
    def active(self) -> list[Figures]:
        """The figures of the rules that were asked for."""
        return [figures for figures in self.figures if not figures.rule.is_bystander]

    def batches(self) -> Generator[list[Candidate], None, None]:
        """Yield what has expired, then the oldest of what is above a cap."""
        yield from _packed(self._expired())
        for figures in self.figures:
            # Of a walk that was cut short the sum is unknown.
            if self.was_cut or figures.rule.is_bystander or figures.rule.cap is None:
                continue
            if figures.disk_bytes > figures.rule.cap:
                yield from self._above_cap(figures)

    def _folders(self, on_refused: Callable[[PathRefused], None]) -> Iterator[_Folder]:
        for listing in self._root.listings(on_refused):
            if self.is_over():
                self.was_cut = True
                return
            yield _Folder(listing, self.figures)

    def _expired(self) -> Iterator[Candidate]:
        for folder in self._folders(self._on_refused):
            young = 0
            for name, status in folder.listing.files():
                self.files += 1
                # Most files end here: no name to compare, no size to add, and no stamp is earlier than the content's.
                if self._is_plain and status.st_mtime_ns >= self._latest_ns:
                    young += 1
                elif matching := folder.matching(name):
                    yield from self._judged(folder, matching, name, status)
            for figures in self.figures:
                figures.kept["young"] += young

    def _judged(self, folder: _Folder, matching: list[Figures], name: str, status: stat_result) -> Iterator[Candidate]:
        """Yield the file if it goes, else count why it stays."""
        says = _oldest_rule(matching, status)
        why = None if says is None else self._why_kept(folder, matching, name, status)
        capped = tuple(figures for figures in matching if figures.rule.cap is not None)
        if says is not None and why is None:
            yield Candidate(entry=Entry.of(folder.listing.path(name), status), figures=says, capped=capped)
            return
        for figures in matching:
            figures.kept[why if why and _is_old(figures, status) else "young"] += 1
        for figures in capped:
            figures.disk_bytes += blocks_bytes(status) // status.st_nlink

    def _why_kept(self, folder: _Folder, matching: list[Figures], name: str, status: stat_result) -> str | None:
        if any(spare.match(folder.prefix, name) for spare in self._spares):
            return "spared"
        if self._kept_paths and folder.listing.path(name) in self._kept_paths:
            return "spared"
        if (status.st_dev, status.st_ino) in self._busy:
            return "in_use"
        return "newest" if any(folder.is_newest(figures, name, status) for figures in matching) else None

    def _above_cap(self, figures: Figures) -> Iterator[list[Candidate]]:
        """Yield the oldest until the rest is at its low-water mark; round by round, so that memory stays flat."""
        last: tuple[int, bytes] | None = None
        while figures.disk_bytes > figures.rule.low_water:
            oldest = heapq.nsmallest(_OLDEST, self._evictable(figures, last), key=itemgetter(0, 1))
            # The oldest of a part may be younger than what was not seen.
            if not oldest or self.was_cut:
                return
            yield from _packed(_until_low(figures, (candidate for *_, candidate in oldest)))
            last = oldest[-1][:2]

    def _evictable(self, figures: Figures, after: tuple[int, bytes] | None) -> Iterator[tuple[int, bytes, Candidate]]:
        """Yield age and path of what may go before its time and was not looked at in an earlier round."""
        rule = figures.rule
        for folder in self._folders(_told_before):
            for name, status in folder.listing.files():
                if status.st_nlink > 1 or newest_ns(status) >= rule.evict_before_ns:
                    continue
                matching = folder.matching(name)
                if not any(one is figures for one in matching) or _oldest_rule(matching, status) is not None:
                    continue
                path = folder.listing.path(name)
                stamp = rule.stamp(status)
                if (after is None or (stamp, path) > after) and not self._why_kept(folder, matching, name, status):
                    capped = tuple(other for other in matching if other.rule.cap is not None)
                    entry = Entry.of(path, status)
                    yield stamp, path, Candidate(entry=entry, figures=figures, capped=capped, evicted=True)


def _oldest_rule(matching: list[Figures], status: stat_result) -> Figures | None:
    """Return the first rule for which the file is old enough."""
    for figures in matching:
        if not figures.rule.is_bystander and _is_old(figures, status):
            return figures
    return None


def _is_old(figures: Figures, status: stat_result) -> bool:
    return figures.rule.stamp(status) < figures.rule.before_ns


def _until_low(figures: Figures, oldest: Iterator[Candidate]) -> Iterator[Candidate]:
    for candidate in oldest:
        if figures.disk_bytes <= figures.rule.low_water:
            return
        for capped in candidate.capped:
            capped.disk_bytes -= candidate.bytes
        yield candidate


def _packed(candidates: Iterator[Candidate]) -> Iterator[list[Candidate]]:
    batch: list[Candidate] = []
    path_bytes = 0
    for candidate in candidates:
        batch.append(candidate)
        path_bytes += len(candidate.entry.relative)
        if len(batch) >= _TOGETHER or path_bytes >= _PATH_BYTES:
            yield batch
            batch, path_bytes = [], 0
    if batch:
        yield batch


def _told_before(_refusal: PathRefused) -> None:
    """Take no notice: the first walk has told it."""
