"""The distinct values of an index's first column, one look into the index for each.

DISTINCT and GROUP BY read the whole history: neither SQLite nor PostgreSQL skips within an index by itself.
"""

from typing import Any

from sqlalchemy import CTE, Column, func, select


def distinct(column: Column[Any]) -> CTE:
    """Return a table of one column, `value`: the distinct values of `column`, and a NULL as its last row."""
    known = select(func.min(column).label("value")).cte("known", recursive=True)
    following = select(func.min(column)).where(column > known.c.value).scalar_subquery()
    return known.union_all(select(following).where(known.c.value.is_not(None)))
