"""Temporary files, logs and what else goes by age or size, whatever the database says.

Before files are removed it is written down which, in the transaction that counts those of the batch before: killed
anywhere between, the next run finds them gone and knows it was us.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import groupby
from operator import attrgetter

from app.core.errors import DatabaseBusy, PathRefused, RootRefused
from app.core.safe_files import ReadOnlyRoot, Reason, Root, open_files, show
from app.retention import stored_state
from app.retention.folder_rules import DirectoryRule
from app.retention.lock import Flight
from app.retention.problems import Problems
from app.retention.roots import OpenRoots
from app.retention.settings import LOGS
from app.retention.stored_paths import is_final
from app.retention.sweep import Candidate, Figures, Sweep
from app.retention.tally import REFUSED, Tally
from app.retention.workplace import Workplace

_CONDEMNED = "retention:condemned:"
_ByRoot = attrgetter("root")


def _nothing(_candidate: Candidate) -> None:
    """Take no notice."""


class DirectoryEngine:
    """Removes what the rules cover."""

    def __init__(
        self, place: Workplace, roots: OpenRoots[Root], tally: Tally, flight: Flight, problems: Problems
    ) -> None:
        self._place = place
        self._roots = roots
        self._tally = tally
        self._flight = flight
        self._problems = problems
        self._done: Counter[str] = Counter()
        self._refusals: list[tuple[str, PathRefused]] = []
        self.figures: list[Figures] = []
        """Of every rule, for the report."""

    def run(self, rules: Sequence[DirectoryRule], until: float) -> bool:
        """Remove old files below every root that is not held; False where the instant `until` came first, or a halt.

        Raises DatabaseUnavailable and DatabaseBusy: what can't be counted is not removed.
        """
        states = [self._clean(name, group, until) for name, group in _by_root(rules)]
        return {"budget", "partial"}.isdisjoint(states)

    def _clean(self, name: str, rules: Sequence[DirectoryRule], until: float) -> str:
        root = self._roots.ready.get(name)
        if root is None:
            self.figures += [Figures(rule=rule, state="held") for rule in rules if not rule.is_bystander]
            return "held"
        started = self._place.clock.monotonic()
        sweep = sweep_of(self._place, root, rules, lambda refusal: self._refusals.append((name, refusal)), until)
        self.figures += sweep.active
        try:
            self._count_what_a_killed_run_removed(root)
            state = self._work_off(root, sweep)
        except RootRefused as error:
            self._roots.hold(root.name, str(error))
            state = "held"
        for figures in sweep.figures:
            figures.state, figures.seconds = state, self._place.clock.monotonic() - started
        return state

    def _work_off(self, root: Root, sweep: Sweep) -> str:
        """Remove what goes, and count it unless the database fails: then the next run does, by what was condemned."""
        try:
            state = self._remove_all(root, sweep)
        except (RootRefused, DatabaseBusy):
            self._count(root.name)
            raise
        self._count(root.name)
        return state

    def _remove_all(self, root: Root, sweep: Sweep) -> str:
        with closing(sweep.batches()) as batches:
            for batch in batches:
                if self._place.halted() is not None:
                    return "partial"
                self._condemn(root, batch)
                self._remove(root, batch)
                if sweep.is_over():
                    return "budget"
        return "budget" if sweep.was_cut else "done"

    def _condemn(self, root: Root, batch: Sequence[Candidate]) -> None:
        root.check_in_place()
        told = {"files": [_told(candidate) for candidate in batch]}
        with self._tally.transaction() as (connection, added):
            self._flight.check(connection)
            added.update(self._counted())
            stored_state.put(connection, _CONDEMNED + root.name, told, self._place.clock.now())
        self._forget()
        self._place.checkpoint("old files condemned")

    def _remove(self, root: Root, batch: Sequence[Candidate]) -> None:
        files = ((candidate.entry.relative, candidate.entry.identity) for candidate in batch)
        emptied: dict[bytes, Figures] = {}
        try:
            for candidate, result in zip(batch, root.remove_each(files, deep=True), strict=True):
                if isinstance(result, PathRefused):
                    self._stays(root, candidate, result)
                elif result is not None:
                    if candidate.figures.rule.remove_empty:
                        emptied[candidate.entry.relative.rpartition(b"/")[0]] = candidate.figures
                    self._went(candidate, result)
            self._place.checkpoint("old files removed")
        finally:
            # Also of a run that is interrupted: the next one finds nothing there any more to remove.
            _remove_folders(root, emptied)

    def _went(self, candidate: Candidate, freed: int) -> None:
        kind = candidate.figures.rule.kind
        candidate.went(freed)
        self._done[kind] += 1
        self._done["bytes"] += freed
        self._place.checkpoint(f"{kind} removed: {show(candidate.entry.relative)}")

    def _stays(self, root: Root, candidate: Candidate, refusal: PathRefused) -> None:
        # Written to since we looked: it is in use after all.
        changed = refusal.reason == Reason.CHANGED
        candidate.stays("in_use" if changed else refusal.reason)
        if not changed:
            self._refusals.append((root.name, refusal))

    def _count(self, root: str) -> None:
        """Commit the counts of the last batch."""
        with self._tally.transaction() as (connection, added):
            self._flight.check(connection)
            added.update(self._counted())
            stored_state.remove(connection, _CONDEMNED + root)
        self._forget()

    def _counted(self) -> Counter[str]:
        return self._done + Counter(
            REFUSED + refusal.reason for _, refusal in self._refusals if is_final(refusal.reason)
        )

    def _forget(self) -> None:
        """Start new counts; what is no matter of the files themselves is told."""
        for name, refusal in self._refusals:
            if not is_final(refusal.reason):
                self._problems.add(f"{name}: {refusal}")
        self._done.clear()
        self._refusals.clear()

    def _count_what_a_killed_run_removed(self, root: Root) -> None:
        with self._place.database.read() as connection:
            left = stored_state.get(connection, _CONDEMNED + root.name)
        if left is None:
            return
        with self._tally.transaction() as (connection, added):
            for kind, path, disk_bytes, remove_empty in left["files"]:
                relative = path.encode("latin-1")
                if not _is_gone(root, relative):
                    continue
                added.update({kind: 1, "bytes": disk_bytes})
                if remove_empty:
                    root.remove_empty_parents(relative)
            stored_state.remove(connection, _CONDEMNED + root.name)


class DirectoryPreview:
    """Counts what the engine would remove; works with roots that can't remove."""

    def __init__(
        self,
        place: Workplace,
        roots: OpenRoots[ReadOnlyRoot],
        problems: Problems,
        on_candidate: Callable[[Candidate], None] = _nothing,
    ) -> None:
        """Look through these roots; `on_candidate` is called for every file that would go."""
        self._place = place
        self._roots = roots
        self._problems = problems
        self._on_candidate = on_candidate
        self.counts: Counter[str] = Counter()
        self.figures: list[Figures] = []
        """Of every rule, for the report; state `budget` where the walk was cut short."""
        self.files: Counter[str] = Counter()
        """Root -> files seen, whatever becomes of them."""
        self.going: Counter[str] = Counter()
        """Root -> files whose removal would be tried."""

    def run(self, rules: Sequence[DirectoryRule], until: float = float("inf")) -> None:
        """Look through every root that is not held, until the monotonic instant `until`."""
        for name, group in _by_root(rules):
            if name in self._roots.ready:
                self._look(self._roots.ready[name], group, until)
            else:
                self.figures += [Figures(rule=rule, state="held") for rule in group if not rule.is_bystander]

    def _look(self, root: ReadOnlyRoot, rules: Sequence[DirectoryRule], until: float) -> None:
        started = self._place.clock.monotonic()
        sweep = sweep_of(self._place, root, rules, lambda refusal: self._refuse(root.name, refusal), until)
        self.figures += sweep.active
        state = self._look_through(root, sweep)
        self.files[root.name] = sweep.files
        for figures in sweep.figures:
            figures.state, figures.seconds = state, self._place.clock.monotonic() - started

    def _look_through(self, root: ReadOnlyRoot, sweep: Sweep) -> str:
        try:
            for candidate in _each(sweep):
                self.going[root.name] += 1
                self._look_at(root, candidate)
        except RootRefused as error:
            self._roots.hold(root.name, str(error))
            return "held"
        return "budget" if sweep.was_cut else "done"

    def _look_at(self, root: ReadOnlyRoot, candidate: Candidate) -> None:
        try:
            entry = root.inspect(candidate.entry.relative, deep=True)
        except PathRefused as refusal:
            candidate.stays(refusal.reason)
            self._refuse(root.name, refusal)
            return
        if entry is not None:
            candidate.went(entry.blocks_bytes)
            self._on_candidate(candidate)
            self.counts.update({candidate.figures.rule.kind: 1, "bytes": entry.blocks_bytes})

    def _refuse(self, name: str, refusal: PathRefused) -> None:
        if is_final(refusal.reason):
            self.counts[REFUSED + refusal.reason] += 1
        else:
            self._problems.add(f"{name}: {refusal}")


def sweep_of(
    place: Workplace,
    root: ReadOnlyRoot,
    rules: Sequence[DirectoryRule],
    on_refused: Callable[[PathRefused], None],
    until: float = float("inf"),
) -> Sweep:
    """Return what goes of a root by its rules; `until` is a monotonic instant."""
    return Sweep(
        root,
        rules,
        busy=open_files() | _active_logs(place),
        on_refused=on_refused,
        is_over=lambda: place.clock.monotonic() >= until,
    )


def _active_logs(place: Workplace) -> frozenset[tuple[int, int]]:
    """Return device and inode of the logs that are written to: under another name, too, they are not old."""
    found = set()
    for name in place.active_logs:
        try:
            status = (place.folders[LOGS] / name).stat()
        except OSError:  # not begun yet
            continue
        found.add((status.st_dev, status.st_ino))
    return frozenset(found)


def _by_root(rules: Sequence[DirectoryRule]) -> Iterator[tuple[str, list[DirectoryRule]]]:
    """Yield every root with its rules, in the rules' own order: the first that says so is the one that counts."""
    for name, group in groupby(sorted(rules, key=_ByRoot), key=_ByRoot):
        yield name, list(group)


def _each(sweep: Sweep) -> Iterator[Candidate]:
    for batch in sweep.batches():
        yield from batch


def _remove_folders(root: Root, emptied: Mapping[bytes, Figures]) -> None:
    # The deepest first: the folder above may be empty only then.
    for folder in sorted(emptied, key=lambda path: -path.count(b"/")):
        emptied[folder].folders += root.remove_empty_parents(folder + b"/x") if folder else 0


def _told(candidate: Candidate) -> tuple[str, str, int, bool]:
    # Latin-1 takes any bytes, and JSON any text of it.
    entry, rule = candidate.entry, candidate.figures.rule
    return rule.kind, entry.relative.decode("latin-1"), entry.blocks_bytes, rule.remove_empty


def _is_gone(root: Root, relative: bytes) -> bool:
    """Something else that stands there says nothing about the file that did."""
    try:
        return root.inspect(relative, deep=True) is None
    except PathRefused:
        return False
