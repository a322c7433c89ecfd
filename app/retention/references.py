"""Which condemned files a remaining row still names: asked of whole tables at once, never file by file (rule R7)."""

import json
import posixpath
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    Select,
    Table,
    Text,
    bindparam,
    column,
    literal,
    or_,
    select,
    union,
)
from sqlalchemy import text as sql

from app.core.errors import GengfuError, PathRefused
from app.retention.stored_paths import FileColumn, FileColumns

_MOST_ODD = 100_000
_FETCHED_TOGETHER = 1000
_ODD = ("./%", "%//%", "%/./%", "%../%", "%/", "%/.")
# The databases unpack the outbox themselves: no path travels to us and back.
_UNPACKED = {
    "postgresql": """
        SELECT f ->> 'root' AS root, f ->> 'path' AS path
        FROM gengfu_file_outbox o CROSS JOIN LATERAL json_array_elements(o.files::json) f
        WHERE o.state = :state AND o.id BETWEEN :first AND :last""",
    "sqlite": """
        SELECT json_extract(f.value, '$.root') AS root, json_extract(f.value, '$.path') AS path
        FROM gengfu_file_outbox o, json_each(o.files) f
        WHERE o.state = :state AND o.id BETWEEN :first AND :last""",
}
_LEFT = {
    "postgresql": """
        SELECT f ->> 'root' AS root, f ->> 'path' AS path
        FROM gengfu_file_outbox o CROSS JOIN LATERAL json_array_elements(o.files::json) f""",
    "sqlite": """
        SELECT json_extract(f.value, '$.root') AS root, json_extract(f.value, '$.path') AS path
        FROM gengfu_file_outbox o, json_each(o.files) f""",
}
_ROOTS_LEFT = "SELECT DISTINCT root FROM ({left} WHERE o.state <> 'stuck' AND o.rule NOT IN :rules) AS files_left"
_GIVEN = {
    "postgresql": "SELECT CAST(:root AS text) AS root, p AS path FROM json_array_elements_text(CAST(:paths AS json)) p",
    "sqlite": "SELECT :root AS root, p.value AS path FROM json_each(:paths) p",
}

Narrowed = Callable[[Select[Any], Table], Select[Any]]


class TooManyOddPaths(GengfuError):
    """Too many rows name files in a spelling of their own; correct them, for we can't tell which files they mean."""


def referenced(
    connection: Connection, columns: FileColumns, first: int, last: int, *, state: str = "pending"
) -> set[tuple[str, str]]:
    """Return (root, path) of those files in the outbox rows `first` to `last` of a state that a remaining row names.

    Memory goes with the number of such files, not with the tables.
    """
    if not columns.all:
        return set()
    candidates = (
        sql(_UNPACKED[connection.dialect.name])
        .bindparams(first=first, last=last, state=state)
        .columns(column("root", Text), column("path", Text))
        .cte("condemned")
    )
    statement = union(*(_named_by(file, candidates) for file in columns.all))
    return {(root, path) for root, path in connection.execute(statement)}


def claimed(connection: Connection, columns: FileColumns, root: str, paths: Sequence[str]) -> set[str]:
    """Return those of the paths below a root that a row names or that the outbox still has to do with.

    One statement, and so one snapshot: a file goes from its row to the outbox in one transaction.
    """
    dialect = connection.dialect.name
    candidates = (
        sql(_GIVEN[dialect])
        .bindparams(root=root, paths=json.dumps(paths))
        .columns(column("root", Text), column("path", Text))
        .cte("given")
    )
    left = sql(_LEFT[dialect]).columns(column("root", Text), column("path", Text)).subquery("left_behind")
    wanted = select(candidates.c.path)
    of_rows = [_named_by(file, candidates) for file in columns.all if file.root == root]
    of_outbox = select(left.c.root, left.c.path).where(left.c.root == root, left.c.path.in_(wanted))
    return {path for _, path in connection.execute(union(*of_rows, of_outbox))}


def roots_left(connection: Connection, rules: Collection[str]) -> set[str]:
    """Return the roots of outbox files that no rule of these names left there; stuck ones are not asked for."""
    statement = sql(_ROOTS_LEFT.format(left=_LEFT[connection.dialect.name]))
    every = statement.bindparams(bindparam("rules", value=list(rules), type_=Text, expanding=True))
    return set(connection.execute(every).scalars())


def odd_references(
    connection: Connection, columns: FileColumns, narrowed: Narrowed = lambda values, _: values
) -> set[tuple[str, str]]:
    """Return (root, path) of files that rows name in a roundabout way, such as `./a//b.jpg` for `a/b.jpg`.

    `narrowed` leaves out rows of a SELECT from a table. Raises TooManyOddPaths beyond a hundred thousand: then no file
    may be removed.
    """
    found: set[tuple[str, str]] = set()
    for file in columns.all:
        found.update((file.root, path) for path in _straightened(connection, file, narrowed))
        if len(found) > _MOST_ODD:
            raise TooManyOddPaths(
                f"more than {_MOST_ODD} paths in {file.column} are not in plain form (./, //, ..); "
                "no file is removed until they are corrected"
            )
    return found


def unexplained_references(connection: Connection, columns: FileColumns) -> dict[str, str]:
    """Return root -> an absolute path that a row names there and that no known spelling of the root begins.

    It may mean any file of the root, as where two hosts have one volume at different places.
    """
    found: dict[str, str] = {}
    for file in columns.all:
        absolute = select(file.raw(connection.dialect.name)).where(unexplained_sql(file))
        if file.root not in found and (path := first_unexplained(connection, file, absolute)) is not None:
            found[file.root] = path
    return found


def unexplained_sql(file: FileColumn) -> ColumnElement[bool]:
    """Return the condition of rows whose paths are for `first_unexplained` to look at."""
    return file.relative_sql().like("/%")


def first_unexplained(connection: Connection, file: FileColumn, values: Select[Any]) -> str | None:
    """Return the first of the selected values that stays absolute in whichever order it is read, or None."""
    with connection.execute(values, execution_options={"yield_per": _FETCHED_TOGETHER}) as found:
        return next((file.text(value) for value in found.scalars() if _is_unexplained(file, value)), None)


def _is_unexplained(file: FileColumn, value: str | bytes) -> bool:
    try:
        return all(path.startswith("/") for path in _meanings(file, value))
    except PathRefused:
        return False  # as in `_straightened`


def _named_by(file: FileColumn, candidates: CTE) -> Any:
    path = file.relative_sql()
    condemned = select(candidates.c.path).where(candidates.c.root == file.root)
    return select(literal(file.root).label("root"), path.label("path")).where(path.in_(condemned))


def _straightened(connection: Connection, file: FileColumn, narrowed: Narrowed) -> Iterator[str]:
    path = file.relative_sql()
    odd = or_(*(path.like(pattern) for pattern in _ODD))
    values = narrowed(select(file.raw(connection.dialect.name)).where(odd), file.column.table)
    values = values.distinct().limit(_MOST_ODD + 1)
    for value in connection.execute(values).scalars():
        try:
            yield from _meanings(file, value)
        except PathRefused:
            continue  # no UTF-8: such a path is refused wherever it stands, so no file by that name is condemned


def _meanings(file: FileColumn, value: str | bytes) -> tuple[str, str]:
    """Both orders: the prefix of `/app//uploads/a` only shows once the path is straightened."""
    text = file.text(value)
    return _straight(file.relative(text)), _straight(file.relative(_straight(text)))


def _straight(path: str) -> str:
    # normpath alone keeps two slashes at the start.
    return posixpath.normpath(re.sub("/{2,}", "/", path))
