"""Which rows go by rules over tables of any shape; every test runs on both databases."""

import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest
from retention_shop import WITH_FILES, Shop
from sqlalchemy import Text, Uuid, text

MICROSECOND = timedelta(microseconds=1)
FUTURE = {"hold": [{"column": "lease_until", "when": "future"}]}


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch, shop: Shop) -> None:
    monkeypatch.setattr("app.retention.cleanup.frozen_now", lambda _: shop.now)


@pytest.mark.usefixtures("frozen")
@pytest.mark.parametrize(("offset", "stays"), [(-MICROSECOND, False), (timedelta(), True), (MICROSECOND, True)])
@pytest.mark.parametrize("column", ["done_at", "touched_at"])
def test_a_row_exactly_at_the_cutoff_stays(shop: Shop, column: str, offset: timedelta, stays: bool) -> None:  # noqa: FBT001 - a case of the table
    shop.rules(old={"fallback": "touched_at"})
    shop.job(1, days=None, **{column: shop.now - timedelta(days=30) + offset})
    shop.told()
    assert (1 in shop.jobs()) is stays


def test_only_the_words_of_a_rule_go_and_any_other_and_none_stay(shop: Shop) -> None:
    shop.rules(old={"statuses": ["done", "完成", "已取消"]})
    for no, word in enumerate(["done", "完成", "已取消"]):
        shop.job(no, state=word)
    kept = {shop.job(10 + no, state=word) for no, word in enumerate(["Done", "done ", "完", "进行中", "", None])}
    assert shop.told()["rows"] == 3
    assert shop.jobs() == kept


def test_a_rule_without_words_looks_at_the_time_alone(shop: Shop) -> None:
    shop.rules(old={"status": "", "statuses": []})
    for no, word in enumerate(["done", "进行中", None]):
        shop.job(no, state=word)
    young = shop.job(9, days=29)
    nothing = shop.job(10, days=None)
    told = shop.told()
    assert shop.jobs() == {young, nothing}
    assert (told["rows"], told["kept"]) == (3, {"no_finish_time": 1})


def test_rows_without_a_finish_time_go_by_the_fallback_and_by_nothing_else(shop: Shop) -> None:
    shop.lab.with_settings(batch_size=2)
    shop.rules(old={"fallback": "touched_at"})
    old = shop.now - timedelta(days=50)
    for no in range(5):
        shop.job(no, days=None, touched_at=old + timedelta(seconds=no % 2))
    kept = {
        shop.job(10, days=None, touched_at=shop.now),
        shop.job(11, days=None),
        shop.job(12, days=1, touched_at=old),  # it has a finish time, and that is young
        shop.job(13, days=None, touched_at=shop.now + timedelta(days=3)),
    }
    told = shop.told()
    assert shop.jobs() == kept
    assert (told["rows"], told["kept"]) == (5, {"no_finish_time": 1, "absurd_time": 1})


def test_without_a_fallback_rows_without_a_finish_time_stay(shop: Shop) -> None:
    shop.rules(old={})
    kept = shop.job(1, days=None, touched_at=shop.now - timedelta(days=900))
    assert shop.told()["kept"] == {"no_finish_time": 1}
    assert shop.jobs() == {kept}


@pytest.mark.parametrize(("made", "stays"), [(-1, False), (0, False), (1, True), (None, True)])
def test_a_row_finished_before_it_was_made_is_damaged_and_stays(shop: Shop, made: int | None, stays: bool) -> None:  # noqa: FBT001 - a case of the table
    shop.rules(old={"created": "made_at"})
    done = shop.now - timedelta(days=40)
    shop.job(1, made_at=None if made is None else done + timedelta(seconds=made))
    told = shop.told()
    assert (1 in shop.jobs()) is stays
    assert told["kept"] == ({"absurd_time": 1} if stays else {})


def test_without_a_creation_time_in_the_rule_none_is_compared(shop: Shop) -> None:
    shop.rules(old={})
    shop.job(1, made_at=shop.now)
    assert shop.told()["rows"] == 1


@pytest.mark.parametrize(
    ("hold", "values", "stays"),
    [
        ({"column": "label"}, {"label": None}, False),
        ({"column": "label"}, {"label": ""}, True),
        ({"column": "label"}, {"label": "诉讼"}, True),
        ({"column": "pinned", "when": "true"}, {"pinned": True}, True),
        ({"column": "pinned", "when": "true"}, {"pinned": False}, False),
        ({"column": "pinned", "when": "true"}, {"pinned": None}, False),
        ({"column": "label", "when": "true"}, {"label": ""}, False),
        ({"column": "label", "when": "true"}, {"label": "0"}, False),
        ({"column": "label", "when": "true"}, {"label": "False"}, False),
        ({"column": "label", "when": "true"}, {"label": "1"}, True),
        ({"column": "label", "when": "true"}, {"label": "保留"}, True),
        ({"column": "label", "when": "in", "values": ["诉讼", "审计"]}, {"label": "审计"}, True),
        ({"column": "label", "when": "in", "values": ["诉讼", "审计"]}, {"label": "无"}, False),
        ({"column": "label", "when": "in", "values": ["诉讼", "审计"]}, {"label": None}, False),
        ({"column": "no", "when": "in", "values": [1, 2]}, {}, True),
        ({"column": "no", "when": "in", "values": [2, 3]}, {}, False),
    ],
)
def test_each_kind_of_hold_pins_what_it_says_and_nothing_else(
    shop: Shop,
    hold: dict[str, Any],
    values: dict[str, Any],
    stays: bool,  # noqa: FBT001 - a case of the table
) -> None:
    shop.rules(old={"hold": [hold]})
    shop.job(1, **values)
    told = shop.told()
    assert (1 in shop.jobs()) is stays
    assert told["kept"] == ({"hold": 1} if stays else {})


@pytest.mark.usefixtures("frozen")
@pytest.mark.parametrize(("seconds", "stays"), [(None, False), (-1, False), (1, True), (86400, True)])
def test_a_time_still_to_come_pins_a_row_until_then(shop: Shop, seconds: int | None, stays: bool) -> None:  # noqa: FBT001 - a case of the table
    shop.rules(old=FUTURE)
    shop.job(1, lease_until=None if seconds is None else shop.now + timedelta(seconds=seconds))
    shop.told()
    assert (1 in shop.jobs()) is stays


def test_any_of_several_holds_pins_a_row(shop: Shop) -> None:
    shop.rules(old={"hold": [{"column": "label"}, {"column": "pinned", "when": "true"}]})
    kept = {shop.job(1, label="x"), shop.job(2, pinned=True), shop.job(3, label="x", pinned=True)}
    shop.job(4, pinned=False)
    assert shop.told()["kept"] == {"hold": 3}
    assert shop.jobs() == kept


def test_a_young_row_is_not_counted_as_held(shop: Shop) -> None:
    shop.rules(old={"hold": [{"column": "label"}]})
    shop.job(1, days=3, label="x")
    assert shop.told()["kept"] == {}


def test_an_odd_spelling_of_a_lease_pins_the_row_on_sqlite(shop: Shop) -> None:
    if shop.lab.database.dialect != "sqlite":
        pytest.skip("PostgreSQL has a type for times")
    shop.rules(old=FUTURE)
    for no, written in enumerate(["2020-01-01T00:00:00", "永远", "0"]):
        shop.job(no)
        with shop.lab.database.write() as connection:
            connection.execute(text("UPDATE jobs SET lease_until = :w WHERE no = :n"), {"w": written, "n": no})
    assert shop.told()["kept"] == {"hold": 3}


def test_children_of_several_tables_go_with_their_row_and_others_stay(shop: Shop) -> None:
    shop.rules(
        old={
            "files": {"file": "uploads"},
            "children": [
                {"table": "parts", "foreign_key": "job_no", "files": {"file": "receipts"}},
                {"table": "notes", "foreign_key": "job_no"},
            ],
        }
    )
    lab = shop.lab
    shop.job(1, file=lab.file("uploads", "图/1.jpg"))
    young = shop.job(2, days=2, file=lab.file("uploads", "2.jpg"))
    for _ in range(3):
        shop.child("parts", 1, file=lab.file("receipts", f"{shop.children}.png"))
    shop.child("notes", 1, file=lab.file("uploads", "笔记.txt"))
    kept = {"parts": {shop.child("parts", young)}, "notes": {shop.child("notes", young), shop.child("notes", None)}}
    told = shop.told()
    assert (told["rows"], told["children"], told["state"]) == (1, 4, "done")
    assert {name: shop.ids(name) for name in kept} == kept
    # The notes' column is none of the rule's: what it names is not ours to remove.
    assert lab.on_disk() == {("uploads", "2.jpg"), ("uploads", "笔记.txt")}
    document = told["document"]
    assert (document["files_cleaned"], document["tasks_cleaned"], document["receipts_cleaned"]) == (4, 0, 0)


@pytest.mark.parametrize("kind", [Text, Uuid])
def test_keys_that_are_no_numbers_are_walked_over_many_batches(lab: Any, kind: Any) -> None:
    shop = Shop(lab=lab, key=kind)
    lab.with_settings(batch_size=3)
    shop.rules(old=WITH_FILES)
    done = shop.now - timedelta(days=40)  # one time for all: the key decides
    for number in range(11):
        no = uuid.uuid4() if kind is Uuid else f"单,{number}' {{\"\\"
        shop.child("parts", shop.job(no, days=None, done_at=done))
    young = shop.job(uuid.UUID(int=7) if kind is Uuid else "留", days=1)
    told = shop.told()
    assert (told["rows"], told["children"], told["batches"], told["state"]) == (11, 11, 4, "done")
    assert shop.jobs() == {young}


def test_a_table_of_another_schema_is_cleaned(lab: Any) -> None:
    schema = "main" if lab.database.dialect == "sqlite" else "归档"
    with lab.database.write() as connection:
        if schema != "main":
            connection.execute(text(f'CREATE SCHEMA "{schema}"'))
        for name in ("log", "lines"):
            connection.execute(
                text(f'CREATE TABLE "{schema}".{name} (id INTEGER PRIMARY KEY, at TEXT, log_id INTEGER)')
            )
            connection.execute(text(f"CREATE INDEX by_log_{name} ON {_indexed(schema, name)} (log_id)"))
        if schema != "main":
            connection.execute(text(f'ALTER TABLE "{schema}".log ALTER at TYPE timestamptz USING at::timestamptz'))
        connection.execute(
            text(f"INSERT INTO \"{schema}\".log VALUES (1, '2026-01-01 00:00:00')".replace(")", ", NULL)"))
        )
        connection.execute(text(f'INSERT INTO "{schema}".lines VALUES (5, NULL, 1), (6, NULL, NULL)'))
    shop = Shop(lab=lab)
    child = {"table": f"{schema}.lines", "foreign_key": "log_id"}
    rule = {"table": f"{schema}.log", "key": "id", "finished": "at", "status": "", "statuses": [], "children": [child]}
    shop.rules(old=rule)
    told = shop.told()
    assert (told["state"], told["rows"], told["children"], told["table"]) == ("done", 1, 1, f"{schema}.log")
    with lab.database.read() as connection:
        assert connection.execute(text(f'SELECT id FROM "{schema}".lines')).scalars().all() == [6]


def _indexed(schema: str, name: str) -> str:
    return name if schema == "main" else f'"{schema}".{name}'


def test_a_file_that_a_row_of_any_configured_table_names_is_kept(shop: Shop) -> None:
    """Also of a rule that is switched off, of a child, and of the tables of `[source]`."""
    lab = shop.lab
    child = {"table": "parts", "foreign_key": "job_no", "files": {"file": "uploads"}}
    notes = {
        "table": "notes",
        "key": "id",
        "finished": "id",
        "files": {"file": "uploads"},
        "status": "",
        "statuses": [],
    }
    shop.rules(old={"files": {"file": "uploads"}, "children": [child]}, off={**notes, "enabled": False})
    for no, path in enumerate(("儿.jpg", "关.jpg", "任务.jpg", "无人.jpg")):
        shop.job(no, file=lab.file("uploads", path))
    shop.child("parts", None, file="儿.jpg")
    shop.child("notes", None, file="./关.jpg")
    lab.task(days=900, image_path=str(lab.folders["uploads"] / "任务.jpg"))
    document = lab.document()
    assert (document["files_cleaned"], document["files_kept_referenced"]) == (1, 3)
    assert lab.on_disk() == {("uploads", "儿.jpg"), ("uploads", "关.jpg"), ("uploads", "任务.jpg")}


def test_while_a_table_that_may_name_files_is_not_there_they_wait(shop: Shop) -> None:
    lab = shop.lab
    shop.rules(
        old={"files": {"file": "uploads"}},
        gone={"table": "weg", "files": {"file": "uploads"}, "order": 200},
    )
    shop.job(1, file=lab.file("uploads", "a.jpg"))
    told = shop.told()
    document = told["document"]
    assert (told["state"], told["rows"]) == ("done", 1)
    assert [rule["state"] for rule in document["rules"]] == ["done", "refused"]
    assert (document["files_cleaned"], document["pending_files"]) == (0, 1)
    assert lab.on_disk() == {("uploads", "a.jpg")}
    shop.rules(old={"files": {"file": "uploads"}})
    assert lab.document("r2")["files_cleaned"] == 1


def test_a_dry_run_tells_what_a_real_one_does(shop: Shop) -> None:
    lab = shop.lab
    lab.with_settings(batch_size=2)
    child = {"table": "parts", "foreign_key": "job_no", "files": {"file": "uploads"}}
    shop.rules(
        long={"files": {"file": "uploads"}, "children": [child], "fallback": "touched_at", "order": 1},
        short={"files": {"file": "uploads"}, "statuses": ["坏"], "keep": "7d", "children": [child], "order": 2},
    )
    for no in range(7):
        shop.job(no, state="坏" if no % 2 else "done", file=lab.file("uploads", f"{no}.jpg"))
        shop.child("parts", no, file=lab.file("uploads", f"件{no}.jpg"))
    shop.job(10, days=None, touched_at=shop.now - timedelta(days=60), file="0.jpg")
    shop.job(11, days=10, file="1.jpg")
    dry = lab.document("dry", dry_run=True)
    assert len(shop.jobs()) == 9
    real = lab.document("real")
    assert shop.jobs() == {11}
    for key in ("files_cleaned", "files_kept_referenced", "files_missing", "bytes_freed", "rows_kept"):
        assert dry[key] == real[key], key
    told = [
        [{k: rule[k] for k in ("name", "state", "rows", "children")} for rule in run["rules"]] for run in (dry, real)
    ]
    assert told[0] == told[1]
    assert [(rule["rows"], rule["children"]) for rule in told[0]] == [(5, 4), (3, 3)]


def test_two_rules_over_one_table_have_their_own_ages(shop: Shop) -> None:
    shop.rules(long={}, short={"statuses": ["坏"], "keep": "7d"})
    kept = {shop.job(1, days=10), shop.job(2, days=6, state="坏")}
    shop.job(3, days=10, state="坏")
    shop.job(4)
    told = shop.told()
    assert shop.jobs() == kept
    assert {rule["name"]: rule["rows"] for rule in told["document"]["rules"]} == {"long": 1, "short": 1}


def test_rules_run_in_their_order_and_only_the_named_ones(shop: Shop) -> None:
    shop.rules(second={"order": 2, "statuses": ["b"]}, first={"order": 1, "statuses": ["a"]})
    shop.job(1, state="a")
    shop.job(2, state="b")
    document = _only(shop, ["second"])
    assert [rule["name"] for rule in document["rules"]] == ["second"]
    assert shop.jobs() == {1}
    assert [rule["name"] for rule in shop.lab.document("r2")["rules"]] == ["first", "second"]


def test_an_unknown_rule_is_refused_with_the_nearest_name(shop: Shop) -> None:
    from app.core.errors import BadArgument

    shop.rules(sessions={})
    with pytest.raises(BadArgument, match=r"no rule 'session' \(did you mean \"sessions\"\?\)"):
        _only(shop, ["session"])


def _only(shop: Shop, rules: list[str]) -> dict[str, Any]:
    from app.retention.cleanup import cleanup_expired

    return cleanup_expired(shop.lab.place(), run_id="only", rules=rules).document


def test_the_age_of_the_oldest_expired_row_still_there_is_told(shop: Shop) -> None:
    shop.rules(old={"max_rows": 1, "fallback": "touched_at"})
    shop.job(1, days=40)
    shop.job(2, days=33)
    shop.job(3, days=None, touched_at=shop.now - timedelta(days=32))
    told = shop.told()
    assert told["lag_hours"] == pytest.approx(72, abs=0.2)
    assert told["kept"] == {"not_reached": 2}
    assert shop.told("r2")["lag_hours"] == pytest.approx(48, abs=0.2)
    assert shop.told("r3")["lag_hours"] == 0.0


def test_times_keep_their_microseconds_in_the_cursor(shop: Shop) -> None:
    shop.lab.with_settings(batch_size=1)
    shop.rules(old={})
    start: datetime = shop.now - timedelta(days=40)
    for no in range(6):
        shop.job(no, days=None, done_at=start + no // 2 * MICROSECOND)
    assert shop.told()["rows"] == 6
