"""Random tables, rules, rows and files, and in plain Python what must be left of them after a clean-up."""

import posixpath
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

NOW = datetime(2026, 3, 10, 4, 0, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
KEEP = {"1h": timedelta(hours=1), "7d": timedelta(days=7), "30d": timedelta(days=30)}
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
ROOTS = ("uploads", "documents")
FALSE = (None, "", "false", "0")
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class TableShape:
    """A table; as a parent it also has the columns of `TIMES` and `HOLDS`."""

    name: str
    keys: str
    """int | text."""
    words: str
    """int | text: what its status column holds."""
    files: dict[str, str]
    parent: str = ""
    is_declared: bool = False
    """The foreign key is known to the database."""


@dataclass(kw_only=True)
class World:
    """What an application has, and the rules of its operator."""

    tables: dict[str, TableShape]
    rules: dict[str, dict[str, Any]]
    rows: dict[str, list[Row]]
    files: set[tuple[str, str]]
    batch_size: int
    keep_deleted: bool


@dataclass(kw_only=True)
class Left:
    """What must be there after a clean-up, and what its report must say."""

    rows: dict[str, list[Row]]
    files: set[tuple[str, str]]
    gone: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Rule and `rows` or `children` -> how many went."""
    missing: int = 0
    refused: int = 0
    referenced: int = 0


def what_is_left(world: World) -> Left:  # the reference
    """Return what one run leaves of the world."""
    left = Left(rows={name: list(rows) for name, rows in world.rows.items()}, files=set(world.files))
    names: list[tuple[str, Any]] = []
    for rule_name, rule in sorted(world.rules.items(), key=lambda item: item[1]["order"]):
        doomed = [row for row in left.rows[rule["table"]] if goes(row, rule)]
        keys = [row["no"] for row in doomed]
        taken = {rule["table"]: doomed} | {
            child["table"]: [row for row in left.rows[child["table"]] if row["parent"] in keys]
            for child in rule["children"]
        }
        for table, rows in taken.items():
            left.rows[table] = [row for row in left.rows[table] if row not in rows]
            left.gone[rule_name, "rows" if table == rule["table"] else "children"] += len(rows)
            files = rule["files"] if table == rule["table"] else files_of(rule, table)
            names += [(root, row[column]) for row in rows for column, root in files.items() if row[column] is not None]
    columns = {
        (table, column, root)
        for rule in world.rules.values()
        for table in (rule["table"], *(child["table"] for child in rule["children"]))
        for column, root in (rule["files"] if table == rule["table"] else files_of(rule, table)).items()
    }
    alive = {
        (root, path)
        for table, column, root in columns
        for row in left.rows[table]
        for path in meanings(root, row[column])
    }
    plain = [(root, below(root, path)) for root, path in names if is_plain(below(root, path))]
    left.refused = len(names) - len(plain) + sum(path == "图" for _, path in plain)
    left.missing = sum(path != "图" and (root, path) not in world.files for root, path in plain)
    condemned = set(plain) & world.files
    left.referenced = len(condemned & alive)
    left.files -= condemned - alive
    return left


def goes(row: Row, rule: dict[str, Any]) -> bool:
    """Tell whether a row has expired."""
    time = row["touched_at"] if rule["fallback"] and row["done_at"] is None else row["done_at"]
    if rule["statuses"] and row["state"] not in rule["statuses"]:
        return False
    if not isinstance(time, datetime) or not EARLIEST <= time < NOW - KEEP[rule["keep"]]:
        return False
    if rule["created"] and (row["made_at"] is None or time < row["made_at"]):
        return False
    return not any(pins(row[hold["column"]], hold) for hold in rule["hold"])


def pins(value: Any, hold: dict[str, Any]) -> bool:
    """Tell whether a hold keeps the row in whose column the value stands."""
    if hold["when"] == "future":
        return value is not None and (isinstance(value, str) or value > NOW)
    if hold["when"] == "in":
        return value in hold["values"]
    return value is not None if hold["when"] == "set" else value not in FALSE


def files_of(rule: dict[str, Any], table: str) -> dict[str, str]:
    """Return the file columns that a rule names for one of its child tables."""
    return next((child["files"] for child in rule["children"] if child["table"] == table), {})


def below(root: str, value: str | bytes) -> str:
    """Return the path below the root that a stored value means."""
    text = value.decode() if isinstance(value, bytes) else value
    return text.removeprefix(f"/app/{root}/")


def meanings(root: str, value: str | bytes | None) -> set[str]:
    """Return the files that a living row keeps with what it says."""
    if value is None:
        return set()
    text = value.decode() if isinstance(value, bytes) else value
    return {posixpath.normpath(below(root, text)), below(root, posixpath.normpath(text))}


def is_plain(path: str) -> bool:
    """Tell whether a path may be followed."""
    return all(part not in {"", ".", ".."} for part in path.split("/"))


FILES = ("图/a.jpg", "图/深/b c.png", "合同.pdf", "-rf", "图/缺.jpg", "没有/缺.jpg")
_PATHS = (
    *FILES,
    *(
        "./图/a.jpg",
        "图//a.jpg",
        "图/x/../a.jpg",
        "图/a.jpg/",
        "图",
        "",
        "../合同.pdf",
        "file:///etc/passwd",
        "s3://桶/a.jpg",
    ),
)
_WORDS = {"text": ("done", "完成", "失败", "运行中", "Done", ""), "int": (1, 2, 3)}
_KEYS = {"text": ("甲", "乙", "a", "A", "a b", "10", "9", "'", "{}", ",", "NULL"), "int": tuple(range(-1, 10))}
_CLOSE = tuple(NOW - age + step * MICROSECOND for age in KEEP.values() for step in (-1, 0, 1))
_TIMES: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(_CLOSE),
    st.sampled_from([NOW - timedelta(days=days) for days in (0, 8, 31, 31, 400)]),
    st.sampled_from([EARLIEST - MICROSECOND, EARLIEST, datetime(1970, 1, 1, tzinfo=UTC), NOW + timedelta(days=9)]),
    st.sampled_from([None, "infinity"]),
)
_LEASES: st.SearchStrategy[Any] = st.sampled_from(
    [None, None, NOW - timedelta(seconds=1), NOW, NOW + timedelta(seconds=1), "infinity"]
)
_HOLDS = (
    {"column": "label", "when": "set", "values": []},
    {"column": "label", "when": "true", "values": []},
    {"column": "label", "when": "in", "values": ["保留", "0"]},
    {"column": "lease_until", "when": "future", "values": []},
)


@st.composite
def worlds(draw: Any, *, blobs: bool) -> World:
    """Draw a world; with `blobs` some paths are stored as bytes."""
    tables = draw(_tables())
    parents = [table for table in tables.values() if not table.parent]
    rules = {f"r{number}": draw(_rule(tables, draw(st.sampled_from(parents)), number)) for number in range(draw(_FEW))}
    rows: dict[str, list[Row]] = {}
    for table in tables.values():
        rows[table.name] = draw(_rows(table, rows.get(table.parent, []), blobs=blobs))
    files = {(root, path) for root in ROOTS for path in draw(st.sets(st.sampled_from(FILES[:4])))}
    batch_size, keep_deleted = draw(st.sampled_from((1, 2, 5, 100))), draw(st.booleans())
    return World(tables=tables, rules=rules, rows=rows, files=files, batch_size=batch_size, keep_deleted=keep_deleted)


_FEW = st.integers(min_value=1, max_value=3)
_FILE_COLUMNS = st.dictionaries(st.sampled_from(("file", "扫描 件")), st.sampled_from(ROOTS))


@st.composite
def _tables(draw: Any) -> dict[str, TableShape]:
    found = []
    for number in range(draw(st.integers(min_value=1, max_value=2))):
        keys, words = draw(st.sampled_from(("int", "text"))), draw(st.sampled_from(("text", "text", "int")))
        found.append(TableShape(name=f"任务{number}", keys=keys, words=words, files=draw(_FILE_COLUMNS)))
        found += [
            TableShape(
                name=f"part_{number}{child}",
                keys=keys,
                words=words,
                files=draw(_FILE_COLUMNS),
                parent=f"任务{number}",
                is_declared=draw(st.booleans()),
            )
            for child in range(draw(st.integers(min_value=0, max_value=3)))
        ]
    return {table.name: table for table in found}


@st.composite
def _rule(draw: Any, tables: dict[str, TableShape], table: TableShape, number: int) -> dict[str, Any]:
    words = draw(st.lists(st.sampled_from(_WORDS[table.words]), unique=True, max_size=3))
    # What the database knows to belong together must go together; the rest is the operator's choice.
    children = [c for c in tables.values() if c.parent == table.name and (c.is_declared or draw(st.booleans()))]
    return {
        "table": table.name,
        "key": "no",
        "finished": "done_at",
        "fallback": draw(st.sampled_from(("", "touched_at"))),
        "created": draw(st.sampled_from(("", "", "made_at"))),
        "status": "state" if words else "",
        "statuses": words,
        "keep": draw(st.sampled_from(sorted(KEEP))),
        "hold": draw(st.lists(st.sampled_from(_HOLDS), max_size=2, unique_by=str)),
        "files": table.files,
        "children": [{"table": c.name, "foreign_key": "parent", "files": c.files} for c in children],
        "order": number,
    }


@st.composite
def _rows(draw: Any, table: TableShape, parents: list[Row], *, blobs: bool) -> list[Row]:
    return [
        draw(_row(table, number, parents, blobs=blobs))
        for number in draw(st.lists(st.integers(min_value=0, max_value=10), unique=True, max_size=7))
    ]


@st.composite
def _row(draw: Any, table: TableShape, number: int, parents: list[Row], *, blobs: bool) -> Row:
    files = {column: draw(_path(root, blobs=blobs)) for column, root in table.files.items()}
    if table.parent:
        keys = [row["no"] for row in parents]
        strange = [] if table.is_declared else list(_KEYS[table.keys][:2])
        return {"no": number, "parent": draw(st.sampled_from([None, *keys, *keys, *strange]))} | files
    times = {column: draw(_TIMES) for column in ("done_at", "touched_at")}
    return {
        "no": _KEYS[table.keys][number],
        "state": draw(st.sampled_from((None, *_WORDS[table.words]))),
        **times,
        "made_at": draw(st.sampled_from((None, EARLIEST, EARLIEST, *_CLOSE[-3:]))),
        "lease_until": draw(_LEASES),
        "label": draw(st.sampled_from((None, None, "", "0", "false", "保留", "x"))),
        **files,
    }


@st.composite
def _path(draw: Any, root: str, *, blobs: bool) -> str | bytes | None:
    path: str | None = draw(st.sampled_from((None, *_PATHS, *FILES, f"/app/{root}/图/a.jpg", f"/app//{root}/合同.pdf")))
    return path.encode() if path is not None and blobs and draw(st.integers(0, 4)) == 0 else path
