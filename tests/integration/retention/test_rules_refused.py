"""Rows that the database keeps, and rules over what is not there; every test runs on both databases."""

from typing import Any

import pytest
from retention_shop import WITH_CHILDREN, Shop
from sqlalchemy import text


def test_a_trigger_that_keeps_rows_ends_its_rule_and_no_other(shop: Shop) -> None:
    shop.rules(old={"order": 1, **WITH_CHILDREN}, other={"table": "notes", "key": "id", **_ANY, "order": 2})
    part = shop.child("parts", shop.job(1))
    with shop.lab.database.write() as connection:
        for statement in _keeping(shop.lab.database.dialect):
            connection.execute(text(statement))
        connection.execute(text("INSERT INTO notes (id, at) VALUES (1, '2026-01-01 00:00:00')"))
    document = shop.lab.document()
    assert [rule["state"] for rule in document["rules"]] == ["partial", "done"]
    assert "does a trigger hold them?" in document["errors"][0]
    assert (shop.jobs(), shop.ids("parts"), shop.ids("notes")) == ({1}, {part}, set())


_ANY = {"finished": "at", "status": "", "statuses": []}


def _keeping(dialect: str) -> list[str]:
    if dialect == "sqlite":
        return [
            "CREATE TRIGGER hold BEFORE DELETE ON jobs BEGIN SELECT RAISE(IGNORE); END",
            "ALTER TABLE notes ADD COLUMN at TEXT",
        ]
    return [
        "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER hold BEFORE DELETE ON jobs FOR EACH ROW EXECUTE FUNCTION hold()",
        "ALTER TABLE notes ADD COLUMN at timestamptz",
    ]


def test_rows_that_another_table_refers_to_fail_by_the_constraints_name_and_others_go_on(shop: Shop) -> None:
    shop.rules(old={"order": 1, **WITH_CHILDREN}, other={"statuses": ["x"], "order": 2})
    lab = shop.lab
    lab.with_settings(slow=True)
    part = shop.child("parts", shop.job(1))
    shop.job(2, state="x")
    with lab.database.write() as connection:
        connection.execute(
            text("CREATE TABLE 附件 (part_id BIGINT, CONSTRAINT 引用 FOREIGN KEY (part_id) REFERENCES parts)")
        )
        connection.execute(text(f"INSERT INTO 附件 VALUES ({part})"))
    document = lab.document()
    states = [rule["state"] for rule in document["rules"]]
    assert states[0] in {"failed", "refused"}
    assert states[1] == "done"
    assert "附件" in document["errors"][0]
    assert (shop.jobs(), shop.ids("parts")) == ({1}, {part})


def test_a_table_that_refers_to_itself_is_told_so(shop: Shop) -> None:
    lab = shop.lab
    with lab.database.write() as connection:
        kind = "TEXT" if lab.database.dialect == "sqlite" else "timestamptz"
        connection.execute(
            text(f"CREATE TABLE tree (id BIGINT PRIMARY KEY, at {kind}, above BIGINT REFERENCES tree (id))")
        )
        connection.execute(text("CREATE INDEX tree_above ON tree (above)"))
        connection.execute(text("INSERT INTO tree VALUES (1, '2026-01-01 00:00:00', NULL), (2, NULL, 1)"))
    shop.rules(old={"table": "tree", "key": "id", **_ANY})
    told = shop.told()
    assert told["state"] in {"failed", "refused"}
    assert "tree" in told["reasons"][0]
    with lab.database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM tree")).scalar_one() == 2


def test_a_table_as_its_own_child_is_refused(shop: Shop) -> None:
    shop.rules(old={"children": [{"table": "jobs", "foreign_key": "label"}]})
    shop.job(1)
    told = shop.told()
    assert told["state"] == "refused"
    assert shop.jobs() == {1}


@pytest.mark.parametrize(
    "wrong",
    [
        {"table": "没有"},
        {"finished": "finished"},
        {"status": "status"},
        {"hold": [{"column": "Pinned"}]},
        {"children": [{"table": "weg", "foreign_key": "x"}]},
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_rule_over_what_is_not_there_is_refused_and_others_go_on(
    shop: Shop,
    wrong: dict[str, Any],
    dry_run: bool,  # noqa: FBT001 - a case of the table
) -> None:
    shop.rules(wrong={"order": 1, **wrong}, right={"order": 2, "statuses": ["x"]})
    kept = shop.job(1)
    shop.job(2, state="x")
    result = shop.lab.run(dry_run=dry_run)
    assert [(rule["state"], rule["rows"]) for rule in result.document["rules"]] == [("refused", 0), ("done", 1)]
    assert (result.state, result.success) == ("refused", False)
    assert kept in shop.jobs()


def test_without_the_default_rules_their_tables_need_not_be_there(shop: Shop) -> None:
    with shop.lab.database.write() as connection:
        connection.execute(text("DROP TABLE delivery_receipts"))
        connection.execute(text("DROP TABLE tasks"))
    shop.rules(old={"files": {"file": "uploads"}})
    shop.job(1, file=shop.lab.file("uploads", "a.jpg"))
    document = shop.lab.document()
    assert (document["state"], document["files_cleaned"], document["errors"]) == ("done", 1, [])
