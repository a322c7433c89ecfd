"""The rows of a pass behind one cursor and up to another, asked for in the same words on every database."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sqlalchemy import ColumnElement, Connection, Result, Select, bindparam, tuple_
from sqlalchemy.types import NullType

from app.retention.batch import Cursor

_PARTS = ("time", "key")


class KeysetSelections:
    """Statements by the bounds they have, each built once: building one takes longer than running it for no rows."""

    def __init__(self, build: Callable[[Iterable[str]], Select[Any]]) -> None:
        """Take what builds the statement for bounds, from which `within` makes its conditions."""
        self._build = build
        self._statements: dict[tuple[str, ...], Select[Any]] = {}

    def execute(
        self, connection: Connection, size: int, after: Cursor | None, end: Cursor | None
    ) -> Result[*tuple[Any, ...]]:
        """Run the statement for these bounds, None being none."""
        bounds = {name: at for name, at in (("after", after), ("end", end)) if at is not None}
        names = tuple(bounds)
        if names not in self._statements:
            self._statements[names] = self._build(names)
        values = {
            f"{name}_{part}": value for name, at in bounds.items() for part, value in zip(_PARTS, at, strict=True)
        }
        return connection.execute(self._statements[names], {"size": size, **values})


def within(bounds: Iterable[str], time: ColumnElement[Any], key: ColumnElement[Any]) -> Iterator[ColumnElement[bool]]:
    """Yield the condition of each bound."""
    for bound in bounds:
        # Values whose type the server takes from the columns: nothing is lost on the way through JSON.
        at = tuple_(*(bindparam(f"{bound}_{part}", type_=NullType()) for part in _PARTS))
        yield tuple_(time, key) > at if bound == "after" else tuple_(time, key) <= at
