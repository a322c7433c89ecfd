"""On random tables, rules and rows the clean-up does what a plain model says, and nothing a second time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from retention_model import NOW, ROOTS, Row, TableShape, World, what_is_left, worlds
from sqlalchemy import BigInteger, Column, DateTime, ForeignKey, MetaData, Table, Text, delete, insert, select

from app.core.own_tables import archived_row, file_outbox, rule_run, service_state
from app.core.safe_files.paths import TRASH
from app.core.settings_reader import read
from app.core.utc_datetime import to_sqlite_text
from app.retention.rule_settings import RowRuleSettings
from app.retention.settings import RootSettings
from app.retention.undo import undo

_KINDS = {"int": BigInteger, "text": Text}
_EXAMPLES = {"sqlite": 20, "postgresql": 12}
_FORETOLD = (
    *("files_cleaned", "bytes_freed", "files_set_aside", "files_kept_referenced", "files_missing", "refused_paths"),
    *("tasks_cleaned", "receipts_cleaned"),
)
_TIMES_MORE = 20 if os.environ.get("TEST_FULL") else 1


@pytest.fixture
def house(lab: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The lab at the instant of the model, its roots with aliases."""
    monkeypatch.setattr("app.retention.cleanup.frozen_now", lambda _: NOW)
    monkeypatch.setattr("app.retention.rows._SQLITE_PAUSE_S", 0.0)
    aliases = {name: RootSettings(path=lab.folders[name], aliases=[f"/app/{name}"]) for name in ROOTS}
    lab.with_settings(default_rules=False, roots={**lab.settings.roots, **aliases})
    return lab


@pytest.mark.timeout(3600 if _TIMES_MORE > 1 else 240)
def test_any_world_is_left_as_the_model_says_and_undone_it_is_as_before(house: Any) -> None:
    dialect = house.database.dialect

    # The house is emptied after each example.
    @settings(
        max_examples=_TIMES_MORE * _EXAMPLES[dialect], deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    @given(world=worlds(blobs=dialect == "sqlite"))
    def check(world: World) -> None:
        with furnished(house, world) as metadata:
            _check(house, metadata, world)

    check()


def _check(house: Any, metadata: MetaData, world: World) -> None:
    left = what_is_left(world)
    dry = house.document("dry", dry_run=True)
    assert (rows_of(house, metadata), files_of(house)) == (keyed(world.rows), world.files)
    told = house.document("r1")
    assert told["errors"] == []
    _assert_foretold(dry, told)
    assert rows_of(house, metadata) == keyed(left.rows)
    assert files_of(house) == left.files
    for rule in told["rules"]:
        for what in ("rows", "children"):
            assert rule[what] == left.gone[rule["name"], what], (rule["name"], what)
    went = len(world.files - left.files)
    counts = {"files_set_aside": went, "files_cleaned": 0} if world.keep_deleted else {"files_cleaned": went}
    counts |= {"files_kept_referenced": left.referenced, "files_missing": left.missing, "pending_files": 0}
    assert {key: told[key] for key in counts} == counts
    assert sum(told["refused_paths"].values()) == left.refused

    again = house.document("r2")
    assert (rows_of(house, metadata), files_of(house)) == (keyed(left.rows), left.files)
    keys = ("files_cleaned", "bytes_freed", "files_set_aside", "files_missing", "batches")
    assert {key: again[key] for key in keys} == dict.fromkeys(keys, 0)
    if world.keep_deleted and any(left.gone.values()):
        done = undo(house.place(), "r1", undo_id="u1")
        assert done.complete, done
        assert (rows_of(house, metadata), files_of(house)) == (keyed(world.rows), world.files)


@pytest.mark.timeout(3600 if _TIMES_MORE > 1 else 240)
def test_a_dry_run_foretells_a_run_whose_rules_may_delete_so_many_rows(house: Any) -> None:
    dialect = house.database.dialect

    @settings(
        max_examples=_TIMES_MORE * _EXAMPLES[dialect] // 2, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    @given(world=worlds(blobs=dialect == "sqlite"), most=st.integers(min_value=1, max_value=4))
    def check(world: World, most: int) -> None:
        for rule in world.rules.values():
            rule["max_rows"] = most
        with furnished(house, world):
            dry = house.document("dry", dry_run=True)
            _assert_foretold(dry, house.document("r1"))

    check()


def _assert_foretold(dry: dict[str, Any], told: dict[str, Any]) -> None:
    assert {key: dry[key] for key in _FORETOLD} == {key: told[key] for key in _FORETOLD}
    assert [_of_rule(rule) for rule in dry["rules"]] == [_of_rule(rule) for rule in told["rules"]]


def _of_rule(told: dict[str, Any]) -> dict[str, Any]:
    return {key: told[key] for key in ("name", "rows", "children")}


@contextmanager
def furnished(house: Any, world: World) -> Iterator[MetaData]:
    """Make the tables and files of a world, and leave an empty house behind."""
    metadata = MetaData()
    for shape in world.tables.values():
        _table(metadata, shape, house.database.dialect)
    rules = {name: read(RowRuleSettings, rule) for name, rule in world.rules.items()}
    house.with_settings(
        rules=rules, batch_size=world.batch_size, keep_deleted=timedelta(hours=12 if world.keep_deleted else 0)
    )
    for root in ROOTS:
        (house.folders[root] / "图").mkdir(exist_ok=True)
    for root, path in sorted(world.files):
        house.file(root, path, f"{root}/{path}".encode() * 500)
    try:
        with house.database.write() as connection:
            metadata.create_all(connection)
            for name, rows in world.rows.items():
                if rows:
                    connection.execute(insert(metadata.tables[name]), [_stored(row, house) for row in rows])
        yield metadata
    finally:
        with house.database.write() as connection:
            metadata.drop_all(connection)
            for table in (file_outbox, rule_run, archived_row):
                connection.execute(delete(table))
            connection.execute(delete(service_state).where(service_state.c.key.startswith("retention:")))
        for root, path in house.on_disk():
            (house.folders[root] / path).unlink()


def _table(metadata: MetaData, shape: TableShape, dialect: str) -> None:
    # On SQLite times are text, so that text which is no time can stand there, too.
    time: Any = Text if dialect == "sqlite" else DateTime(timezone=True)
    files = [Column(name, Text) for name in shape.files]
    if shape.parent:
        declared = [ForeignKey(f"{shape.parent}.no")] if shape.is_declared else []
        parent = Column("parent", _KINDS[shape.keys], *declared, index=True)
        Table(shape.name, metadata, Column("no", BigInteger, primary_key=True), parent, *files)
        return
    times = [Column(name, time) for name in ("done_at", "touched_at", "made_at", "lease_until")]
    state, label = Column("state", _KINDS[shape.words]), Column("label", Text)
    Table(shape.name, metadata, Column("no", _KINDS[shape.keys], primary_key=True), state, label, *times, *files)


def _stored(row: Row, house: Any) -> Row:
    if house.database.dialect != "sqlite":
        return row
    return {key: to_sqlite_text(value) if isinstance(value, datetime) else value for key, value in row.items()}


def rows_of(house: Any, metadata: MetaData) -> dict[str, dict[Any, Row]]:
    """Return table -> key -> what stands there of the columns that are no times."""
    with house.database.read() as connection:
        return {
            name: {
                row.no: {key: value for key, value in row._asdict().items() if not key.endswith(("_at", "_until"))}
                for row in connection.execute(select(table))
            }
            for name, table in metadata.tables.items()
        }


def keyed(rows: dict[str, list[Row]]) -> dict[str, dict[Any, Row]]:
    """Return the same of a model's rows."""
    return {
        name: {row["no"]: {k: v for k, v in row.items() if not k.endswith(("_at", "_until"))} for row in of_table}
        for name, of_table in rows.items()
    }


def files_of(house: Any) -> set[tuple[str, str]]:
    """Return root and path of the files in their places."""
    return {(root, path) for root, path in house.on_disk() if not path.startswith(TRASH)}


def test_the_model_meets_every_reason_to_stay_and_to_go() -> None:
    """Else the comparison above would prove little."""
    seen: set[str] = set()

    @settings(max_examples=150, deadline=None, database=None, derandomize=True)
    @given(world=worlds(blobs=True))
    def look(world: World) -> None:
        left = what_is_left(world)
        seen.update(what for (_, what), count in left.gone.items() if count)
        seen.update(what for what in ("missing", "refused", "referenced") if getattr(left, what))
        if left.files != world.files:
            seen.add("files")

    look()
    assert seen == {"rows", "children", "missing", "refused", "referenced", "files"}
