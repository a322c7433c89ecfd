"""Rules that do not mean what the tables say: refused before a row goes that nobody meant."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec import structs
from retention_shop import RULE, WITH_CHILDREN, Shop
from sqlalchemy import text

from app.retention import preflight
from app.retention.check import check_rules
from app.retention.plan import plan_rules
from app.retention.rule_settings import GuardSettings
from app.retention.undo import undo

PLAIN = {"key": "id", "finished": "at", "status": "", "statuses": []}


def change(shop: Shop, *statements: str) -> None:
    time = "TIMESTAMPTZ" if shop.lab.database.dialect == "postgresql" else "TEXT"
    with shop.lab.database.write() as connection:
        for statement in statements:
            connection.execute(text(statement.replace("{time}", time)))


def read_all(shop: Shop, query: str) -> list[Any]:
    with shop.lab.database.read() as connection:
        return list(connection.execute(text(query)).scalars())


def refused(shop: Shop) -> set[str]:
    return {r.code for check in check_rules(shop.lab.place()) for r in check.remarks if r.level == "refused"}


def test_a_child_that_would_also_cascade_by_another_key_is_refused(shop: Shop) -> None:
    change(
        shop,
        "CREATE TABLE 转移 (id BIGINT PRIMARY KEY, 从 BIGINT REFERENCES jobs (no), "
        "到 BIGINT REFERENCES jobs (no) ON DELETE CASCADE)",
        f"INSERT INTO 转移 VALUES (1, NULL, {shop.job(1)})",
    )
    shop.rules(old={"children": [{"table": "转移", "foreign_key": "从"}]})
    assert refused(shop) == {"cascade"}
    assert (shop.told()["state"], read_all(shop, "SELECT id FROM 转移")) == ("refused", [1])


def test_a_child_by_two_keys_goes_once_and_is_told_once(shop: Shop) -> None:
    change(
        shop,
        "CREATE TABLE 转移 (id BIGINT PRIMARY KEY, 从 BIGINT REFERENCES jobs (no), 到 BIGINT REFERENCES jobs (no))",
    )
    shop.lab.with_settings(keep_deleted=timedelta(days=1))
    shop.rules(old={"children": [{"table": "转移", "foreign_key": column} for column in ("从", "到")]})
    shop.job(1)
    shop.job(2)
    change(shop, "INSERT INTO 转移 VALUES (1, 1, 2), (2, 1, NULL), (3, NULL, 2), (4, NULL, NULL)")
    (plan,) = plan_rules(shop.lab.place())
    dry, real = shop.told("dry", dry_run=True), shop.told()
    assert plan.children is not None
    assert (plan.children.value, dry["children"], real["children"]) == (3, 3, 3)
    assert (dry["rows"], real["rows"], read_all(shop, "SELECT id FROM 转移")) == (2, 2, [4])
    assert undo(shop.lab.place(), "r1", undo_id="u1").complete


@pytest.mark.parametrize("refers_to", ["orders (code)", "boxes (id)"])
def test_children_that_belong_to_something_else_are_refused(shop: Shop, refers_to: str) -> None:
    change(
        shop,
        "CREATE TABLE orders (id BIGINT PRIMARY KEY, code BIGINT UNIQUE, at {time})",
        "CREATE TABLE boxes (id BIGINT PRIMARY KEY)",
        f"CREATE TABLE 行 (id BIGINT PRIMARY KEY, 属于 BIGINT REFERENCES {refers_to})",
        "INSERT INTO boxes VALUES (1)",
        "INSERT INTO orders VALUES (1, 2, '2020-01-01 00:00:00'), (2, 1, NULL)",
        "INSERT INTO 行 VALUES (7, 1)",
    )
    shop.rules(old={"table": "orders", **PLAIN, "children": [{"table": "行", "foreign_key": "属于"}]})
    assert refused(shop) == {"child_key"}
    shop.told()
    assert read_all(shop, "SELECT id FROM 行") == [7]


@pytest.mark.parametrize("column", ["order_id INTEGER REFERENCES orders", "order_id INTEGER REFERENCES ORDERS (ID)"])
def test_children_that_name_the_key_in_another_way_are_not(shop: Shop, column: str) -> None:
    change(shop, "CREATE TABLE orders (id INTEGER PRIMARY KEY, at {time})", f"CREATE TABLE 行 ({column})")
    shop.rules(old={"table": "orders", **PLAIN, "children": [{"table": "行", "foreign_key": "order_id"}]})
    assert refused(shop) == set()


def test_children_that_share_their_parents_own_reference_are_not(shop: Shop) -> None:
    change(
        shop,
        "CREATE TABLE base (id BIGINT PRIMARY KEY)",
        "CREATE TABLE orders (id BIGINT PRIMARY KEY REFERENCES base (id), at {time})",
        "CREATE TABLE 行 (id BIGINT PRIMARY KEY, b BIGINT REFERENCES base (id))",
    )
    shop.rules(old={"table": "orders", **PLAIN, "children": [{"table": "行", "foreign_key": "b"}]})
    assert refused(shop) == set()


def test_a_table_as_its_own_child_is_refused_by_check_and_plan_too(shop: Shop) -> None:
    shop.rules(old={"children": [{"table": "jobs", "foreign_key": "no"}]})
    assert refused(shop) == {"own_child"}
    assert plan_rules(shop.lab.place())[0].state == "refused"


@pytest.mark.parametrize("odd", [{"statuses": [1, 2]}, {"status": "no", "statuses": ["done"]}])
def test_statuses_of_another_type_are_refused_and_the_other_rules_run(shop: Shop, odd: dict[str, Any]) -> None:
    if shop.lab.database.dialect == "sqlite":
        pytest.skip("SQLite compares values of any kind")
    shop.rules(odd=odd, other={"statuses": ["x"], "order": 200})
    shop.job(1)
    shop.job(2, state="x")
    assert refused(shop) == {"types"}
    assert [plan.state for plan in plan_rules(shop.lab.place())] == ["refused", "go"]
    assert [rule["state"] for rule in shop.lab.document()["rules"]] == ["refused", "done"]
    assert shop.jobs() == {1}


def test_what_the_rule_of_before_can_no_longer_be_asked_ends_no_run(shop: Shop) -> None:
    if shop.lab.database.dialect == "sqlite":
        pytest.skip("SQLite compares values of any kind")
    shop.lab.with_settings(guards=structs.replace(GuardSettings(), whole_table=1, clock_s=10**9))
    shop.rules(old={})
    shop.job(1)
    shop.job(9, days=1)
    assert shop.told()["rows"] == 1
    change(shop, "ALTER TABLE jobs ALTER done_at TYPE text")
    for no in (1, 2):
        shop.job(no, days=None, touched_at=shop.now - timedelta(days=50))
    shop.lab.clock.advance(timedelta(days=1))
    shop.rules(old={"finished": "touched_at"})
    assert shop.told("r2")["state"] == "held"


def test_an_index_that_keeps_no_order_does_not_count(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    if shop.lab.database.dialect == "sqlite":
        pytest.skip("SQLite has one kind of index")
    monkeypatch.setattr(preflight, "SMALL", 0)
    change(shop, "CREATE INDEX i ON jobs USING brin (done_at)")
    shop.rules(old={})
    assert refused(shop) == {"index"}
    change(shop, "CREATE INDEX j ON jobs (done_at)")
    assert refused(shop) == set()


def test_rows_without_a_key_are_refused(shop: Shop) -> None:
    change(shop, "CREATE TABLE 单 (id VARCHAR(9) UNIQUE, at {time})", "INSERT INTO 单 VALUES ('甲', NULL)")
    shop.rules(old={"table": "单", **PLAIN})
    assert refused(shop) == set()
    change(shop, "INSERT INTO 单 VALUES (NULL, '2020-01-01 00:00:00')")
    assert refused(shop) == {"no_key"}


def test_a_table_whose_heirs_hold_more_is_refused(shop: Shop) -> None:
    if shop.lab.database.dialect == "sqlite":
        pytest.skip("SQLite knows no inheritance")
    shop.rules(old={})
    change(shop, "CREATE TABLE 分区 () INHERITS (jobs)")
    assert refused(shop) == set()
    change(shop, "CREATE TABLE 特别 (备注 TEXT) INHERITS (jobs)")
    assert refused(shop) == {"heirs"}


def test_rows_of_one_key_in_two_partitions_go_in_batches_of_their_own(shop: Shop) -> None:
    if shop.lab.database.dialect == "sqlite":
        pytest.skip("SQLite has no partitions")
    change(
        shop,
        "CREATE TABLE 事件 (id BIGINT, at {time}, PRIMARY KEY (id, at)) PARTITION BY RANGE (at)",
        "CREATE TABLE 旧 PARTITION OF 事件 FOR VALUES FROM ('2000-01-01') TO ('2020-01-01')",
        "CREATE TABLE 新 PARTITION OF 事件 DEFAULT",
        "INSERT INTO 事件 VALUES (1, '2019-01-01'), (2, '2019-06-01'), (1, '2021-01-01'), "
        "(3, '2019-01-02'), (3, now())",
    )
    shop.lab.with_settings(batch_size=1)
    shop.rules(old={"table": "事件", **PLAIN})
    told = shop.told()
    assert (told["state"], told["rows"], read_all(shop, "SELECT id FROM 事件")) == ("done", 4, [3])


def test_a_table_of_the_application_under_another_name_is_refused(shop: Shop) -> None:
    """Else its rows would go before the statistics counted them."""
    schema = "public" if shop.lab.database.dialect == "postgresql" else "main"
    key = shop.lab.task()
    shop.rules(old={"table": f"{schema}.tasks", "key": "id", "finished": "completed_at", "status": "", "statuses": []})
    assert refused(shop) == {"other_name"}
    assert shop.told()["state"] == "refused"
    assert shop.lab.tasks() == {key}


def test_a_cascade_is_named_in_the_settings_as_people_write_it(shop: Shop) -> None:
    change(shop, "CREATE TABLE 评价 (id BIGINT PRIMARY KEY, o BIGINT UNIQUE REFERENCES jobs (no) ON DELETE CASCADE)")
    shop.rules(old={})
    assert refused(shop) == {"cascade"}
    shop.lab.with_settings(cascades=["评价"])
    assert refused(shop) == set()


def test_keys_that_are_bytes_are_planned_and_deleted_over_many_batches(shop: Shop) -> None:
    kind, key = ("BYTEA", "'\\x{}'") if shop.lab.database.dialect == "postgresql" else ("BLOB", "x'{}'")
    change(shop, f"CREATE TABLE 单 (id {kind} PRIMARY KEY, at {{time}})", f"CREATE TABLE 行 (o {kind} REFERENCES 单)")
    for number, name in enumerate(("00ff", "01", "02ff")):
        change(shop, f"INSERT INTO 单 VALUES ({key.format(name)}, '2020-01-0{number + 1} 00:00:00')")
    change(shop, f"INSERT INTO 行 VALUES ({key.format('01')})")
    shop.lab.with_settings(batch_size=1)
    shop.rules(old={"table": "单", **PLAIN, "children": [{"table": "行", "foreign_key": "o"}]})
    (plan,) = plan_rules(shop.lab.place())
    told = shop.told()
    assert plan.children is not None
    assert (plan.children.value, told["rows"], told["children"]) == (1, 3, 1)


@pytest.mark.parametrize("kind", ["REAL", "NUMERIC(5, 2)", "INTEGER", "TEXT"])
def test_a_value_that_pins_a_row_does_so_however_the_column_writes_it(shop: Shop, kind: str) -> None:
    change(shop, f"ALTER TABLE jobs ADD COLUMN 级别 {kind}")
    shop.rules(old={"hold": [{"column": "级别", "when": "in", "values": [1]}]})
    for no in (1, 10, 11):
        shop.job(no)
        change(shop, f"UPDATE jobs SET 级别 = {no} WHERE no = {no}")
    shop.told()
    assert shop.jobs() == {1}


def test_an_enumeration_without_each_word_we_know_ends_no_run(lab: Any) -> None:
    if lab.database.dialect == "sqlite":
        pytest.skip("SQLite has no enumerations")
    lab.task()
    kept = lab.task("pending")
    with lab.database.write() as connection:
        connection.execute(text("CREATE TYPE 状态 AS ENUM ('pending', 'completed', 'failed')"))
        connection.execute(text("ALTER TABLE tasks ALTER status DROP DEFAULT"))
        connection.execute(text("ALTER TABLE tasks ALTER status TYPE 状态 USING status::状态"))
    told = lab.document()
    assert (told["tasks_cleaned"], told["errors"], lab.tasks()) == (1, [], {kept})


def test_rules_that_mean_the_same_rows_count_each_once_in_a_dry_run(shop: Shop) -> None:
    shop.rules(first={"order": 1}, all={"order": 2, **RULE, "status": "", "statuses": [], **WITH_CHILDREN})
    shop.job(1)
    shop.child("parts", shop.job(2, state="x"))
    dry, real = (
        [(rule["rows"], rule["children"]) for rule in shop.lab.document(run, dry_run=run == "dry")["rules"]]
        for run in ("dry", "real")
    )
    assert dry == real == [(1, 0), (1, 1)]


@pytest.mark.parametrize(
    "settings", [{}, {"keep_deleted": timedelta(days=1)}, {"file_grace": timedelta(days=1)}, {"lost_table": True}]
)
def test_a_dry_run_tells_the_same_fate_of_files(shop: Shop, settings: dict[str, Any]) -> None:
    lost = {"gone": {"table": "weg", "files": {"file": "uploads"}, "order": 200}} if "lost_table" in settings else {}
    shop.lab.with_settings(**({} if lost else settings))
    shop.rules(old={"files": {"file": "uploads"}}, **lost)
    shop.job(1, file=shop.lab.file("uploads", "图.jpg"))
    dry, real = shop.lab.document("dry", dry_run=True), shop.lab.document("real")
    for key in ("files_cleaned", "bytes_freed", "files_set_aside", "pending_files"):
        assert dry[key] == real[key], key
