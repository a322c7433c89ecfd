"""`gengfu retention plan`: what each rule would do now, without a lock, a write, or a way to remove anything."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean, stdev
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    false,
    func,
    literal,
    or_,
    select,
    tablesample,
    tuple_,
)
from sqlalchemy.sql.util import ClauseAdapter

from app.core.errors import DatabaseBusy, DatabaseRefused, PathRefused, SchemaMismatch
from app.core.measures import age_text
from app.core.safe_files import Entry, ReadOnlyRoot, view_root
from app.retention.counting import EXACT, at_most, estimated, indexes_used
from app.retention.expiry import Expiry, absurd, cursor_of, expired_in, frozen_now, held, passes, without_time
from app.retention.guards import judge
from app.retention.remaining import kept_by
from app.retention.roots import OpenRoots, open_roots
from app.retention.rule_names import require_known
from app.retention.rule_plan import Figure, RulePlan, total
from app.retention.rules import ChildRule, RowRule, row_rules
from app.retention.stored_paths import FileColumn
from app.retention.workplace import Workplace

_SCAN_S = 120.0
_COUNTED = 2_000_000
"""Expired rows counted one by one along the index (about 0.6 s); beyond, the planner's estimate is told."""
_MEASURED = 20_000
"""Expired rows up to which every child and file is looked at; beyond, forty spots of fifty rows each are."""
_SPOTS = 40
_ROWS_OF_SPOT = 50
_LIKELY = 2.1
"""Student's t for 95 % and half of the spots."""
_RULE_OF_THREE = 3
"""What n rows don't show is, with 95 %, true of at most 3/n of all."""


def plan_rules(place: Workplace, names: Collection[str] | None = None) -> list[RulePlan]:
    """Return the plans of all rules, or of those named, in the order in which they would run.

    Raises BadArgument for an unknown name, DatabaseUnavailable; what goes wrong with one rule is told as its reason.
    """
    rules = row_rules(place.source, place.settings, place.folders)
    require_known(names, [rule.name for rule in rules])
    chosen = [rule for rule in rules if names is None or rule.name in names]
    with place.database.read() as connection:
        now = frozen_now(connection)
    wanted = {file.root for rule in chosen for file in rule.all_files}
    with open_roots(view_root, place.database, place.folders, wanted) as roots:
        return [_planned(place, rule, now, roots) for rule in chosen]


def _planned(place: Workplace, rule: RowRule, now: datetime, roots: OpenRoots[ReadOnlyRoot]) -> RulePlan:
    known: dict[str, Any] = {
        "name": rule.name,
        "table": rule.table_name,
        "keep": age_text(rule.keep),
        "cutoff": now - rule.keep,
    }
    try:
        verdict = judge(place, rule, now, "RUN")
    except (DatabaseBusy, DatabaseRefused, SchemaMismatch) as error:
        return RulePlan(**known, state="refused", reasons=(str(error),), warnings=())
    known |= {"reasons": verdict.reasons, "warnings": verdict.warnings, "table_rows": verdict.table_rows}
    held_roots = sorted({file.root for file in rule.all_files} & roots.held.keys())
    state = "held" if held_roots and verdict.state == "go" else verdict.state
    known["reasons"] += tuple(roots.held[name] for name in held_roots)
    if verdict.state == "refused" or verdict.table_rows is None:
        return RulePlan(**known, state=state)
    with place.database.read(deadline_s=_SCAN_S) as connection:
        look = _Look(connection, rule, now, roots, verdict.table_rows)
        known |= look.figures()
    known["warnings"] += tuple(_limits(rule, known["rows"]))
    stays, exact = _stays(place, rule, now, verdict.table_rows)
    return RulePlan(**known, state=state, stays=stays, stays_exact=exact)


def _limits(rule: RowRule, rows: Figure) -> Iterator[str]:
    if rule.max_rows is not None and rows.value > rule.max_rows:
        yield f"one run deletes no more than max_rows = {rule.max_rows:,}; the next one goes on from there"


@dataclass(kw_only=True)
class _Spot:
    """What some neighbouring rows take with them."""

    rows: int = 0
    children: int = 0
    files: int = 0
    bytes: int = 0


class _Look:
    """The figures of one rule."""

    def __init__(
        self, connection: Connection, rule: RowRule, now: datetime, roots: OpenRoots[ReadOnlyRoot], table_rows: int
    ) -> None:
        self._connection = connection
        self._dialect = connection.dialect.name
        self._rule = rule
        self._roots = roots
        self._table_rows = table_rows
        self._passes = passes(rule, now - rule.keep)
        self._seen: set[tuple[str, str]] = set()

    def figures(self) -> dict[str, Any]:
        counts = [self._count(expiry) for expiry in self._passes]
        rows = total(counts)
        ends = [self._ends(expiry) for expiry, count in zip(self._passes, counts, strict=True) if count.value]
        spots = list(self._spots(counts, whole=rows.exact and rows.value <= _MEASURED))
        scaled = {name: self._scaled(rows, spots, name) for name in ("children", "files", "bytes")}
        return {
            "rows": rows,
            **scaled,
            "oldest": min((oldest.isoformat() for oldest, _ in ends), default=None),
            "newest": max((newest.isoformat() for _, newest in ends), default=None),
            "indexes": tuple(dict.fromkeys(name for e in self._passes for name in self._indexes(e))),
        }

    def _count(self, expiry: Expiry) -> Figure:
        condition = expired_in(expiry, self._dialect)
        counted = at_most(self._connection, self._rule.table, condition, _COUNTED + 1)
        if counted <= _COUNTED:
            return Figure.exactly(counted)
        if self._dialect == "sqlite":
            statement = select(func.count()).select_from(self._rule.table).where(condition)
            return Figure.exactly(int(self._connection.execute(statement).scalar_one()))
        likely = estimated(self._connection, select(literal(1)).select_from(self._rule.table).where(condition))
        return Figure(value=max(likely, counted), low=counted, high=max(self._table_rows, likely))

    def _indexes(self, expiry: Expiry) -> tuple[str, ...]:
        time = cursor_of(expiry, self._dialect)
        batch = select(self._rule.key).where(expired_in(expiry, self._dialect)).order_by(time, self._rule.key)
        return indexes_used(self._connection, batch.limit(2000))

    def _spots(self, counts: list[Figure], *, whole: bool) -> Iterator[_Spot]:
        total = sum(count.value for count in counts)
        for expiry, count in zip(self._passes, counts, strict=True):
            if whole:
                yield from self._every_row(expiry)
            elif count.value:
                yield from self._some_rows(expiry, max(2, round(_SPOTS * count.value / total)))

    def _every_row(self, expiry: Expiry) -> Iterator[_Spot]:
        last: Any = None
        while rows := self._rows(expiry, last, 1000):
            yield self._measured(rows)
            end: Any = rows[-1]
            last = end[1], end[0]

    def _some_rows(self, expiry: Expiry, spots: int) -> Iterator[_Spot]:
        """Spread over the time between the oldest and the newest row: each is one step into the index."""
        looked_at: set[Any] = set()
        for start in self._starts(expiry, spots):
            self._seen.clear()
            near = self._neighbours(expiry, start).subquery("near")
            into_near = ClauseAdapter(near).traverse
            condition = into_near(expired_in(expiry, self._dialect))
            statement = select(*map(into_near, self._columns(expiry))).select_from(near).where(condition)
            # Where many rows share a time, one spot is like the other.
            rows = [row for row in self._connection.execute(statement) if _key(row) not in looked_at]
            if rows:
                looked_at.update(map(_key, rows))
                yield self._measured(rows)

    def _neighbours(self, expiry: Expiry, start: datetime) -> Select[Any]:
        """Select the rows behind an instant by a plain range, whether they go or not.

        With the whole condition SQLite would walk from the oldest row to every spot: 25 s for half a million rows.
        """
        rule = self._rule
        statement = select(*(column for column in rule.columns if column.table is rule.table))
        statement = statement.where(expiry.time >= start.replace(microsecond=0), expiry.time < expiry.cutoff)
        if rule.status is not None:
            statement = statement.where(rule.status == expiry.word)
        if expiry.by_fallback:
            statement = statement.where(rule.finished.is_(None))
        return statement.order_by(expiry.time, rule.key).limit(_ROWS_OF_SPOT)

    def _starts(self, expiry: Expiry, spots: int) -> Iterator[Any]:
        oldest, newest = self._ends(expiry)
        for number in range(spots):
            yield oldest + (newest - oldest) * number / spots

    def _ends(self, expiry: Expiry) -> tuple[datetime, datetime]:
        """Return the oldest and the newest time, each by one step into the index."""
        some = select(expiry.time).select_from(self._rule.table).where(expired_in(expiry, self._dialect)).limit(1)
        time = cursor_of(expiry, self._dialect)
        oldest = self._connection.execute(some.order_by(time)).scalar_one()
        return oldest, self._connection.execute(some.order_by(time.desc())).scalar_one()

    def _rows(self, expiry: Expiry, after: tuple[Any, Any] | None, most: int) -> Sequence[Row[Any]]:
        time, key = cursor_of(expiry, self._dialect), self._rule.key
        statement = select(*self._columns(expiry)).where(expired_in(expiry, self._dialect))
        if after is not None:
            statement = statement.where(tuple_(time, key) > tuple_(*after))
        return self._connection.execute(statement.order_by(time, key).limit(most)).all()

    def _columns(self, expiry: Expiry) -> list[ColumnElement[Any]]:
        """Key, time, and the paths of the rule's own files."""
        time = cursor_of(expiry, self._dialect).label("at")
        files = [file.raw(self._dialect).label(f"file_{n}") for n, file in enumerate(self._rule.files)]
        return [self._rule.key, time, *files]

    def _measured(self, rows: Sequence[Row[Any]]) -> _Spot:
        spot = _Spot(rows=len(rows))
        for number, file in enumerate(self._rule.files):
            self._add_files(spot, file, [row[number + 2] for row in rows])
        keys = list(map(_key, rows))
        before: list[ChildRule] = []
        for child in self._rule.children:
            files = [file.raw(self._dialect) for file in child.files]
            # What hangs on these rows by two keys goes once.
            counted = (other.foreign_key.in_(keys) for other in before if other.table is child.table)
            by_another = func.coalesce(or_(false(), *counted), false())
            statement = select(literal(1), *files).where(child.foreign_key.in_(keys), ~by_another)
            found = self._connection.execute(statement.select_from(child.table)).all()
            spot.children += len(found)
            for number, file in enumerate(child.files):
                self._add_files(spot, file, [row[number + 1] for row in found])
            before.append(child)
        return spot

    def _add_files(self, spot: _Spot, file: FileColumn, values: list[Any]) -> None:
        root = self._roots.ready.get(file.root)
        if root is None:
            return
        for value in values:
            entry = self._entry(root, file, value) if value is not None else None
            if entry is not None:
                spot.files += 1
                spot.bytes += entry.blocks_bytes

    def _entry(self, root: ReadOnlyRoot, file: FileColumn, value: Any) -> Entry | None:
        """Return a file that was not met before."""
        try:
            path = file.relative(value)
            if (file.root, path) in self._seen:
                return None
            self._seen.add((file.root, path))
            return root.inspect(path.encode())
        except PathRefused:
            return None

    def _scaled(self, rows: Figure, spots: list[_Spot], name: str) -> Figure | None:
        if name != "children" and {file.root for file in self._rule.all_files} & self._roots.held.keys():
            return None
        if not (self._rule.children if name == "children" else self._rule.all_files):
            return Figure.exactly(0)
        values, looked_at = [getattr(spot, name) for spot in spots], sum(spot.rows for spot in spots)
        if looked_at >= rows.value:
            return Figure.exactly(sum(values))
        if not any(values):
            return _none_seen(rows, looked_at, name)
        if len(spots) < _SPOTS / 2:
            seen = max(values)  # two spots may name the same file
            return Figure(value=seen, low=seen, high=None)
        shares = [value / spot.rows for value, spot in zip(values, spots, strict=True)]
        mean = fmean(shares)
        # Spots that are all alike don't prove that all rows are.
        error = max(_LIKELY * stdev(shares) / math.sqrt(len(shares)), _RULE_OF_THREE * mean / looked_at)
        high = rows.high if rows.high is not None else rows.value
        return Figure(
            value=round(mean * rows.value),
            low=round(max(0.0, mean - error) * rows.low),
            high=round((mean + error) * high),
        )


def _key(row: Row[Any]) -> Any:
    """The driver gives bytes as a view, which would be taken for a list of its own."""
    return bytes(row[0]) if isinstance(row[0], memoryview) else row[0]


def _none_seen(rows: Figure, looked_at: int, name: str) -> Figure:
    """Of bytes that none were seen says nothing."""
    if name == "bytes" or not looked_at:
        return Figure(value=0, low=0, high=None)
    most = rows.high if rows.high is not None else rows.value
    return Figure(value=0, low=0, high=math.ceil(_RULE_OF_THREE * most / looked_at))


def _stays(place: Workplace, rule: RowRule, now: datetime, table_rows: int) -> tuple[dict[str, int], bool]:
    """Return reason -> rows that stay: counted, on large tables of PostgreSQL from a sample of about 200,000 rows."""
    cutoff = now - rule.keep
    if table_rows <= EXACT or place.database.dialect == "sqlite":
        return dict(kept_by(place.database, rule, cutoff).rows), True
    conditions = {"no_finish_time": without_time(rule), "absurd_time": absurd(rule, cutoff, "postgresql")}
    if rule.holds:
        conditions["hold"] = held(rule, cutoff, "postgresql")
    share = min(1.0, EXACT / table_rows)
    with place.database.read(deadline_s=_SCAN_S) as connection:
        counts = _sampled(connection, rule, conditions, share)
    return {reason: round(count / share) for reason, count in counts.items() if count}, False


def _sampled(
    connection: Connection, rule: RowRule, conditions: Mapping[str, ColumnElement[bool]], share: float
) -> dict[str, int]:
    part = tablesample(rule.table, func.system(100 * share), name="part")
    into_part = ClauseAdapter(part)
    counts = [func.count().filter(into_part.traverse(c)).label(reason) for reason, c in conditions.items()]
    return dict(connection.execute(select(*counts).select_from(part)).one()._asdict())
