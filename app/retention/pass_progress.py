"""How far a pass is while several workers are at it: what is stored is never ahead of what is committed."""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from app.retention.batch import Cursor, Doomed


@dataclass(kw_only=True)
class Allowance:
    """How many rows a rule may still take, those included that are taken and not yet gone."""

    most: int | None
    taken: int = 0

    @property
    def is_used_up(self) -> bool:
        return self.most is not None and self.taken >= self.most

    def cut(self, rows: int) -> int:
        """Return how many of so many rows may be taken."""
        return rows if self.most is None else min(rows, self.most - self.taken)


@dataclass(kw_only=True, eq=False)
class Stretch:
    """Rows between two cursors, one worker's until they are gone."""

    start: Cursor | None
    end: Cursor
    rows: int


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one transaction brings a pass further once it is committed."""

    progress: "PassProgress"
    rows: int = 0
    stretch: Stretch | None = None
    """None: there was nothing to take."""
    rest: Cursor | None = None
    """Where the rest of the stretch begins; None: it is through."""


class PassProgress:
    """The stretches of one pass. Safe to use from several threads."""

    def __init__(self, name: str, start: Cursor | None, allowance: Allowance) -> None:
        """Begin behind `start`; None is the beginning of the table."""
        self.name = name
        self.allowance = allowance
        self.is_ended = False
        """No row is left to take; what was taken may still be there."""
        self._next = start
        self._open: list[Stretch] = []  # oldest first
        self._taking = Lock()
        self._changing = Lock()

    def take(self, lock: Callable[[Cursor | None, int], Doomed | None], size: int) -> tuple[Doomed | None, Step]:
        """Lock the next rows, at most `size`, in turn with the other workers; None where there are no more.

        The transaction that locked them is theirs until the step is settled. Where it fails they are locked `again`.
        """
        with self._taking:
            size = self.allowance.cut(size)
            if self.is_ended or size <= 0:
                return None, Step(progress=self)
            taken = lock(self._next, size)
            with self._changing:
                self.is_ended = taken is None or taken.rows < size
                if taken is None:
                    return None, Step(progress=self)
                stretch = Stretch(start=self._next, end=taken.last, rows=taken.rows)
                self.allowance.taken += taken.rows
                self._next = taken.last
                self._open.append(stretch)
        return taken, Step(progress=self, rows=taken.rows, stretch=stretch)

    def again(
        self, stretch: Stretch, lock: Callable[[Cursor | None, int, Cursor], Doomed | None], size: int
    ) -> tuple[Doomed | None, Step]:
        """Lock rows of a stretch whose transaction failed."""
        taken = lock(stretch.start, size, stretch.end)
        if taken is None:
            return None, Step(progress=self, stretch=stretch)
        rest = taken.last if taken.rows == size and taken.last != stretch.end else None
        return taken, Step(progress=self, rows=taken.rows, stretch=stretch, rest=rest)

    def stands_at(self, step: Step) -> Cursor | None:
        """Return where the pass is to be gone on from once `step` is committed; None: it came to its end."""
        with self._changing:
            for stretch in self._open:
                if stretch is not step.stretch:
                    return stretch.start
                if step.rest is not None:
                    return step.rest
            return None if self.is_ended else self._next

    def settle(self, step: Step) -> None:
        """Take note that a step was committed."""
        stretch = step.stretch
        if stretch is None:
            return
        with self._changing:
            stretch.rows -= step.rows
            if step.rest is not None:
                stretch.start = step.rest
                return
            # Others hold what is left of it now, so that it does not count.
            self.allowance.taken -= stretch.rows
            self._open.remove(stretch)
