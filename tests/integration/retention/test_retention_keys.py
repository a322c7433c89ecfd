"""Keys and finish times of applications that are not like ours."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Column, MetaData, String, Table, Text, cast, column, func, insert, select, text
from sqlalchemy.types import NullType

from app.core.database import Database
from app.retention.batches_postgresql import among_keys
from app.retention.batches_sqlite import Keys, keys_among

HOSTILE = ("plain", "with space", 'quo"te', "back\\slash", "{a,b}", "", "NULL", "逗,号", "o'clock", '\\"', "%s %(x)s")
KEYS = Table("keys", MetaData(), Column("id", String(40), primary_key=True))


@pytest.fixture
def keyed(database: Database) -> Database:
    with database.write() as connection:
        KEYS.metadata.create_all(connection)
        connection.execute(insert(KEYS), [{"id": key} for key in (*HOSTILE, "a", "b", "null")])
    return database


@pytest.mark.parametrize("kind", ["character varying", "a type that nobody knows"])
@pytest.mark.parametrize("chosen", [HOSTILE, *((key,) for key in HOSTILE)])
def test_text_keys_mean_exactly_themselves(keyed: Database, chosen: tuple[str, ...], kind: str) -> None:
    with keyed.read() as connection:
        if keyed.dialect == "sqlite":
            keys = Keys.of(chosen)
            statement = select(KEYS.c.id).where(keys_among(KEYS.c.id, is_packed=keys.is_packed))
            found = connection.execute(statement, {"gengfu_keys": keys.value}).scalars()
        else:
            packed = select(cast(func.array_agg(KEYS.c.id), Text)).where(KEYS.c.id.in_(chosen))
            keys = connection.execute(packed).scalar_one()
            statement = select(KEYS.c.id).where(among_keys(KEYS.c.id, kind))
            found = connection.execute(statement, {"gengfu_keys": keys}).scalars()
        assert set(found) == set(chosen)


@pytest.mark.parametrize("key", [b"\x00\xff", 1.5, "a\0b", -(2**63)])
def test_keys_of_other_kinds_mean_themselves_on_sqlite(database: Database, key: object) -> None:
    if database.dialect != "sqlite":
        pytest.skip("PostgreSQL packs its keys itself")
    with database.write() as connection:
        connection.execute(text("CREATE TABLE keys (id BLOB)"))
        connection.execute(text("INSERT INTO keys VALUES (:key), (7)"), {"key": key})
        plain = column("id", NullType())
        keys = Keys.of([key])
        statement = select(plain).select_from(KEYS).where(keys_among(plain, is_packed=keys.is_packed))
        found = connection.execute(statement, {"gengfu_keys": keys.value}).scalars()
        assert list(found) == [key]


@pytest.mark.parametrize("kind", ["uuid", "text", "smallint", "numeric"])
def test_tasks_with_other_kinds_of_keys_are_deleted_with_their_receipts(lab: Any, kind: str) -> None:
    if lab.database.dialect != "postgresql":
        pytest.skip("SQLite has no types of columns")
    lab.with_settings(batch_size=2)
    gone = [lab.task(days=40 + number) for number in range(5)]
    young = lab.task(days=1)
    for task in (*gone, young):
        lab.receipt(task)
    with lab.database.write() as connection:
        using = "lpad({}::text, 32, '0')::uuid" if kind == "uuid" else f"{{}}::{kind}"
        connection.execute(text("ALTER TABLE delivery_receipts DROP CONSTRAINT delivery_receipts_task_id_fkey"))
        for table, column in (("tasks", "id"), ("delivery_receipts", "task_id")):
            connection.execute(text(f"ALTER TABLE {table} ALTER {column} DROP DEFAULT"))
            connection.execute(text(f"ALTER TABLE {table} ALTER {column} TYPE {kind} USING {using.format(column)}"))
    told = lab.document()
    assert (told["tasks_cleaned"], told["receipts_cleaned"], told["errors"]) == (5, 5, [])
    with lab.database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM tasks")).scalar_one() == 1
        assert connection.execute(text("SELECT count(*) FROM delivery_receipts")).scalar_one() == 1


def test_finish_times_without_a_zone_are_read_as_utc_and_all_batches_go(lab: Any) -> None:
    if lab.database.dialect != "postgresql":
        pytest.skip("SQLite keeps text")
    lab.with_settings(batch_size=2)
    finished = lab.now - timedelta(days=40)
    for number in range(5):
        lab.task(days=None, completed_at=finished + timedelta(microseconds=number // 2), created_at=finished)
    young = lab.task(days=1)
    with lab.database.write() as connection:
        connection.execute(
            text("ALTER TABLE tasks ALTER completed_at TYPE timestamp USING completed_at AT TIME ZONE 'UTC'")
        )
    assert lab.document()["tasks_cleaned"] == 5
    assert lab.tasks() == {young}
