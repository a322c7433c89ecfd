"""JSON's null and NULL are two things: each comes back as what it was."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from app.core.own_tables import archived_row
from app.core.settings_reader import read
from app.retention.json_nulls import JsonColumns, json_columns
from app.retention.rule_settings import ChildSettings, RowRuleSettings
from app.retention.rules import bare_table
from app.retention.undo import undo

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

TABLES = """
    CREATE DOMAIN 文档 AS jsonb;
    CREATE TYPE 对 AS (左 jsonb, 右 int);
    CREATE TABLE "订 单:1" (id BIGINT PRIMARY KEY, 完成 TIMESTAMPTZ, ja JSON, jb JSONB NOT NULL, "列'名:x" 文档,
        组 JSONB[], 双 对, 名 TEXT, 生 JSONB GENERATED ALWAYS AS (jb) STORED);
    CREATE INDEX i1 ON "订 单:1" (完成);
    CREATE TABLE 明细 (id BIGINT PRIMARY KEY, o BIGINT REFERENCES "订 单:1" (id), jb JSONB);
    CREATE INDEX i2 ON 明细 (o);
    INSERT INTO "订 单:1" (id, 完成, ja, jb, "列'名:x", 组, 双, 名) VALUES
        (1, now() - interval '40 days', 'null', 'null', 'null', ARRAY['null'::jsonb, NULL], ROW('null', 1), 'null'),
        (2, now() - interval '41 days', NULL, '{"a": null}', NULL, NULL, NULL, NULL),
        (3, now() - interval '42 days', E' \\n null\\t', '"null"', '[null]', '{}', ROW(NULL, NULL), ''),
        (4, now() - interval '43 days', '{"":  null, "a": 1.50}', '0', '{}', ARRAY[ARRAY['1'::jsonb, 'null']],
         ROW('{"": 1}', 2), '{"":{"ja":"1"}}');
    INSERT INTO 明细 VALUES (1, 1, 'null'), (2, 1, NULL), (3, 2, 'null'), (4, NULL, 'null')"""


@pytest.fixture
def shop(lab: Any) -> Any:
    with lab.database.write() as connection:
        for statement in TABLES.split(";\n"):
            connection.exec_driver_sql(statement)
    child = ChildSettings(table="明细", foreign_key="o")
    own = read(RowRuleSettings, {"table": "订 单:1", "finished": "完成", "keep": "30d", "children": [child]})
    lab.with_settings(rules={"订单": own}, keep_deleted=timedelta(days=1))
    return lab


def dump(lab: Any) -> list[list[str]]:
    with lab.database.read() as connection:
        return [
            list(connection.execute(text(f"SELECT t::text FROM {name} AS t ORDER BY id")).scalars())
            for name in ('"订 单:1"', "明细")
        ]


def undone(lab: Any) -> tuple[bool, dict[str, int]]:
    done = undo(lab.place(), "r1", undo_id="u1")
    return done.complete, dict(done.rows)


def test_every_null_comes_back_as_what_it_was(shop: Any) -> None:
    before = dump(shop)
    assert shop.document()["errors"] == []
    assert [len(rows) for rows in dump(shop)] == [0, 1]
    assert undone(shop) == (True, {"订 单:1": 4, "明细": 3})
    assert dump(shop) == before


def test_rows_come_back_one_by_one_beside_one_whose_key_is_taken(shop: Any) -> None:
    before = dump(shop)
    shop.document()
    with shop.database.write() as connection:
        connection.exec_driver_sql("""INSERT INTO "订 单:1" (id, jb) VALUES (2, '"新的"')""")
    assert undone(shop) == (False, {"订 单:1": 3, "明细": 3})
    after = dump(shop)
    assert [row for row in after[0] if row not in before[0]] == [row for row in after[0] if "新的" in row]
    assert len(after[0]) == 4
    assert after[1] == before[1]


def test_an_archive_without_marks_comes_back_as_ever(shop: Any) -> None:
    """Rows that were archived before there were marks: a NULL where either stood."""
    shop.document()
    with shop.database.write() as connection:
        rows = '[{"id":9,"完成":null,"ja":null,"jb":{"a":1},"列\'名:x":null,"组":null,"名":"旧","生":{"a":1}}]'
        connection.execute(
            archived_row.update().where(archived_row.c.table_name == "订 单:1").values(rows=rows, row_count=1)
        )
        connection.execute(archived_row.delete().where(archived_row.c.table_name == "明细"))
    assert undone(shop)[1] == {"订 单:1": 1}
    assert dump(shop)[0] == ['(9,,,"{""a"": 1}",,,,旧,"{""a"": 1}")']


def test_the_columns_in_which_a_json_null_may_stand_are_found(shop: Any) -> None:
    with shop.database.read() as connection:
        found = json_columns(connection, bare_table("订 单:1", set(), set()))
        assert found == JsonColumns(plain=("ja", "jb", "列'名:x"), nested=("双", "组"))
        assert json_columns(connection, bare_table("tasks", set(), set())) == JsonColumns()
