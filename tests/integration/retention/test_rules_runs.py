"""How runs of rules end, what the next one does, and what else they leave; every test runs on both databases."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from retention_shop import Shop
from sqlalchemy import create_engine, event, make_url, select, text
from sqlalchemy.exc import DBAPIError

from app.core.errors import DatabaseBusy, DatabaseRefused
from app.core.own_tables import archived_row, rule_run, service_state
from app.retention.batch import RowsStayed
from app.retention.batches_postgresql import PostgresBatches
from app.retention.batches_sqlite import SqliteBatches
from app.retention.cleanup import cleanup_expired
from app.retention.expiry import passes
from app.retention.rules import row_rules

KIND = {"postgresql": PostgresBatches, "sqlite": SqliteBatches}
WITH_CHILDREN = {"children": [{"table": "parts", "foreign_key": "job_no"}]}


class Stopped(BaseException):
    """Stands for a kill."""


@pytest.fixture
def shop(lab: Any) -> Shop:
    return Shop(lab=lab)


def cursors(shop: Shop) -> dict[str, list[Any]]:
    with shop.lab.database.read() as connection:
        stored = connection.execute(
            select(service_state.c.value).where(service_state.c.key == "retention:tally")
        ).scalar()
    found: dict[str, list[Any]] = (stored or {}).get("cursors", {})
    return found


def test_after_its_rows_a_rule_ends_and_the_next_run_goes_on_from_there(shop: Shop) -> None:
    shop.rules(old={"max_rows": 2})
    for no in range(5):
        shop.job(no, days=50 - no)
    first = shop.told("r1")
    assert (first["state"], first["rows"], first["kept"]) == ("budget", 2, {"not_reached": 3})
    assert "max_rows = 2" in first["reasons"][0]
    assert len(cursors(shop)) == 1
    behind = shop.job(9, days=90)  # the cursor has passed it
    assert shop.told("r2")["rows"] == 2
    assert shop.jobs() == {4, behind}
    third = shop.told("r3")
    assert (third["rows"], third["kept"], third["document"]["carried_over"]) == (1, {"locked": 1}, None)
    assert cursors(shop) == {}  # the pass came to its end, and the next one begins anew
    assert shop.told("r4")["rows"] == 1


def test_the_cursor_of_a_killed_run_is_gone_on_from(shop: Shop) -> None:
    shop.lab.with_settings(batch_size=2)
    shop.rules(old={})
    for no in range(5):
        shop.job(no, days=50 - no)
    with pytest.raises(Stopped):
        shop.lab.run("killed", checkpoint=lambda point: _stop() if point == "batch committed" else None)
    assert len(cursors(shop)) == 1
    behind = shop.job(9, days=90)
    told = shop.told("r2")
    assert (told["rows"], told["document"]["carried_over"]["run_ids"]) == (3, ["killed"])
    assert shop.jobs() == {behind}
    assert cursors(shop) == {}


def _stop() -> None:
    raise Stopped


def test_a_cursor_of_a_rule_that_was_changed_is_forgotten(shop: Shop) -> None:
    shop.rules(old={"max_rows": 1})
    for no in range(3):
        shop.job(no, days=50 - no)
    shop.told("r1")
    behind = shop.job(9, days=90, touched_at=shop.now - timedelta(days=99))
    shop.rules(old={"finished": "touched_at"})
    # They would hold what is so unlike before.
    shop.lab.with_settings(guards=shop.lab.settings.guards.model_copy(update={"enabled": False}))
    told = shop.told("r2")
    assert (told["rows"], told["reasons"]) == (1, [])
    assert behind not in shop.jobs()
    assert cursors(shop) == {}


def test_a_run_of_other_rules_keeps_the_cursor(shop: Shop) -> None:
    shop.rules(old={"max_rows": 1}, other={"statuses": ["x"]})
    for no in range(3):
        shop.job(no, days=50 - no)
    shop.told("r1")
    kept = cursors(shop)
    cleanup_expired(shop.lab.place(), run_id="r2", rules=["other"])
    assert cursors(shop) == kept != {}


def test_the_time_of_a_rule_ends_it_and_not_the_others(shop: Shop) -> None:
    shop.lab.with_settings(batch_size=1)
    shop.rules(slow={"max_seconds": 30, "order": 1}, other={"statuses": ["x"], "order": 2})
    for no in range(4):
        shop.job(no)
    shop.job(9, state="x")

    def pass_time(point: str) -> None:
        if point == "batch committed":
            shop.lab.clock.advance(timedelta(seconds=20))

    document = shop.lab.document(checkpoint=pass_time)
    assert [(rule["state"], rule["rows"]) for rule in document["rules"]] == [("budget", 2), ("done", 1)]
    assert document["state"] == "budget"


def test_the_budget_of_a_run_takes_the_place_of_the_settings(shop: Shop) -> None:
    shop.lab.with_settings(batch_size=1)
    shop.rules(old={}, other={"statuses": ["x"]})
    for no in range(4):
        shop.job(no)

    def pass_time(point: str) -> None:
        if point == "batch committed":
            shop.lab.clock.advance(timedelta(seconds=20))

    budget = timedelta(seconds=40)
    document = cleanup_expired(shop.lab.place(checkpoint=pass_time), run_id="r1", budget=budget).document
    assert [(rule["state"], rule["rows"]) for rule in document["rules"]] == [("budget", 2), ("budget", 0)]


@pytest.mark.parametrize(
    ("failures", "state", "sizes"), [(2, "done", [400, 200, 100]), (3, "contended", [400, 200, 100])]
)
def test_a_busy_table_is_asked_for_less_and_after_three_times_left_alone(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, failures: int, state: str, sizes: list[int]
) -> None:
    kind: Any = KIND[shop.lab.database.dialect]
    real, asked = kind.lock, []

    def lock(self: Any, connection: Any, cursor: Any, size: int) -> Any:
        asked.append(size)
        if len(asked) <= failures:
            raise DatabaseBusy("别人在用")
        return real(self, connection, cursor, size)

    monkeypatch.setattr(kind, "lock", lock)
    shop.lab.with_settings(batch_size=400)
    shop.rules(old={}, other={"statuses": ["x"]})
    shop.job(1)
    shop.job(2, state="x")
    document = shop.lab.document()
    assert asked[:3] == sizes
    assert [rule["state"] for rule in document["rules"]] == [state, "done"]
    assert (1 in shop.jobs()) is (state == "contended")
    assert document["errors"] == ([] if state == "done" else ["rule old: 别人在用"])


def test_a_table_locked_by_somebody_else_makes_the_rule_contended(shop: Shop) -> None:
    if shop.lab.database.dialect == "sqlite":
        pytest.skip("SQLite locks the whole file, our own tables with it")
    shop.rules(old={})
    shop.job(1)
    with _other(shop) as other:
        other.execute(text("LOCK TABLE jobs IN EXCLUSIVE MODE"))
        told = shop.told()
    assert (told["state"], told["rows"]) == ("contended", 0)
    assert "lock timeout" in told["reasons"][0]
    assert shop.told("r2")["rows"] == 1


@contextmanager
def _other(shop: Shop) -> Iterator[Any]:
    engine = create_engine(make_url(shop.lab.database.url))
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


@pytest.mark.parametrize(
    "change", [{"state": "进行中"}, {"done_at": None}, {"label": "诉讼"}, {"done_at": "young"}, {"state": None}]
)
def test_a_row_that_changed_between_select_and_delete_stays(shop: Shop, change: dict[str, Any]) -> None:
    """The lock prevents it; the condition in the DELETE would notice it all the same, and undo the batch."""
    shop.rules(old={"hold": [{"column": "label"}], **WITH_CHILDREN})
    part = shop.child("parts", shop.job(1))
    place, database = shop.lab.place(), shop.lab.database
    (rule,) = row_rules(place.source, place.settings, place.folders)
    batches = KIND[database.dialect](passes(rule, shop.now - rule.keep)[0], None)
    with database.maintain() as connection:
        doomed = batches.lock(connection, None, 10)
    assert doomed is not None
    assert doomed.rows == 1
    shop.change(1, **{k: shop.now - timedelta(days=1) if v == "young" else v for k, v in change.items()})
    with pytest.raises(RowsStayed), database.maintain() as connection:
        batches.delete(connection, doomed, lambda _: None)
    assert (shop.jobs(), shop.ids("parts")) == ({1}, {part})


def test_nobody_changes_a_row_once_it_is_locked(shop: Shop) -> None:
    shop.rules(old=WITH_CHILDREN)
    shop.job(1)
    refused: list[str] = []

    def change(point: str) -> None:
        if point == "rows locked":
            with _other(shop) as other, pytest.raises(DBAPIError) as caught:
                quick = (
                    "PRAGMA busy_timeout = 0" if shop.lab.database.dialect == "sqlite" else "SET lock_timeout = '50ms'"
                )
                other.execute(text(quick))
                other.execute(text("UPDATE jobs SET state = 'again'"))
            refused.append(str(caught.value.orig))

    assert shop.told(checkpoint=change)["rows"] == 1
    assert len(refused) == 1


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


@contextmanager
def _as_role(shop: Shop, *grants: str) -> Iterator[None]:
    """Work as a role that may do with our own tables what it likes, and with jobs what is granted."""
    role, engine = f"r_{secrets.token_hex(4)}", shop.lab.database.engine
    with shop.lab.database.write() as connection:
        for line in (
            f"CREATE ROLE {role}",
            f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}",
            f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}",
            f"REVOKE ALL ON jobs FROM {role}",
            *(f"GRANT {grant} ON jobs TO {role}" for grant in grants),
        ):
            connection.execute(text(line))

    def become(driver: Any, _record: Any) -> None:
        with driver.cursor() as cursor:
            cursor.execute(f"SET ROLE {role}")
        driver.commit()

    event.listen(engine, "connect", become)
    engine.dispose()
    try:
        yield
    finally:
        event.remove(engine, "connect", become)
        engine.dispose()
        with shop.lab.database.write() as connection:
            connection.execute(text(f"DROP OWNED BY {role}"))
            connection.execute(text(f"DROP ROLE {role}"))


@pytest.mark.parametrize("grants", [("SELECT",), ("SELECT", "DELETE"), ("DELETE",), ()])
def test_a_role_without_a_right_is_refused_and_deletes_nothing(shop: Shop, grants: tuple[str, ...]) -> None:
    """FOR UPDATE needs the right to update, too."""
    if shop.lab.database.dialect == "sqlite":
        pytest.skip("SQLite knows no rights")
    shop.rules(old={})
    shop.job(1)
    with _as_role(shop, *grants):
        told = shop.told()
    assert (told["state"], told["rows"]) == ("refused", 0)
    assert shop.jobs() == {1}


def test_row_level_security_is_refused_instead_of_seeing_less(shop: Shop) -> None:
    if shop.lab.database.dialect == "sqlite":
        pytest.skip("SQLite has none")
    shop.rules(old={})
    shop.job(1)
    shop.job(2, label="mine")
    with shop.lab.database.write() as connection:
        connection.execute(text("ALTER TABLE jobs ENABLE ROW LEVEL SECURITY"))
        connection.execute(text("CREATE POLICY 只看自己的 ON jobs USING (label = 'mine')"))
    with _as_role(shop, "SELECT", "DELETE", "UPDATE"):
        told = shop.told()
    assert told["state"] == "refused"
    assert shop.jobs() == {1, 2}


def test_a_server_that_is_read_only_is_refused_before_anything_is_done(shop: Shop) -> None:
    database = shop.lab.database
    if database.dialect == "sqlite":
        pytest.skip("a server's setting")
    shop.rules(old={})
    shop.job(1)
    name = make_url(database.url).database
    with database.write() as connection:
        connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
    database.dispose()
    with pytest.raises(DatabaseRefused, match="default_transaction_read_only"):
        shop.lab.run()
    assert shop.lab.document("dry", dry_run=True)["rules"][0]["rows"] == 1


def test_a_replica_is_refused(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    if shop.lab.database.dialect == "sqlite":
        pytest.skip("an SQLite file has no replica")
    monkeypatch.setattr("app.retention.writable._READ_ONLY", text("SELECT true, false"))
    with pytest.raises(DatabaseRefused, match="replica"):
        shop.lab.run()


@pytest.mark.parametrize(("most", "lag", "state"), [(10, 10.0, "done"), (10, 10.5, "contended"), (0, 900.0, "done")])
def test_a_replica_that_lags_stops_the_rows(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, most: int, lag: float, state: str
) -> None:
    monkeypatch.setattr("app.retention.rows.replay_lag_s", lambda _: lag)
    shop.lab.with_settings(max_replay_lag_s=most)
    shop.rules(old={})
    shop.job(1)
    assert shop.told()["state"] == state
    assert (1 in shop.jobs()) is (state == "contended")


def test_halted_between_batches_the_run_ends_and_the_next_goes_on(shop: Shop) -> None:
    lab = shop.lab
    lab.with_settings(batch_size=2)
    shop.rules(old={"files": {"file": "uploads"}}, other={"statuses": ["x"], "order": 200})
    for no in range(5):
        shop.job(no, file=lab.file("uploads", f"{no}.jpg"))
    lab.aged("temp", "旧.tmp", days=3)
    why: list[str] = []
    document = lab.document(
        "r1",
        halted=lambda: why[0] if why else None,
        checkpoint=lambda point: why.append("暂停") if point == "batch committed" else None,
    )
    assert [(rule["state"], rule["rows"]) for rule in document["rules"]] == [("partial", 2), ("partial", 0)]
    assert (document["state"], document["files_cleaned"], document["pending_files"]) == ("partial", 0, 2)
    assert len(document["errors"]) == 2
    second = lab.document("r2")
    assert (second["state"], second["rules"][0]["rows"], second["files_cleaned"]) == ("done", 3, 6)


def test_halted_from_the_start_nothing_is_judged_or_used_up(shop: Shop) -> None:
    shop.rules(old={})
    shop.job(1)
    told = shop.told(halted=lambda: "暂停")
    assert (told["state"], told["reasons"], told["rows"]) == ("partial", ["暂停"], 0)
    with shop.lab.database.read() as connection:
        assert connection.execute(select(rule_run)).all() == []


def test_files_wait_for_the_grace_of_a_replicated_database(shop: Shop) -> None:
    lab = shop.lab
    lab.with_settings(file_grace=timedelta(hours=2))
    shop.rules(old={"files": {"file": "uploads"}})
    shop.job(1, file=lab.file("uploads", "a.jpg"))
    assert (shop.told()["rows"], lab.on_disk()) == (1, {("uploads", "a.jpg")})
    lab.clock.advance(timedelta(hours=1, minutes=59))
    assert lab.document("r2")["files_cleaned"] == 0
    lab.clock.advance(timedelta(minutes=1))
    assert lab.document("r3")["files_cleaned"] == 1


def archived(shop: Shop) -> list[Any]:
    with shop.lab.database.read() as connection:
        return list(connection.execute(select(archived_row).order_by(archived_row.c.id)).all())


def test_deleted_rows_are_archived_with_their_children_in_the_same_transaction(shop: Shop) -> None:
    shop.rules(old={"keep_deleted": "24h", **WITH_CHILDREN})
    done = shop.now - timedelta(days=40) + timedelta(microseconds=123456)
    shop.job(1, days=None, done_at=done, label='诉讼 "\\\n', pinned=True)
    shop.job(2, pinned=None)
    shop.child("parts", 1, file="图.jpg")
    with pytest.raises(Stopped):
        shop.lab.run("killed", checkpoint=lambda point: _stop() if point == "files written down" else None)
    assert (archived(shop), shop.jobs()) == ([], {1, 2})
    assert shop.told("r1")["rows"] == 2
    parents, children = sorted(archived(shop), key=lambda row: row.is_child)
    assert (parents.table_name, parents.row_count, parents.rule, parents.run_id) == ("jobs", 2, "old", "r1")
    assert (children.table_name, children.row_count) == ("parts", 1)
    assert parents.purge_at - parents.archived_at == timedelta(hours=24)
    first, second = sorted(json.loads(parents.rows), key=lambda row: row["no"])
    assert first["label"] == '诉讼 "\\\n'
    assert "123456" in first["done_at"]
    assert second["label"] is None
    assert set(first) == {column.name for column in shop.metadata.tables["jobs"].columns}
    assert json.loads(children.rows) == [{"id": 1, "job_no": 1, "file": "图.jpg"}]


def test_blobs_numbers_and_odd_texts_are_archived_to_the_byte_on_sqlite(shop: Shop) -> None:
    if shop.lab.database.dialect != "sqlite":
        pytest.skip("PostgreSQL writes its own JSON")
    shop.rules(old={"keep_deleted": "24h"})
    shop.job(1)
    with shop.lab.database.write() as connection:
        connection.execute(
            text("UPDATE jobs SET label = CAST(x'ff61' AS TEXT), file = x'00ff', pinned = 9e999, touched_at = 0.1")
        )
    shop.told()
    (row,) = json.loads(archived(shop)[0].rows)
    assert (row["label"], row["file"], row["pinned"]) == ({"$text": "ff61"}, {"$blob": "00ff"}, {"$real": "inf"})
    assert row["touched_at"] in {0.1, "0.1"}


def test_archived_rows_are_purged_when_their_time_is_over_and_not_before(shop: Shop) -> None:
    shop.rules(old={"keep_deleted": "24h"})
    shop.job(1)
    shop.told()
    shop.lab.clock.advance(timedelta(hours=24) - timedelta(seconds=1))
    assert shop.lab.document("r2")["archived_rows_purged"] == 0
    assert len(archived(shop)) == 1
    shop.lab.clock.advance(timedelta(seconds=1))
    assert shop.lab.document("r3")["archived_rows_purged"] == 1
    assert archived(shop) == []


def test_without_keep_deleted_nothing_is_archived(shop: Shop) -> None:
    shop.rules(old=WITH_CHILDREN)
    shop.child("parts", shop.job(1))
    assert shop.told()["rows"] == 1
    assert archived(shop) == []


def test_the_history_tells_how_each_rule_ended(shop: Shop) -> None:
    shop.rules(old={"files": {"file": "uploads"}, **WITH_CHILDREN})
    shop.child("parts", shop.job(1, file=shop.lab.file("uploads", "a.jpg")))
    told = shop.told("r1")
    with shop.lab.database.read() as connection:
        row = connection.execute(select(rule_run)).one()
    assert (row.run_id, row.rule, row.state, row.rows, row.children) == ("r1", "old", "done", 1, 1)
    assert row.finished_at is not None
    assert (told["files"], told["bytes"]) == (row.files, row.bytes)
    assert row.files == 1


def test_space_says_whether_it_is_an_estimate(shop: Shop) -> None:
    shop.rules(old={})
    shop.job(1)
    space = shop.told()["document"]["space"]
    assert space["estimated"] is (shop.lab.database.dialect == "postgresql")
    assert space["reusable_bytes"] >= 0
    assert space["advice"] is None


def test_with_a_disk_nearly_full_files_go_before_rows(shop: Shop) -> None:
    lab = shop.lab
    shop.rules(old={"files": {"file": "uploads"}})
    shop.job(1, file=lab.file("uploads", "a.jpg"))
    lab.aged("temp", "旧.tmp", days=3)
    points: list[str] = []
    document = lab.document(critical=lambda _: True, checkpoint=points.append)
    assert document["order"] == "files_first"
    assert document["files_cleaned"] == 2
    first_temp = next(n for n, point in enumerate(points) if point.startswith("temp removed"))
    assert first_temp < points.index("batch committed")
    assert lab.document("r2")["order"] == "rows_first"
