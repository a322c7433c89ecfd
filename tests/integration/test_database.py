"""The conformance suite of connections: every promise holds on SQLite and on PostgreSQL."""

import os
import socket
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from inspect import unwrap
from pathlib import Path

import pytest
from sqlalchemy import Column, MetaData, Table, insert, select, text
from sqlalchemy.exc import DBAPIError

from app.context import open_context
from app.core import database as database_module
from app.core import migrate
from app.core.database import Database, DatabaseSettings
from app.core.errors import DatabaseBusy, DatabaseRefused, DatabaseUnavailable, SchemaMismatch, SettingsError
from app.core.migrate import HEAD, current_version, is_behind, require_head, upgrade
from app.core.own_tables import metadata, run, service_state
from app.core.utc_datetime import UtcDateTime

_ENDLESS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
    "postgresql": "SELECT pg_sleep(600)",
}


def test_own_tables_are_created_once_and_a_second_upgrade_changes_nothing(empty_database_url: str) -> None:
    database = Database(empty_database_url, DatabaseSettings())
    assert upgrade(database) is None
    assert upgrade(database) == HEAD
    with database.read() as connection:
        assert current_version(connection) == HEAD
        require_head(connection)
    database.dispose()


def test_the_migrations_make_exactly_the_declared_tables(database: Database) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with database.read() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table": "gengfu_alembic_version",
                "compare_type": connection.dialect.name == "postgresql",
            },
        )
        assert compare_metadata(context, metadata) == []


def test_a_missing_own_table_says_which_command_mends_it(empty_database_url: str) -> None:
    fresh = Database(empty_database_url, DatabaseSettings())
    with fresh.read() as connection, pytest.raises(SchemaMismatch, match="gengfu db upgrade"):
        require_head(connection)
    fresh.dispose()


def test_tables_of_a_newer_version_ask_for_the_newer_program(database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE gengfu_alembic_version SET version_num = '9999'"))
    with database.read() as connection:
        assert not is_behind(connection)
        with pytest.raises(SchemaMismatch, match="install the newer Gengfu"):
            require_head(connection)


def test_an_embedded_database_of_an_earlier_version_is_brought_up_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alembic import command
    from alembic.config import Config

    monkeypatch.setenv("GENGFU_HOME", str(tmp_path))
    with open_context() as context:
        context.prepare_own_tables()
        with context.database.write() as connection:
            connection.execute(insert(service_state).values(key="根", value={}, updated_at=datetime.now(UTC)))
            config = Config()
            config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
            config.attributes["connection"] = connection
            command.downgrade(config, "0002")
    with open_context() as context:
        context.prepare_own_tables()
        with context.database.read() as connection:
            require_head(connection)
            assert connection.execute(select(service_state.c.key)).scalar_one() == "根"


def test_a_read_transaction_refuses_to_write(database: Database) -> None:
    row = {"key": "k", "value": {}, "updated_at": datetime.now(UTC)}
    with pytest.raises(DBAPIError), database.read() as connection:
        connection.execute(insert(service_state).values(row))
    with database.write() as connection:
        connection.execute(insert(service_state).values(row))


def test_a_server_that_takes_no_writes_is_told_in_our_words(database: Database) -> None:
    read_only = {"sqlite": "PRAGMA query_only = ON", "postgresql": "SET TRANSACTION READ ONLY"}
    with pytest.raises(DatabaseRefused, match="nothing can be written"), database.write() as connection:
        connection.exec_driver_sql(read_only[database.dialect])
        connection.execute(insert(service_state).values(key="k", value={}, updated_at=datetime.now(UTC)))


def test_an_error_inside_the_block_rolls_everything_back(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.write() as connection:
        connection.execute(insert(service_state).values(key="锁", value={}, updated_at=datetime.now(UTC)))
        raise ZeroDivisionError
    with database.read() as connection:
        assert connection.execute(select(service_state.c.key)).all() == []


def test_instants_come_back_aware_and_equal_whatever_their_zone(database: Database) -> None:
    table = Table("t_times", MetaData(), Column("at", UtcDateTime))
    shanghai = datetime(2026, 3, 10, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=8)))
    with database.write() as connection:
        table.create(connection)
        connection.execute(insert(table), [{"at": shanghai}, {"at": None}])
        values = [row.at for row in connection.execute(select(table).order_by(table.c.at.is_(None)))]
    assert values == [shanghai, None]
    assert values[0].tzinfo is UTC


@pytest.mark.parametrize("spelling", ["2026-03-10 04:00:00", "2026-03-10 04:00:00.000000"])
def test_a_row_exactly_on_a_whole_second_bound_is_not_earlier_however_sqlite_spells_it(
    tmp_path: Path, spelling: str
) -> None:
    sqlite = Database(f"sqlite:///{tmp_path / 'x.db'}", DatabaseSettings())
    table = Table("t", MetaData(), Column("at", UtcDateTime))
    bound = datetime(2026, 3, 10, 4, 0, tzinfo=UTC)
    with sqlite.write() as connection:
        table.create(connection)
        connection.execute(text("INSERT INTO t VALUES (:at)"), {"at": spelling})
        assert connection.execute(select(table).where(table.c.at < bound)).all() == []
        assert len(connection.execute(select(table).where(table.c.at < bound + timedelta(microseconds=1))).all()) == 1
        assert len(connection.execute(select(table).where(table.c.at >= bound)).all()) == 1
    sqlite.dispose()


def test_a_missing_table_is_told_as_a_schema_mismatch(database: Database) -> None:
    with pytest.raises(SchemaMismatch, match="db check"), database.read() as connection:
        connection.execute(text("SELECT * FROM nowhere"))


def test_a_query_over_its_deadline_is_cut_off_by_the_client(database: Database) -> None:
    with pytest.raises(DatabaseUnavailable, match="cut off"), database.read(deadline_s=0.3) as connection:
        connection.execute(text(_ENDLESS[database.dialect]))
    with database.read() as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1


def test_a_silent_server_ends_in_unavailable_not_in_a_hang() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        away = Database(f"postgresql://u:geheim@127.0.0.1:{port}/d", DatabaseSettings(connect_timeout_s=1))
        with pytest.raises(DatabaseUnavailable) as refused, away.read():
            pass
    assert "geheim" not in str(refused.value)


def test_maintenance_gives_way_to_a_lock_of_the_application(empty_postgres: str) -> None:
    database = Database(empty_postgres, DatabaseSettings(lock_timeout_s=0.1))
    upgrade(database)
    with database.write() as holder:
        holder.execute(text("LOCK TABLE gengfu_run IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(DatabaseBusy), database.maintain() as connection:
            connection.execute(text("DELETE FROM gengfu_run"))
    database.dispose()


def test_a_forked_child_gets_its_own_connection(empty_postgres: str) -> None:
    database = Database(empty_postgres, DatabaseSettings())
    pid_of_backend = text("SELECT pg_backend_pid()")
    with database.read() as connection:
        parent = connection.execute(pid_of_backend).scalar()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with database.read() as connection:
            os.write(writer, str(connection.execute(pid_of_backend).scalar()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert int(os.read(reader, 32)) != parent
    with database.read() as connection:
        assert connection.execute(pid_of_backend).scalar() == parent
    os.close(reader)
    os.close(writer)
    database.dispose()


def test_the_embedded_file_is_made_with_wal_full_sync_and_incremental_vacuum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "_prepare_sqlite", unwrap(database_module._prepare_sqlite))
    sqlite = Database(f"sqlite:///{tmp_path / '新' / 'gengfu.db'}", DatabaseSettings())
    upgrade(sqlite)
    with sqlite.read() as connection:
        facts = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "auto_vacuum")
        }
    assert facts == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "auto_vacuum": 2}
    sqlite.dispose()


@pytest.mark.parametrize("url", ["mysql://root@127.0.0.1/test", "nonsense", "oracle://x"])
def test_an_address_of_another_kind_is_refused_by_name(url: str) -> None:
    with pytest.raises(SettingsError, match=r"database\.url"):
        Database(url, DatabaseSettings())


def test_one_thread_keeps_the_deadlines_of_all_transactions(database: Database) -> None:
    before = set(threading.enumerate())
    with database.read() as outer, database.read(deadline_s=50) as inner:
        outer.execute(text("SELECT 1"))
        inner.execute(text("SELECT 1"))
        new = set(threading.enumerate()) - before
    assert [thread.name for thread in new] in ([], ["alarms"])


def test_a_child_forked_within_a_transaction_keeps_deadlines_of_its_own(database: Database) -> None:
    with database.read() as connection:
        connection.execute(text("SELECT 1"))
        child = os.fork()
        if child == 0:
            with suppress(DatabaseUnavailable), Database(database.url, DatabaseSettings()).read(deadline_s=0.3) as own:
                own.execute(text(_ENDLESS[own.dialect.name]))
                os._exit(1)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("value", ["Datei \0 beschädigt", "名\udce4me.pdf 不存在"])
def test_text_that_no_database_takes_is_stored_escaped(database: Database, value: str) -> None:
    row = {"key": "k", "value": {value: [value, {"n": 1, "t": None}]}, "updated_at": datetime.now(UTC)}
    ended = {"id": "r", "job": "j", "trigger": "shell", "attempt": 1, "state": "failed", "error": value}
    times = {"started_at": datetime.now(UTC), "heartbeat_at": datetime.now(UTC)}
    with database.write() as connection:
        connection.execute(insert(service_state).values(row))
        connection.execute(insert(run).values(ended | times))
        stored = connection.execute(select(service_state.c.value)).scalar_one()
        error = connection.execute(select(run.c.error)).scalar_one()
    escaped = value.replace("\0", r"\x00").replace("\udce4", r"\udce4")
    assert error == escaped
    assert stored == {escaped: [escaped, {"n": 1, "t": None}]}
