"""What the live catalogue must show before a rule may delete."""

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import text

from app.core.database import Database
from app.core.settings_reader import read
from app.retention import preflight
from app.retention.guards import judge
from app.retention.preflight import Remark, fingerprint, look, remarks
from app.retention.rule_settings import ChildSettings, HoldSettings, RowRuleSettings
from app.retention.rules import RowRule, row_rules
from app.retention.status import retention_status

GOOD = """
    CREATE TABLE 订单 (编号 BIGINT PRIMARY KEY, 状态 VARCHAR(20), 完成 {time}, 附件 TEXT);
    CREATE INDEX i_done ON 订单 (状态, 完成);
    CREATE TABLE 明细 (id BIGINT PRIMARY KEY, 订单编号 BIGINT REFERENCES 订单 (编号), 图片 TEXT);
    CREATE INDEX i_child ON 明细 (订单编号)"""
CHILD = ChildSettings(table="明细", foreign_key="订单编号", files={"图片": "uploads"})


def create(lab: Any, statements: str) -> None:
    time = "TIMESTAMPTZ" if lab.database.dialect == "postgresql" else "TEXT"
    with lab.database.write() as connection:
        for statement in statements.replace("{time}", time).split(";"):
            connection.execute(text(statement))


def order_rule(lab: Any, **changes: Any) -> RowRule:
    values: dict[str, Any] = {
        "table": "订单",
        "key": "编号",
        "finished": "完成",
        "status": "状态",
        "statuses": "已完成",
        "keep": "30d",
        "files": {"附件": "uploads"},
        "children": [CHILD],
    }
    lab.with_settings(rules={"订单": read(RowRuleSettings, values | changes)})
    place = lab.place()
    return next(rule for rule in row_rules(place.source, place.settings, place.folders) if rule.name == "订单")


def found(lab: Any, rule: RowRule) -> tuple[Remark, ...]:
    with lab.database.read() as connection:
        told = remarks(rule, look(connection, rule), lab.settings, connection.dialect.name)
    # The tables here are empty: nothing to analyse, even where they count as large.
    return tuple(remark for remark in told if remark.code != "never_analysed")


def coded(told: Sequence[Remark]) -> list[tuple[str, str]]:
    return [(remark.level, remark.code) for remark in told]


@pytest.fixture
def nothing_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every table counts as large."""
    monkeypatch.setattr(preflight, "SMALL", 0)


def test_tables_as_a_rule_needs_them_are_not_remarked_on(lab: Any, nothing_small: None) -> None:  # noqa: ARG001
    create(lab, GOOD)
    assert found(lab, order_rule(lab)) == ()


def test_the_default_rules_fit_the_sample_application(lab: Any, nothing_small: None) -> None:  # noqa: ARG001
    place = lab.place()
    for rule in row_rules(place.source, place.settings, place.folders):
        assert found(lab, rule) == ()


def test_a_missing_table_is_refused_by_name(lab: Any) -> None:
    (remark,) = found(lab, order_rule(lab, children=[]))
    assert (remark.level, remark.text) == ("refused", "table 订单 is not in the database")


def test_a_missing_table_is_refused_with_the_nearest_one(lab: Any) -> None:
    create(lab, GOOD)
    told = found(lab, order_rule(lab, table="订单们", children=[ChildSettings(table="明细项", foreign_key="订单编号")]))
    assert [remark.text for remark in told] == [
        'table 订单们 is not in the database (did you mean "订单"?)',
        'table 明细项 is not in the database (did you mean "明细"?)',
    ]


def test_a_table_of_another_schema_is_named_with_it(lab: Any) -> None:
    if lab.database.dialect != "postgresql":
        pytest.skip("SQLite has one schema")
    create(lab, "CREATE SCHEMA 店; CREATE TABLE 店.invoices (id BIGINT PRIMARY KEY)")
    (remark,) = found(lab, order_rule(lab, table="invoices", children=[]))
    assert remark.text == 'table invoices is not in the database (did you mean "店.invoices"?)'


def test_a_run_and_the_status_send_to_the_check_of_rules(lab: Any) -> None:
    order_rule(lab, children=[])
    lab.with_settings(default_rules=False)
    place = lab.place()
    (ran,) = lab.document()["rules"]
    (refused,) = retention_status(lab.database, place.source, place.settings, place.folders)["refused"].values()
    assert ran["state"] == "refused"
    for told in (*ran["reasons"], refused):
        assert "订单" in told
        assert "`gengfu retention check`" in told
        assert "db check" not in told


def test_a_missing_column_is_refused_with_the_nearest_one(lab: Any) -> None:
    create(lab, GOOD)
    told = found(lab, order_rule(lab, finished="完成了", hold=[HoldSettings(column="保留")]))
    assert [remark.text for remark in told] == [
        "table 订单 has no column '保留'",
        "table 订单 has no column '完成了' (did you mean \"完成\"?)",
    ]


def test_a_view_is_refused(lab: Any) -> None:
    create(lab, GOOD)
    create(lab, "CREATE VIEW 视图 AS SELECT * FROM 订单")
    told = found(lab, order_rule(lab, table="视图", children=[]))
    assert coded(told) == [("refused", "kind")]
    assert "is a view" in told[0].text


def test_a_missing_child_index_is_refused_with_the_statement_that_mends_it(lab: Any, nothing_small: None) -> None:  # noqa: ARG001
    create(lab, GOOD)
    create(lab, "DROP INDEX i_child")
    rule = order_rule(lab)
    (remark,) = found(lab, rule)
    assert (remark.level, remark.code) == ("refused", "index")
    mend(lab.database, remark)
    assert found(lab, rule) == ()


def mend(database: Database, remark: Remark) -> None:
    assert remark.mend is not None
    assert ("CONCURRENTLY" in remark.mend) is (database.dialect == "postgresql")
    if database.dialect == "sqlite":
        with database.write() as connection:
            connection.execute(text(remark.mend))
        return
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(remark.mend))


def test_a_missing_finish_index_is_refused_with_the_statement_that_mends_it(lab: Any, nothing_small: None) -> None:  # noqa: ARG001
    create(lab, GOOD)
    create(lab, "DROP INDEX i_done; CREATE INDEX i_status ON 订单 (状态)")
    rule = order_rule(lab)
    (remark,) = found(lab, rule)
    assert (remark.level, remark.code) == ("refused", "index")
    mend(lab.database, remark)
    assert found(lab, rule) == ()


def test_an_index_over_a_part_of_the_rows_does_not_count(lab: Any, nothing_small: None) -> None:  # noqa: ARG001
    create(lab, GOOD)
    create(lab, "DROP INDEX i_done; CREATE INDEX i_done ON 订单 (状态, 完成) WHERE 状态 = '新建'")
    assert coded(found(lab, order_rule(lab))) == [("refused", "index")]


def test_small_tables_do_without_indexes(lab: Any) -> None:
    create(lab, GOOD)
    create(lab, "DROP INDEX i_done; DROP INDEX i_child")
    assert coded(found(lab, order_rule(lab))) == [("warning", "index"), ("warning", "index")]


def test_slow_lets_a_missing_index_pass(lab: Any, nothing_small: None) -> None:  # noqa: ARG001
    create(lab, GOOD)
    create(lab, "DROP INDEX i_child")
    rule = order_rule(lab)
    lab.with_settings(slow=True)
    assert coded(found(lab, rule)) == [("warning", "index")]


def test_a_key_that_is_not_unique_is_refused(lab: Any) -> None:
    create(lab, GOOD.replace("编号 BIGINT PRIMARY KEY", "编号 BIGINT UNIQUE, 批号 BIGINT", 1))
    assert found(lab, order_rule(lab)) == ()
    told = found(lab, order_rule(lab, key="批号"))
    assert coded(told) == [("refused", "key"), ("refused", "child_key")]


@pytest.mark.parametrize(
    ("on_delete", "levels"),
    [
        ("", ["warning"]),
        ("ON DELETE RESTRICT", ["warning"]),
        ("ON DELETE SET NULL", ["warning"]),
        ("ON DELETE CASCADE", ["refused"]),
    ],
)
def test_a_table_that_refers_to_the_rows_unknown_to_the_rule_is_told(
    lab: Any, on_delete: str, levels: list[str]
) -> None:
    create(lab, GOOD)
    create(lab, f"CREATE TABLE 评价 (id BIGINT PRIMARY KEY, o BIGINT UNIQUE REFERENCES 订单 (编号) {on_delete})")
    told = found(lab, order_rule(lab))
    assert [remark.level for remark in told] == levels
    assert "评价" in told[0].text


def test_a_cascade_from_a_child_is_refused_too(lab: Any) -> None:
    create(lab, GOOD)
    create(lab, "CREATE TABLE 图 (id BIGINT PRIMARY KEY, m BIGINT UNIQUE REFERENCES 明细 (id) ON DELETE CASCADE)")
    assert coded(found(lab, order_rule(lab))) == [("refused", "cascade")]


def test_a_cascade_that_is_named_in_the_settings_is_only_told(lab: Any) -> None:
    create(lab, GOOD)
    create(
        lab, "CREATE TABLE reviews (id BIGINT PRIMARY KEY, o BIGINT UNIQUE REFERENCES 订单 (编号) ON DELETE CASCADE)"
    )
    rule = order_rule(lab)
    lab.with_settings(cascades=["reviews"])
    assert coded(found(lab, rule)) == [("warning", "cascade")]


def test_rows_that_cascade_within_their_own_table_are_refused(lab: Any) -> None:
    create(lab, GOOD.replace("附件 TEXT", "附件 TEXT, 上级 BIGINT UNIQUE REFERENCES 订单 (编号) ON DELETE CASCADE"))
    assert coded(found(lab, order_rule(lab))) == [("refused", "self_cascade")]


def test_a_reference_without_an_index_is_told(lab: Any) -> None:
    create(lab, GOOD)
    create(lab, "CREATE TABLE 评价 (id BIGINT PRIMARY KEY, o BIGINT REFERENCES 订单 (编号))")
    assert coded(found(lab, order_rule(lab))) == [("warning", "reference"), ("warning", "reference_index")]


def test_a_refused_rule_is_judged_refused_and_the_others_are_not(lab: Any) -> None:
    rule = order_rule(lab)
    verdict = judge(lab.place(), rule, lab.now, "r1")
    assert (verdict.state, verdict.reasons) == (
        "refused",
        ("table 订单 is not in the database", "table 明细 is not in the database"),
    )
    place = lab.place()
    others = [one for one in row_rules(place.source, place.settings, place.folders) if one.name != "订单"]
    assert [judge(place, one, lab.now, "r1").state for one in others] == ["go", "go"]


def test_the_fingerprint_knows_the_mapped_columns_only(lab: Any) -> None:
    create(lab, GOOD)
    rule = order_rule(lab)
    before = fingerprint_of(lab.database, rule)
    create(lab, "ALTER TABLE 订单 ADD COLUMN 备注 TEXT")
    assert fingerprint_of(lab.database, rule) == before
    create(lab, "ALTER TABLE 明细 RENAME COLUMN 图片 TO 旧图; ALTER TABLE 明细 ADD COLUMN 图片 VARCHAR(9)")
    assert fingerprint_of(lab.database, rule) != before


def fingerprint_of(database: Database, rule: RowRule) -> str:
    with database.read() as connection:
        return fingerprint(rule, look(connection, rule))


def test_sqlite_times_in_another_spelling_are_refused(lab: Any) -> None:
    if lab.database.dialect != "sqlite":
        pytest.skip("PostgreSQL has a type for times")
    create(lab, GOOD)
    create(lab, "INSERT INTO 订单 VALUES (1, '已完成', '2026-01-31T02:00:00Z', NULL)")
    assert coded(found(lab, order_rule(lab))) == [("refused", "time_spelling")]


POSTGRES_ONLY = [
    ("ALTER TABLE 订单 ALTER 完成 TYPE TEXT", "no_time"),
    ("ALTER TABLE 订单 ALTER 完成 TYPE DATE", "no_time"),
    ("ALTER TABLE 订单 ALTER 附件 TYPE JSON USING NULL", "no_path"),
    ("CREATE TYPE 词 AS ENUM ('完成了', '新建'); ALTER TABLE 订单 ALTER 状态 TYPE 词 USING NULL", "no_word"),
]


@pytest.mark.parametrize(("change", "code"), POSTGRES_ONLY)
def test_types_that_can_not_be_meant_are_refused(lab: Any, change: str, code: str) -> None:
    if lab.database.dialect != "postgresql":
        pytest.skip("SQLite's columns have no types")
    create(lab, GOOD)
    create(lab, change)
    assert [remark.code for remark in found(lab, order_rule(lab)) if remark.level == "refused"] == [code]


def test_a_zoneless_timestamp_is_a_time(lab: Any) -> None:
    if lab.database.dialect != "postgresql":
        pytest.skip("SQLite's columns have no types")
    create(lab, GOOD.replace("{time}", "TIMESTAMP(3)"))
    assert found(lab, order_rule(lab)) == ()


def test_missing_rights_and_hidden_rows_are_refused(lab: Any) -> None:
    if lab.database.dialect != "postgresql":
        pytest.skip("SQLite knows no rights")
    create(lab, GOOD)
    rule = order_rule(lab)
    create(lab, "CREATE ROLE 清洁工; GRANT SELECT ON 订单, 明细 TO 清洁工; GRANT DELETE ON 明细 TO 清洁工")
    try:
        with lab.database.read() as connection:
            connection.execute(text("SET LOCAL ROLE 清洁工"))
            told = remarks(rule, look(connection, rule), lab.settings, "postgresql")
        assert [remark.text for remark in told] == ["the right to DELETE, UPDATE on 订单 is missing"]
        assert told[0].mend == 'GRANT DELETE, UPDATE ON "订单" TO CURRENT_USER'
        create(lab, "GRANT DELETE, UPDATE ON 订单 TO 清洁工; ALTER TABLE 订单 ENABLE ROW LEVEL SECURITY")
        with lab.database.read() as connection:
            connection.execute(text("SET LOCAL ROLE 清洁工"))
            told = remarks(rule, look(connection, rule), lab.settings, "postgresql")
        assert coded(told) == [("refused", "row_security")]
    finally:
        create(lab, "DROP OWNED BY 清洁工; DROP ROLE 清洁工")


def test_a_trigger_on_delete_is_told(lab: Any) -> None:
    create(lab, GOOD)
    if lab.database.dialect == "sqlite":
        with lab.database.write() as connection:
            connection.exec_driver_sql(
                "CREATE TRIGGER 记录 AFTER DELETE ON 订单 BEGIN INSERT INTO 明细 (id) VALUES (1); END"
            )
            connection.exec_driver_sql(
                "CREATE TRIGGER 别的 AFTER UPDATE ON 订单 BEGIN DELETE FROM 明细 WHERE id = 1; END"
            )
    else:
        with lab.database.write() as connection:
            connection.execute(text("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'"))
            for name, event in (("记录", "DELETE"), ("别的", "UPDATE")):
                connection.execute(
                    text(f"CREATE TRIGGER {name} AFTER {event} ON 订单 FOR EACH ROW EXECUTE FUNCTION f()")
                )
    told = found(lab, order_rule(lab))
    assert coded(told) == [("warning", "trigger")]
    assert "记录" in told[0].text


def test_a_partitioned_table_whose_key_holds_the_partition_is_told(lab: Any) -> None:
    if lab.database.dialect != "postgresql":
        pytest.skip("SQLite has no partitions")
    create(
        lab,
        "CREATE TABLE 订单 (编号 BIGINT, 状态 TEXT, 完成 TIMESTAMPTZ, 附件 TEXT, PRIMARY KEY (编号, 完成))"
        " PARTITION BY RANGE (完成); CREATE TABLE p1 PARTITION OF 订单 DEFAULT;"
        "CREATE INDEX i_done ON 订单 (状态, 完成)",
    )
    assert coded(found(lab, order_rule(lab, children=[]))) == [("warning", "key")]


def test_a_table_of_another_schema_is_found_by_its_whole_name(lab: Any) -> None:
    if lab.database.dialect != "postgresql":
        pytest.skip("SQLite has one schema")
    create(lab, "CREATE SCHEMA 档案")
    create(
        lab,
        GOOD.replace("订单 (编号 BIGINT", "档案.订单 (编号 BIGINT")
        .replace("ON 订单", "ON 档案.订单")
        .replace("REFERENCES 订单", "REFERENCES 档案.订单"),
    )
    assert found(lab, order_rule(lab, table="档案.订单")) == ()
    assert coded(found(lab, order_rule(lab)))[0] == ("refused", "no_table")
