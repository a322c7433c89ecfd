"""The counts of a run and how far its passes came, committed together with what they count.

A run that is killed leaves its counts in the database, and the next run's report includes them: every row and every
file is reported exactly once, whenever the kill came. Cursors outlive the report: a pass that did not come to its end
goes on from there.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Literal

from sqlalchemy import Connection

from app.core.errors import DatabaseBusy, DatabaseUnavailable
from app.retention import stored_state
from app.retention.batch import Cursor
from app.retention.pass_progress import Step
from app.retention.workplace import Stage, Workplace

_KEY = "retention:tally"
REFUSED = "refused."
"""Prefix of the counts by reason."""
_RULE = "rule."


def rule_key(rule: str, what: str) -> str:
    """Return the name under which a rule's `rows`, `children`, `files`, `bytes` or `batches` are counted."""
    return f"{_RULE}{rule}.{what}"


def without_rules(counts: Counter[str]) -> dict[str, int]:
    """Return the counts that are not of single rules."""
    return {key: count for key, count in counts.items() if not key.startswith(_RULE)}


def _storable(cursors: Mapping[str, Cursor]) -> dict[str, Cursor]:
    """Return those that JSON can hold: a pass over keys that are bytes begins anew instead."""
    return {name: cursor for name, cursor in cursors.items() if not isinstance(cursor[1], bytes)}


@dataclass(kw_only=True)
class Entry:
    """What one transaction adds once it is committed."""

    connection: Connection
    counts: Counter[str] = field(default_factory=Counter)
    step: Step | None = None
    """How much further it brings a pass."""


@dataclass(frozen=True, kw_only=True)
class _Sent:
    """What stands in the database once the transaction is committed."""

    entry: Entry
    counts: Counter[str]
    cursors: dict[str, Cursor]


class Tally:
    """Counts since the last report, by name; refusals as `refused.REASON`. Safe to use from several threads."""

    def __init__(self, place: Workplace, run_id: str) -> None:
        """Take over what a killed run left behind."""
        self._place = place
        with place.database.read() as connection:
            left = stored_state.get(connection, _KEY) or {}
        self.interrupted_runs: tuple[str, ...] = tuple(left.get("run_ids", ()))
        self.carried: Counter[str] = Counter(left.get("counts", {}))
        self.counts: Counter[str] = Counter(self.carried)
        self.cursors: dict[str, Cursor] = {name: (at[0], at[1]) for name, at in left.get("cursors", {}).items()}
        self.run_id = run_id
        self._run_ids = [*self.interrupted_runs, run_id]
        self._turn = Lock()
        self._in_doubt: _Sent | None = None
        """Its COMMIT got no answer."""

    @contextmanager
    def transaction(self) -> Iterator[tuple[Connection, Counter[str]]]:
        """Give a maintenance transaction and an empty counter that counts once the transaction is committed."""
        with self.entry() as entry:
            yield entry.connection, entry.counts

    @contextmanager
    def entry(self) -> Iterator[Entry]:
        """Give the same with a step; the counts and cursors of all passes cost one statement.

        Raises DatabaseUnavailable where it is not known whether an earlier transaction was committed.
        """
        if self._in_doubt is not None:
            self.settle()
        with ExitStack() as turn:
            sent: _Sent | None = None
            try:
                with self._place.database.maintain() as connection:
                    entry = Entry(connection=connection)
                    yield entry
                    # One commits after the other: what is stored is computed from what is committed.
                    turn.enter_context(self._turn)
                    self._settle()
                    stored = self._store(connection, entry)
                    sent = stored
            except DatabaseUnavailable:
                if sent is None:
                    raise
                # Its COMMIT got no answer, and may have been done all the same.
                self._in_doubt = sent
                if not self._is_settled_at_once():
                    raise
            else:
                self._committed(stored)
            self._place.on_progress(self.counts)

    def stage(
        self,
        kind: Literal["rule", "files", "folders"],
        name: str,
        counted: tuple[str, ...],
        total: int | None = None,
        total_is: Literal["exact", "estimate", "bound"] = "exact",
    ) -> Stage:
        """Return a part of the run that begins now and is counted under these names."""
        before = sum(self.counts[count] for count in counted)
        return Stage(kind=kind, name=name, counted=counted, before=before, total=total, total_is=total_is)

    def settle(self) -> None:
        """Find out whether the transaction whose COMMIT got no answer was committed, and count it if so.

        Raises DatabaseUnavailable and DatabaseBusy where that can't be found out now.
        """
        with self._turn:
            self._settle()

    def keep_cursors(self, names: Collection[str]) -> None:
        """Forget the cursors of passes that no rule has any more."""
        self.cursors = {name: cursor for name, cursor in self.cursors.items() if name in names}

    def close(self) -> None:
        """Forget the stored counts: the report has them now. Raises what `settle` does."""
        self.settle()
        with self._place.database.maintain() as connection:
            if kept := _storable(self.cursors):
                stored_state.put(connection, _KEY, {"cursors": kept}, self._place.clock.now())
            else:
                stored_state.remove(connection, _KEY)

    def _moved(self, entry: Entry) -> dict[str, Cursor]:
        if entry.step is None:
            return self.cursors
        progress = entry.step.progress
        others = {name: cursor for name, cursor in self.cursors.items() if name != progress.name}
        cursor = progress.stands_at(entry.step)
        return others if cursor is None else others | {progress.name: cursor}

    def _store(self, connection: Connection, entry: Entry) -> "_Sent":
        counts, cursors = self.counts + entry.counts, self._moved(entry)
        if entry.counts:
            value: dict[str, Any] = {"run_ids": self._run_ids, "counts": dict(counts)}
            if kept := _storable(cursors):
                value["cursors"] = kept
            stored_state.put(connection, _KEY, value, self._place.clock.now())
        return _Sent(entry=entry, counts=counts, cursors=cursors)

    def _committed(self, sent: "_Sent") -> None:
        self.counts.update(sent.entry.counts)
        self.cursors = sent.cursors
        step = sent.entry.step
        if step is not None:
            step.progress.settle(step)

    def _is_settled_at_once(self) -> bool:
        try:
            return self._settle()
        except (DatabaseUnavailable, DatabaseBusy):
            return False  # looked up again before anything else is counted

    def _settle(self) -> bool:
        """Return whether the transaction in doubt was committed; False, too, where there is none."""
        sent = self._in_doubt
        if sent is None:
            return False
        with self._place.database.maintain() as connection:
            stored = stored_state.get_settled(connection, _KEY) or {}
        self._in_doubt = None
        if not sent.entry.counts or stored.get("counts") != dict(sent.counts):
            return False
        self._committed(sent)
        return True
