"""What `gengfu retention undo` brings back is what was deleted, to the byte."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import make_url, text

from app.core.errors import BadArgument, Locked
from app.core.own_tables import archived_row
from app.core.settings_reader import read
from app.retention.lock import single_flight
from app.retention.rule_settings import ChildSettings, RowRuleSettings
from app.retention.undo import Undone, undo

DAY = timedelta(days=1)
POSTGRES = """
    CREATE TYPE 颜色 AS ENUM ('红', '绿');
    CREATE TABLE 订单 (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, 完成 TIMESTAMPTZ, t2 TIMESTAMP, d DATE,
        iv INTERVAL, n NUMERIC, f DOUBLE PRECISION, r REAL, b BYTEA, ja JSON, jb JSONB, a TEXT[], u UUID, c CHAR(5),
        e 颜色, 名 TEXT, 双 BIGINT GENERATED ALWAYS AS (id * 2) STORED, flag BOOLEAN, addr INET, 图片 TEXT);
    CREATE INDEX i1 ON 订单 (完成);
    CREATE TABLE 明细 (id BIGINT PRIMARY KEY, o BIGINT REFERENCES 订单 (id), 图片 TEXT);
    CREATE INDEX i2 ON 明细 (o);
    INSERT INTO 订单 (完成, t2, d, iv, n, f, r, b, ja, jb, a, u, c, e, 名, flag, addr, 图片) VALUES
        (now() - interval '40 days 1.123457 seconds', '2026-01-01 00:00:00.123456', '0044-03-15 BC',
         '1 year 2 mons 3 days 04:05:06.789', 12345678901234567890.123456789012345678901234567890, 0.1::float8 + 0.2,
         1.1, '\\x00ff0a5c22', '{"b":  1, "a": [1,2 ]}', '{"b": 1.50}', ARRAY['a,b', NULL, '"引号"', E'换\\n行'],
         '6f1c2d1e-1111-4222-8333-944455556666', 'ab', '红', E'中文 \\\\ " \\t 😀', true, '10.0.0.1/8', '甲.jpg'),
        (now() - interval '50 days', 'infinity', NULL, NULL, 'NaN', 'Infinity', '-0', '', NULL, '"null"', '{}', NULL,
         '', NULL, '', false, NULL, NULL),
        (now() - interval '60 days', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
         NULL, NULL, NULL),
        (now(), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
    INSERT INTO 明细 VALUES (1, 1, '乙.jpg'), (2, 1, NULL), (3, 4, NULL), (4, NULL, NULL)"""
SQLITE = """
    CREATE TABLE 订单 (id INTEGER PRIMARY KEY, 完成 TEXT, x, n NUMERIC, f REAL, b BLOB, 名 TEXT, 双 AS (id * 2) STORED,
        图片 TEXT);
    CREATE INDEX i1 ON 订单 (完成);
    CREATE TABLE 明细 (id INTEGER PRIMARY KEY, o INTEGER REFERENCES 订单 (id), 图片 TEXT);
    CREATE INDEX i2 ON 明细 (o);
    INSERT INTO 订单 (完成, x, n, f, b, 名, 图片) VALUES
        (datetime('now', '-40 days') || '.123457', 9007199254740993, '12345678901234567890.5', 0.1 + 0.2, x'00ff0a5c22',
         '中文 \\ " 😀', '甲.jpg'),
        (datetime('now', '-50 days'), x'', 9e999, -9e999, 'text in a blob', '', NULL),
        (datetime('now', '-60 days'), CAST(x'ff61' AS TEXT), -5, 2.0, NULL, NULL, NULL),
        (datetime('now'), NULL, NULL, NULL, NULL, NULL, NULL);
    INSERT INTO 明细 VALUES (1, 1, '乙.jpg'), (2, 1, NULL), (3, 4, NULL), (4, NULL, NULL)"""


@pytest.fixture
def shop(lab: Any) -> Any:
    """Orders of every type, three of them expired, with children and two files."""
    with lab.database.write() as connection:
        for statement in (POSTGRES if lab.database.dialect == "postgresql" else SQLITE).split(";\n"):
            connection.exec_driver_sql(statement.replace("%", "%%"))
    lab.file("uploads", "甲.jpg", b"\x00" * 4000)
    lab.file("uploads", "乙.jpg")
    child = ChildSettings(table="明细", foreign_key="o", files={"图片": "uploads"})
    own = read(
        RowRuleSettings,
        {"table": "订单", "finished": "完成", "keep": "30d", "files": {"图片": "uploads"}, "children": [child]},
    )
    lab.with_settings(rules={"订单": own}, keep_deleted=DAY)
    return lab


def dump(lab: Any) -> list[list[str]]:
    """All rows as the database itself prints them."""
    written = "订单::text" if lab.database.dialect == "postgresql" else None
    with lab.database.read() as connection:
        if written:
            lines = connection.execute(text("SELECT 订单::text FROM 订单 ORDER BY id")).scalars().all()
            children = connection.execute(text("SELECT 明细::text FROM 明细 ORDER BY id")).scalars().all()
            return [list(lines), list(children)]
        # Never the value itself: a text that is no UTF-8 is among them.
        columns = ["id", "完成", "x", "n", "f", "b", "名", "双", "图片"]
        parts = " || '|' || ".join(f"typeof({name}) || hex({name})" for name in columns)
        lines = connection.execute(text(f"SELECT {parts} FROM 订单 ORDER BY id")).scalars().all()
        children = (
            connection.execute(text("SELECT id || quote(o) || quote(图片) FROM 明细 ORDER BY id")).scalars().all()
        )
        return [list(lines), list(children)]


def undone(lab: Any, run_id: str = "r1", **how: Any) -> Undone:
    return undo(lab.place(), run_id, undo_id="u1", **how)


def change(lab: Any, statement: str) -> None:
    with lab.database.write() as connection:
        connection.execute(text(statement))


def test_rows_and_files_come_back_to_the_byte(shop: Any) -> None:
    before, files = dump(shop), shop.on_disk()
    told = shop.document()
    assert told["errors"] == []
    assert (told["rules"][-1]["rows"], told["rules"][-1]["children"]) == (3, 2)
    assert dump(shop) != before
    done = undone(shop)
    assert (done.complete, dict(done.rows), dict(done.files)) == (True, {"订单": 3, "明细": 2}, {"restored": 2})
    assert dump(shop) == before
    assert shop.on_disk() == files
    with shop.database.read() as connection:
        assert connection.execute(archived_row.select()).all() == []


def test_a_dry_run_only_tells(shop: Any) -> None:
    shop.document()
    gone = dump(shop)
    done = undone(shop, dry_run=True)
    assert (dict(done.rows), dict(done.files)) == ({"订单": 3, "明细": 2}, {"kept": 2})
    assert dump(shop) == gone


def test_a_row_that_took_the_place_stays_and_the_deleted_one_is_kept(shop: Any) -> None:
    shop.document()
    overriding = "OVERRIDING SYSTEM VALUE " if shop.database.dialect == "postgresql" else ""
    change(shop, f"INSERT INTO 订单 (id, 名) {overriding}VALUES (2, '新的')")
    done = undone(shop)
    assert (done.complete, done.rows["订单"], done.conflicts["订单"]) == (False, 2, 1)
    with shop.database.read() as connection:
        assert connection.execute(text("SELECT 名 FROM 订单 WHERE id = 2")).scalar() == "新的"
    again = undone(shop)
    assert (again.rows["订单"], again.conflicts["订单"], again.missing) == (0, 1, 0)
    change(shop, "DELETE FROM 订单 WHERE id = 2")
    assert undone(shop).complete


def test_a_child_whose_parent_is_gone_for_good_is_told(shop: Any) -> None:
    shop.document()
    change(shop, "DELETE FROM gengfu_archived_row WHERE is_child = 0")
    done = undone(shop)
    assert (done.rows["明细"], sum(done.refused.values()), done.missing) == (0, 2, 3)
    assert "oreign" in next(iter(done.refused)) or "FOREIGN" in next(iter(done.refused))


def test_a_column_that_is_gone_is_told_and_nothing_is_lost(shop: Any) -> None:
    shop.document()
    change(shop, "ALTER TABLE 明细 RENAME COLUMN 图片 TO 照片")
    done = undone(shop)
    assert (done.complete, done.rows["订单"], done.rows["明细"]) == (False, 3, 0)
    (told,) = done.refused.items()
    assert "图片" in told[0]
    assert told[1] == 2
    change(shop, "ALTER TABLE 明细 RENAME COLUMN 照片 TO 图片")
    assert undone(shop).rows["明细"] == 2


def test_killed_at_any_point_the_next_attempt_ends_it(shop: Any) -> None:
    before, files = dump(shop), shop.on_disk()
    shop.document()

    class Killed(BaseException):
        """The process ends here."""

    def kill_at(number: int) -> Any:
        seen = 0

        def checkpoint(_name: str) -> None:
            nonlocal seen
            seen += 1
            if seen == number:
                raise Killed

        return checkpoint

    # Every attempt gets one step further than the one before.
    for number in range(1, 60):
        try:
            undo(shop.place(checkpoint=kill_at(number)), "r1", undo_id="u1")
        except Killed:
            continue
        except BadArgument:  # the attempt before was killed when all was done
            break
        break
    assert dump(shop) == before
    assert shop.on_disk() == files


def test_what_was_purged_is_said(shop: Any) -> None:
    shop.document()
    change(shop, "DELETE FROM gengfu_archived_row")
    change(shop, "DELETE FROM gengfu_file_outbox")
    with pytest.raises(BadArgument, match="nothing of the 5 rows of run r1 is kept"):
        undone(shop)
    with pytest.raises(BadArgument, match="no run 'r9'"):
        undone(shop, "r9")


def test_while_a_clean_up_runs_nothing_is_brought_back(shop: Any) -> None:
    shop.document()
    with single_flight(shop.place(), "r2"), pytest.raises(Locked):
        undone(shop)


def test_rows_come_back_that_wait_for_rows_of_another_rule_or_of_their_own_table(shop: Any) -> None:
    """A rule of grandchildren runs before the one that deletes what they belong to."""
    time = "TIMESTAMPTZ" if shop.database.dialect == "postgresql" else "TEXT"
    change(shop, f"CREATE TABLE 附注 (id BIGINT PRIMARY KEY, m BIGINT REFERENCES 明细 (id), at {time})")
    change(shop, f"CREATE TABLE 树 (id BIGINT PRIMARY KEY, 上 BIGINT REFERENCES 树 (id), at {time})")
    change(shop, "INSERT INTO 附注 VALUES (1, 1, '2020-01-01 00:00:00')")
    change(shop, "INSERT INTO 树 VALUES (1, NULL, '2020-01-05 00:00:00'), (2, 1, '2020-01-01 00:00:00')")
    plain = {"finished": "at", "keep": "30d", "order": 1}
    own = {name: read(RowRuleSettings, {"table": name, **plain}) for name in ("附注", "树")}
    shop.with_settings(rules={**own, **shop.settings.rules}, batch_size=1)
    assert shop.document()["errors"] == []
    done = undone(shop)
    assert (done.complete, dict(done.rows)) == (True, {"订单": 3, "明细": 2, "附注": 1, "树": 2})


def test_rows_that_do_not_fit_their_columns_any_more_are_counted_each(shop: Any) -> None:
    if shop.database.dialect == "sqlite":
        pytest.skip("a column of SQLite takes any value")
    shop.document()
    change(shop, "ALTER TABLE 明细 ALTER 图片 TYPE INTEGER USING NULL")
    done = undone(shop)
    assert (done.rows["订单"], sum(done.refused.values())) == (3, 2)


def test_numbers_keep_all_digits_whatever_the_server_shows(shop: Any) -> None:
    if shop.database.dialect == "sqlite":
        pytest.skip("a setting of PostgreSQL")
    name = make_url(shop.database.url).database
    change(shop, f"ALTER DATABASE {name} SET extra_float_digits = 0")
    shop.database.dispose()
    shop.document()
    undone(shop)
    with shop.database.read() as connection:
        assert connection.execute(text("SELECT f = 0.1::float8 + 0.2 FROM 订单 WHERE id = 1")).scalar() is True
