"""The counts of a run, committed together with what they count.

A run that is killed leaves its counts in the database, and the next run's report includes them: every row and every
file is reported exactly once, whenever the kill came.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from app.retention import stored_state
from app.retention.workplace import Workplace

_KEY = "retention:tally"
REFUSED = "refused."
"""Prefix of the counts by reason."""


class Tally:
    """Counts since the last report, by name; refusals as `refused.REASON`."""

    def __init__(self, place: Workplace, run_id: str) -> None:
        """Take over what a killed run left behind."""
        self._place = place
        with place.database.read() as connection:
            left = stored_state.get(connection, _KEY) or {}
        self.interrupted_runs: tuple[str, ...] = tuple(left.get("run_ids", ()))
        self.carried: Counter[str] = Counter(left.get("counts", {}))
        self.counts: Counter[str] = Counter(self.carried)
        self.run_id = run_id
        self._run_ids = [*self.interrupted_runs, run_id]

    @contextmanager
    def transaction(self) -> Iterator[tuple[Connection, Counter[str]]]:
        """Give a maintenance transaction and an empty counter that counts once the transaction is committed."""
        added: Counter[str] = Counter()
        with self._place.database.maintain() as connection:
            yield connection, added
            if added:
                self._store(connection, self.counts + added)
        self.counts.update(added)
        self._place.on_progress(self.counts)

    def close(self) -> None:
        """Forget the stored counts: the report has them now."""
        with self._place.database.maintain() as connection:
            stored_state.remove(connection, _KEY)

    def _store(self, connection: Connection, counts: Counter[str]) -> None:
        value = {"run_ids": self._run_ids, "counts": dict(counts)}
        stored_state.put(connection, _KEY, value, self._place.clock.now())
